"""What users made of the product: last words count, few users stay hidden, and advice follows from what was served."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Literal

import pytest
from scipy import stats

from lodestar.contracts.forecast import Forecast
from lodestar.contracts.score import Target
from lodestar.store.ledger import FeedbackRow, Request, Usage
from lodestar.venture.product import release
from lodestar.venture.success import report
from lodestar.venture.usage import Cohort, as_served, complaints, heard, retention
from lodestar.venture.usage_words import retention_html, retention_text, retention_value

MONDAY = date(2026, 11, 2)


def request(
    id: str, *, day: date = MONDAY, user: str | None = None, status: int = 200, version: str = "v1", latency: float = 1.0
) -> Request:
    return Request(
        time=f"{day}T00:00:00.000Z", release=version, route="/v1/classify", tokens_in=1, tokens_out=0, latency_ms=latency, status=status,
        id=id, user_hash=user, retries=0,
    )  # fmt: skip


def says(id: str, rating: Literal["up", "down"] | None = None, outcome: bool | None = None, comment: str = "") -> FeedbackRow:
    return FeedbackRow(time="2026-11-03T00:00:00.000Z", release="v1", request=id, rating=rating, outcome=outcome, comment=comment)


def test_the_last_word_on_each_answer_counts_by_release():
    requests = [*(request(f"a{n}") for n in range(10)), request("failed", status=500), request("b0", version="v2")]
    feedback = [says("a0", "down"), says("a0", "up"), says("a1", "up"), says("a2", "down", comment="late"), says("a2", outcome=True)]
    first, second = heard(requests, feedback)
    assert (first.release, first.answered, second.answered, second.good, second.succeeded) == ("v1", 10, 1, None, None)
    assert first.good is not None
    assert (first.good.part, first.good.whole) == (2, 3)
    assert (first.good.low, first.good.high) == pytest.approx(tuple(stats.binomtest(2, 3).proportion_ci(method="exact")))
    assert first.succeeded is not None
    assert (first.succeeded.part, first.succeeded.whole) == (1, 1)
    assert [(each.request, each.comment) for each in complaints(feedback)] == [("a2", "late")]


def visits(users: int, first: int, later: list[int], name: str) -> list[Request]:
    """So many users who come on the first day, all of them; and on each later day one fewer."""
    days = [(first, users), *((day, users - lost) for lost, day in enumerate(later, 1))]
    return [request(f"{name}{n}-{day}", day=MONDAY + timedelta(day), user=f"{name}{n}") for day, count in days for n in range(count)]


def test_cohorts_by_week_with_few_users_hidden_and_the_open_week_left_out():
    requests = [*visits(6, 0, [8, 15, 21], "early"), *visits(4, 9, [15], "few"), *visits(5, 14, [], "late"), request("nobody")]
    found = retention(requests, MONDAY + timedelta(22))
    assert found is not None
    assert (found.period, found.users) == ("week", 15)
    assert found.cohorts == (
        Cohort(MONDAY, 6, (5 / 6, 4 / 6)), Cohort(MONDAY + timedelta(7), None, (None,)), Cohort(MONDAY + timedelta(14), 5, ()),
    )  # fmt: skip


def test_cohorts_by_day_in_the_first_two_weeks():
    found = retention(visits(5, 0, [1], "a"), MONDAY + timedelta(3))
    assert found is not None
    assert found.cohorts == (Cohort(MONDAY, 5, (0.8, 0.0)),)
    assert retention([request("nobody")], MONDAY) is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_retention_is_told_in_words_and_a_picture_and_never_of_few(monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    found = retention([*visits(6, 0, [8], "early"), *visits(4, 0 + 7, [15], "few")], MONDAY + timedelta(30))
    assert found is not None
    told, page = "\n".join(retention_text(found)), retention_html(found)
    assert "83%" in told
    assert "75%" not in told + page, "three of the four"
    assert "<figure><svg" in page
    json.dumps(retention_value(found), allow_nan=False)


def test_latencies_as_served_are_held_against_their_promises():
    usage = Usage(3, 0, 1, 1, 20.0, 130.0, None, None)
    targets = [
        Target(metric="latency_ms_p95", at_most=100),
        Target(metric="latency_ms_p50", at_most=20),
        Target(metric="accuracy", at_least=1),
    ]
    assert [(each.target.metric, each.kept) for each in as_served(targets, usage)] == [("latency_ms_p95", False), ("latency_ms_p50", True)]
    assert as_served(targets, Usage(0, 0, 0, 0, float("nan"), float("nan"), None, None)) == []


def test_the_report_tells_costs_users_forecasts_and_what_to_do(make_venture, metrics, write_runs, monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    venture = make_venture(economics={
        "currency": "EUR", "machine_hour": {"amount": 2, "currency": "USD"}, "rates": {"USD": 0.9},
        "price": {"per_request": {"amount": 0.001, "currency": "EUR"}},
    })  # fmt: skip
    write_runs(venture)
    release(venture)
    number = venture.ledger.start_server("v1", "2026-11-02T00:00:00Z")
    venture.ledger.see_server(number, "2026-11-03T00:00:00Z")
    for each in visits(6, 0, [1, 2], "u"):
        each.latency_ms = 500.0
        venture.ledger.add_request(each)
    venture.ledger.add_feedback(says("u0-0", "down", comment="wrong town"))
    fields = {"by": "Ada", "made": "2026-11-01", "resolve_by": "2026-11-04"}
    venture.ledger.add_forecasts([
        Forecast.parse({"id": "ten", "statement": "Ten.", "probability": 0.6, "metric": "requests", "at_least": 10, **fields}, where="x"),
        Forecast.parse({"id": "rain", "statement": "It rains.", "probability": 0.6, **fields}, where="x"),
    ])  # fmt: skip
    made = report(venture, metrics)
    assert made.value["economics"]["machine_cents"] == 4320
    assert made.value["economics"]["machine_hour"] == pytest.approx(1.8)
    assert made.value["complaints"] == [{"request": "u0-0", "release": "v1", "comment": "wrong town"}]
    assert [each["resolution"] is not None for each in made.value["forecasts"]["forecasts"]] == [True, False], "one by the ledger"
    assert [step["command"] for step in made.value["steps"]] == [
        "lodestar forecast resolve rain", "lodestar quantize", "lodestar decide", "lodestar report --json", "lodestar vision",
    ]  # fmt: skip
    assert "✗ latency_ms_p95 as served: 500 ms, promised ≤ 100 ms" in made.text
    for words in ["an answered request", "Users: 6", "Events: 1 resolved, too few to judge", "found good 0%"]:
        assert words in made.text
    for words in ["What an answer costs", "Who came back", "Forecasts", "It rains."]:
        assert words in made.html
    json.dumps(made.value, allow_nan=False)
