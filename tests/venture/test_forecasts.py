"""Forecasts in a venture: resolved from the ledger when their day is over, and never before."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from lodestar.cli.main import main
from lodestar.contracts.errors import UserError
from lodestar.contracts.forecast import Forecast, Resolution
from lodestar.contracts.record import RunRecord
from lodestar.contracts.score import Cost
from lodestar.store.ledger import FeedbackRow, Request
from lodestar.venture import product
from lodestar.venture.forecast_words import forecasts_html, forecasts_text, forecasts_value
from lodestar.venture.forecasts import check_forecast, next_id, overdue, resolve_due
from lodestar.venture.product import release

MADE, LAST, AFTER = date(2026, 12, 1), date(2026, 12, 31), date(2027, 1, 1)


def event(id: str, metric: str = "", probability: float = 0.7, **changes: Any) -> Forecast:
    fields = {"id": id, "statement": id, "by": "Ada", "made": MADE, "resolve_by": LAST, "probability": probability, "metric": metric}
    return Forecast.parse({**fields, **changes}, where="x")


def quantity(id: str, metric: str, unit: str) -> Forecast:
    fields = {"id": id, "statement": id, "by": "Ada", "made": MADE, "resolve_by": LAST, "metric": metric, "unit": unit}
    return Forecast.parse({**fields, "quantiles": {"p10": 1, "p50": 2, "p90": 3}}, where="x")


@pytest.fixture
def released(venture, write_runs, monkeypatch):
    """A venture whose v1, of accuracy 0.9, was made on 10 December."""
    monkeypatch.setattr(product, "timestamp", lambda: "2026-12-10T12:00:00Z")
    write_runs(venture)
    release(venture)
    return venture


def resolutions(venture, *forecasts: Forecast, today: date = AFTER) -> dict[str, Any]:
    venture.ledger.add_forecasts(forecasts)
    resolve_due(venture, today)
    return {each.id: each.resolution and each.resolution.words() for each in venture.ledger.forecasts()}


def test_nothing_is_resolved_before_its_last_day_is_over_however_plain_it_is(released):
    kept = event("kept", "accuracy", at_least=0.8)
    assert resolutions(released, kept, today=LAST) == {"kept": None}
    assert resolutions(released, kept) == {"kept": "yes"}
    (found,) = released.ledger.forecasts()
    assert found.resolution == Resolution(outcome=True, when=AFTER, source="ledger", reference="release v1")
    assert resolve_due(released, AFTER) == []


def test_a_metric_is_read_off_the_release_that_was_in_force(released):
    found = resolutions(
        released, event("missed", "accuracy", at_least=0.95), event("fast", "latency_ms_p95", at_most=50, unit="ms"),
        quantity("accuracy", "accuracy", ""), event("early", "accuracy", at_least=0.8, resolve_by="2026-12-09"),
        event("unmeasured", "bits_per_byte", at_most=1, unit="bits/byte"), event("rain"),
    )  # fmt: skip
    assert found == {"missed": "no", "fast": "yes", "accuracy": "0.9", "early": "no", "unmeasured": None, "rain": None}
    assert [each.id for each in overdue(released.ledger.forecasts(), AFTER)] == ["unmeasured", "rain"]


def test_the_day_of_the_release_is_counted_from_the_forecast(released):
    found = resolutions(
        released, event("in-ten", "release_days", at_most=10, unit="days"), event("in-eight", "release_days", at_most=8, unit="days"),
        quantity("days", "release_days", "days"),
        event("too-late", "release_days", at_most=8, made="2026-12-11", unit="days"),
        event("long", "release_days", at_least=20, made="2026-12-11", unit="days"),
        event("longer", "release_days", at_least=60, made="2026-12-11", unit="days"),
    )  # fmt: skip
    assert found == {"in-ten": "yes", "in-eight": "no", "days": "9", "too-late": "no", "long": "yes", "longer": None}


def test_time_cost_and_memory_are_read_off_the_runs(make_venture, monkeypatch):
    venture = make_venture(budget={"amount": 100, "currency": "EUR", "per_hour": 4})
    record = RunRecord(
        step="train", id="a", started="x", finished="y", config={}, inputs={}, outputs={}, versions={}, seed=0,
        cost=Cost(seconds=1, cpu_seconds=1, peak_memory_bytes=3_000_000),
    )  # fmt: skip
    moments = iter(["2026-11-30T00:00:00Z", "2026-11-30T09:00:00Z", "2026-12-02T00:00:00Z", "2026-12-02T01:30:00Z",
                    "2026-12-03T00:00:00Z", "2026-12-03T00:30:00Z"])  # fmt: skip
    monkeypatch.setattr("lodestar.store.ledger.timestamp", lambda: next(moments))
    for outcome in ("before", "finished", "failed"):
        attempt = venture.ledger.start_run("train", "a")
        if outcome == "failed":
            venture.ledger.fail_run(attempt, "no space")
        else:
            venture.ledger.finish_run(attempt, record)
    found = resolutions(
        venture,
        quantity("hours", "machine_hours", "h"),
        quantity("cost", "machine_cost", "EUR"),
        quantity("memory", "peak_memory_bytes", "bytes"),
    )
    assert found == {"hours": "2", "cost": "8", "memory": "3e+06"}, "one and a half hours, and half an hour that failed"


def test_what_was_served_is_read_off_the_requests_and_the_last_word_on_each(venture):
    assert resolutions(venture, quantity("share", "good_share", ""), quantity("served", "requests", "")) == {"share": None, "served": "0"}
    for number, (day, status) in enumerate([("2026-12-05", 200), ("2026-12-06", 500), ("2027-02-01", 500)]):
        venture.ledger.add_request(
            Request(
                time=f"{day}T00:00:00Z", release="v1", route="/", tokens_in=1, tokens_out=1, latency_ms=1, status=status, id=f"r{number}"
            )
        )
    for rating in ("down", "up"):
        venture.ledger.add_feedback(FeedbackRow(time="2026-12-07T00:00:00Z", release="v1", request="r0", rating=rating))
    found = resolutions(venture, quantity("failed", "failed_share", ""), event("good", "good_share", at_least=0.9))
    assert (found["failed"], found["good"], found["share"]) == ("0.5", "yes", "1")


def test_a_forecast_on_what_nobody_measures_is_refused(venture, metrics):
    check_forecast(venture, event("any"), metrics)
    check_forecast(venture, quantity("hours", "machine_hours", "h"), metrics)
    with pytest.raises(UserError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        check_forecast(venture, event("x", "acuracy", at_least=0.5), metrics)
    with pytest.raises(UserError, match="the unit is 's', and 'latency_ms_p95' is measured in ms; convert"):
        check_forecast(venture, event("x", "latency_ms_p95", at_most=5, unit="s"), metrics)
    with pytest.raises(UserError, match="unknown metric 'machine_cost'"):
        check_forecast(venture, quantity("x", "machine_cost", "EUR"), metrics)


def test_names_are_given_in_order_and_never_twice():
    assert next_id([]) == "f1"
    assert next_id([event("f2"), event("f1"), event("other")]) == "f3"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_few_are_too_few_and_many_are_judged_with_a_picture(monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    came = Resolution(outcome=True, when=AFTER, source="person", reference="Ada")
    few = [event(f"f{number}").resolved(came) for number in range(29)]
    text = forecasts_text(few, AFTER)
    assert ("too few to judge" if language == "en" else "不足以评判") in text
    assert "Brier" not in text
    assert "data:image" not in forecasts_html(few, AFTER)
    value = forecasts_value(few, AFTER)
    assert (value["resolved_events"], value["events"]) == (29, None)
    enough = [*few, event("f29").resolved(came)]
    assert forecasts_value(enough, AFTER)["events"]["count"] == 30
    missed = Resolution(outcome=False, when=AFTER, source="person", reference="Ada")
    many = [event(f"f{number}", probability=0.1 + 0.02 * number).resolved(came if number % 3 else missed) for number in range(40)]
    assert "Brier" in forecasts_text(many, AFTER)
    assert "<figure><svg" in forecasts_html(many, AFTER)
    value = json.loads(json.dumps(forecasts_value(many, AFTER), allow_nan=False))
    assert value["events"]["count"] == 40
    assert value["resolved_events"] == 40
    assert value["quantities"] is None


@pytest.fixture
def at_home(venture, monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(venture.folder)
    return venture


def said(capsys, *arguments: str) -> tuple[int, Any, str]:
    code = main(["forecast", *arguments, "--json"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out), shown.err


def test_the_command_keeps_lists_and_resolves(at_home, capsys):
    code, made, _ = said(capsys, "add", "It rains.", "--who", "Ada", "--probability", "0.7", "--resolve-by", "2099-01-01")
    assert (code, made["id"], made["probability"], made["resolve_by"]) == (0, "f1", 0.7, "2099-01-01")
    hours = ["--metric", "machine_hours", "--unit", "h", "--p10", "1", "--p50", "2", "--p90", "4", "--id", "hours"]
    assert said(capsys, "add", "How long?", "--who", "Ada", "--resolve-by", "2099-01-01", *hours)[0] == 0
    code, (resolved,), _ = said(capsys, "resolve", "f1", "--yes", "--who", "Ada", "--because", "I got wet")
    assert (code, resolved["resolution"]["outcome"], resolved["resolution"]["reference"]) == (0, True, "Ada: I got wet")
    assert said(capsys, "resolve")[1] == []
    listed = said(capsys)[1]
    assert [(each["id"], each["resolution"] is not None, each["overdue"]) for each in listed["forecasts"]] == [
        ("f1", True, False), ("hours", False, False),
    ]  # fmt: skip
    assert said(capsys, "list")[1] == listed
    assert main(["forecast"]) == 0
    assert "Events: 1 resolved, too few to judge; 30 are enough." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "x", "--who", "A", "--probability", "1", "--resolve-by", "2099-01-01"], "a probability of 1 is none that"),
        (["add", "x", "--who", "A", "--probability", "0", "--resolve-by", "2099-01-01"], "a probability of 0 is none"),
        (["add", "x", "--who", "A", "--probability", "0.5"], "a forecast without a day to resolve it by is never held to"),
        (["add", "x", "--who", "A", "--p10", "1", "--resolve-by", "2099-01-01"], "1 of the three quantiles are given"),
        (["add", "x", "--who", "A", "--probability", "0.5", "--resolve-by", "2020-01-01"], "resolve_by (2020-01-01) is before made"),
        (["add", "x", "--who", "A", "--probability", "0.5", "--metric", "acuracy", "--at-least", "1", "--resolve-by", "2099-01-01"],
         "unknown metric 'acuracy'; did you mean 'accuracy'?"),
        (["resolve", "done", "--yes", "--who", "A", "--because", "again"], "'done' was resolved on 2026-12-31 as no"),
        (["resolve", "f9", "--yes", "--who", "A", "--because", "so"], "unknown forecast 'f9'"),
        (["resolve", "done", "--yes"], "give both --who and --because"),
        (["resolve", "--yes"], "name it: lodestar forecast resolve NAME"),
        (["resolve", "open", "--value", "3", "--who", "A", "--because", "so"], "'open' is of an event"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_changes_nothing(at_home, capsys, arguments, sentence):
    at_home.ledger.add_forecasts([event("done"), event("open")])
    at_home.ledger.resolve_forecast("done", Resolution(outcome=False, when=LAST, source="person", reference="Ada"))
    before = at_home.ledger.forecasts()
    code, error, shown = said(capsys, *arguments)
    assert code == 2
    assert sentence in shown
    assert shown.count("\n") == 1
    assert error["error"]["what"]
    assert at_home.ledger.forecasts() == before
