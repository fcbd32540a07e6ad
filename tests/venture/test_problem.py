"""From venture.yaml and the pilots' files to the question: where each number comes from, and what is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar import tasks
from lodestar.contracts.errors import UserError
from lodestar.evaluate.system import SYSTEM_METRICS
from lodestar.store.files import sha256_file
from lodestar.venture.decision import compare
from lodestar.venture.pilots import Pilot, PilotRun, identity, save_pilot
from lodestar.venture.problem import build_problem, open_end
from lodestar.venture.scaffold import create
from lodestar.venture.strategies import strategies_of
from lodestar.venture.venture import Venture

TODAY = date(2026, 12, 1)


def metrics_of(venture: Venture) -> dict[str, Any]:
    return {metric.name: metric for metric in (*tasks.find(venture.file.task)(venture.file.options).metrics, *SYSTEM_METRICS)}


def problem_of(venture: Venture):
    return build_problem(venture, metrics_of(venture), TODAY)


@pytest.fixture
def opened(tmp_path: Path):
    """A new venture out of a template, with a part of its venture.yaml changed."""

    def make(template: str = "classification", **changes: Any) -> Venture:
        folder = tmp_path / "new"
        if not folder.exists():
            create(folder, "New", tasks.find(template).template)
        value = yaml.safe_load((folder / "venture.yaml").read_text("utf-8"))
        (folder / "venture.yaml").write_text(yaml.safe_dump({**value, **changes}, allow_unicode=True), "utf-8")
        return Venture.open(folder)

    return make


def price(value: float, unit: str = "USD/1M tokens", **fields: Any) -> dict[str, Any]:
    return {
        "value": value,
        "low": value,
        "high": value,
        "unit": unit,
        "source": "quoted",
        "date": "2026-11-01",
        "reference": "price list",
        **fields,
    }


API = {"name": "bought", "kind": "api", "api": {"model": "m", "price_in": price(1.0), "price_out": price(4.0)}}
NONE = {"name": "none", "kind": "baseline"}


@pytest.mark.parametrize("name", tasks.names())
def test_every_fresh_venture_can_be_decided_with_all_of_it_told_as_assumed(name, opened):
    venture = opened(name)
    problem = problem_of(venture)
    assert len(problem.options) >= 3
    assert {each.source for each in problem.quantities.values()} == {"assumed"}
    assert {option.kind for option in problem.options} == {"baseline", "scratch"}
    assert not any(each.certain for each in problem.quantities.values())
    assert problem.pilots


def test_an_open_model_has_both_ways_to_fine_tune_it_and_a_small_one_of_ones_own_beside_it(opened):
    venture = opened(model={"base": "open-model"})
    assert [(each.name, each.kind) for each in strategies_of(venture.file)] == [
        ("no-model", "baseline"), ("fine-tune", "fine-tune"), ("adapter", "adapter"), ("small", "scratch")
    ]  # fmt: skip
    settings = {option.name: option.settings for option in problem_of(venture).options}
    assert settings["fine-tune"] == {}
    assert settings["adapter"] == {"adapter": {}}
    assert settings["small"] == {"model": {"size": "small", "context": None}}


def test_a_price_in_another_currency_needs_a_rate_and_takes_it(opened):
    foreign = {**API, "api": {**API["api"], "price_in": price(7.0, "CNY/1M tokens")}}  # type: ignore[dict-item]
    decision = {"strategies": [NONE, foreign], "currency": "USD"}
    with pytest.raises(UserError, match=r"bought: api\.price_in: the price is in CNY, the decision in USD, and no rate says"):
        problem_of(opened(decision=decision))
    problem = problem_of(opened(decision={**decision, "rates": {"CNY": 0.14}}))
    tokens = {"tokens_in": price(1000, "tokens"), "tokens_out": price(100, "tokens")}
    assert problem.quantities["bought: price of a request"].unit == "USD/request"
    exact = {**foreign, "api": {**foreign["api"], **tokens}}  # type: ignore[dict-item]
    problem = problem_of(opened(decision={"strategies": [NONE, exact], "rates": {"CNY": 0.14}}))
    request = problem.quantities["bought: price of a request"]
    assert request.value == pytest.approx((0.98 * 1000 + 4.0 * 100) / 1e6)
    assert (request.certain, request.source) == (True, "quoted")


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ({"strategies": [NONE]}, "'none' is the only strategy, and a decision is between two or more; add another"),
        ({"strategies": [NONE, NONE]}, "two strategies are called 'none'"),
        ({"strategies": [NONE, {"name": "x", "kind": "api"}]}, "give both or neither"),
        ({"strategies": [NONE, {"name": "x", "kind": "fine-tune"}]}, "no model to begin from is named; name it in its model.base"),
        ({"strategies": [NONE, {"name": "x", "kind": "adapter", "adapter": {}}]}, "adapter fine-tunes a model, and none is named"),
        ({"strategies": [NONE, {"name": "x", "kind": "scratch", "model": {"base": "b"}}]}, "is of kind scratch, and would begin from 'b'"),
        ({"strategies": [NONE, {**API, "evidence": {"accuracy": price(0.9, "%")}}]}, "'accuracy' is measured in ''; convert it"),
        ({"strategies": [NONE, {**API, "evidence": {"acuracy": price(0.9, "")}}]}, "unknown quantity 'acuracy'; did you mean 'accuracy'"),
        ({"strategies": [NONE, {**API, "evidence": {"accuracy": price(1.9, "", support="share")}}]}, "leaves 0 to 1"),
        ({"machines": [{"name": "m", "price": price(1.0, "USD")}]}, "write a price as USD/hour"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(decision, words, opened):
    with pytest.raises(UserError, match=words.replace("(", r"\(")) as refused:
        problem_of(opened(decision=decision))
    assert "\n" not in str(refused.value)


def test_a_currency_that_nobody_priced_this_machine_in_is_asked_about(opened):
    with pytest.raises(UserError, match=r"nothing says what an hour of this machine costs in CNY; write budget.per_hour"):
        problem_of(opened(budget={"amount": 100, "currency": "CNY"}))
    problem = problem_of(opened(budget={"amount": 100, "currency": "CNY", "per_hour": 3}))
    assert (problem.currency, problem.worth) == ("CNY", 100)
    assert problem.quantities["this machine: price of an hour"].source == "quoted"


def test_a_date_that_is_none_is_asked_about(opened):
    venture = opened()
    targets = [target.model_dump(exclude_none=True) | {"by": "next spring"} for target in venture.file.targets]
    with pytest.raises(UserError, match=r"targets\.0: 'next spring' is no date; write it as YYYY-MM-DD"):
        problem_of(opened(targets=targets))


def test_evidence_by_hand_goes_before_all_else_and_its_file_must_be_the_one_it_names(opened):
    venture = opened()
    note = venture.folder / "survey.csv"
    note.write_text("accuracy\n0.9\n")
    known = {**price(0.9, "", support="share"), "reference": "survey.csv", "hash": sha256_file(note)}
    decision = {"strategies": [NONE, {**API, "evidence": {"accuracy": known}}]}
    assert problem_of(opened(decision=decision)).quantities["bought: accuracy"].value == 0.9
    note.write_text("accuracy\n0.99\n")
    with pytest.raises(UserError, match=r"survey.csv does not match its hash; restore the file, or measure again"):
        problem_of(opened(decision=decision))
    note.unlink()
    with pytest.raises(UserError, match=r"survey.csv is missing"):
        problem_of(opened(decision=decision))


def test_each_strategy_is_looked_at_on_each_machine(opened):
    speed = {"value": 20.0, "low": 10.0, "high": 30.0, "unit": "", "source": "quoted", "date": "2026-11-01", "reference": "data sheet"}
    machines = [{"name": "desk", "price": price(0.1, "USD/hour")}, {"name": "gpu", "price": price(2.0, "USD/hour"), "speed": speed}]
    problem = problem_of(opened(decision={"machines": machines, "strategies": [NONE, API, {"name": "tiny", "kind": "scratch"}]}))
    assert [option.name for option in problem.options] == ["none on desk", "none on gpu", "bought", "tiny on desk", "tiny on gpu"]
    found = {each.name: each for each in compare(problem, draws=10_000, detail=False).options}
    assert found["tiny on gpu"].metrics["latency_ms_p95"].p50 == pytest.approx(
        found["tiny on desk"].metrics["latency_ms_p95"].p50 / 20, rel=0.1
    )
    assert found["tiny on gpu"].metrics["accuracy"] == found["tiny on desk"].metrics["accuracy"], "the same worlds"


def save_runs(venture: Venture, strategy: str, shares: tuple[float, ...], score, peak_bytes: int | None = None, **fields: Any) -> Path:
    """A pilot's file: the accuracy rises by a power law, a whole run takes 1000 seconds and 10 beside its steps."""
    chosen = next(each for each in strategies_of(venture.file) if each.name == strategy)
    runs = []
    for share in shares:
        accuracy = 0.95 - 0.1 * share**-0.4
        runs.append(
            PilotRun(
                share=share, tokens=40_000 * share, seconds=10 + 990 * share, measuring_seconds=1, records=100, steps=round(800 * share),
                step_seconds=990 / 800, peak_bytes=peak_bytes,
                scores=[score("accuracy", accuracy, accuracy - 0.01, accuracy + 0.01)],
            )
        )  # fmt: skip
    system = [
        score("latency_ms_p50", 30, 28, 33, better="lower", unit="ms"),
        score("latency_ms_p95", 40, 35, 52, better="lower", unit="ms"),
    ]
    pilot = Pilot(
        strategy=strategy, identity=identity(chosen, venture), date=TODAY, machine="here", split="validation", runs=runs, system=system
    )
    return save_pilot(venture, pilot.model_copy(update=fields))


def test_what_a_pilot_measured_takes_the_place_of_the_assumption(opened, score):
    venture = opened()
    save_runs(venture, "tiny", (1 / 16, 1 / 8), score)
    path = save_runs(venture, "tiny", (1 / 16, 1 / 8, 1 / 4), score)
    problem = problem_of(venture)
    accuracy = problem.quantities["tiny: accuracy"]
    assert (accuracy.source, accuracy.reference) == ("measured", path.relative_to(venture.folder).as_posix())
    assert accuracy.hash == sha256_file(path)
    assert accuracy.low < 0.85 < accuracy.high
    assert problem.quantities["tiny: latency_ms_p95"].high == 52
    assert problem.quantities["tiny: training hours"].value == pytest.approx(1000 / 3600)
    assert problem.quantities["tiny: hours of a request"].value == pytest.approx(0.03 / 3600)
    assert problem.quantities["small: accuracy"].source == "assumed"
    following = next(pilot for pilot in problem.pilots if pilot.option == "tiny")
    assert following.hours == pytest.approx(1000 / 3600), "four times a quarter"
    assert following.quantities == ["tiny: accuracy"], "latency is known"


def test_a_run_to_the_end_is_taken_as_measured_and_needs_no_pilot(opened, score):
    venture = opened()
    save_runs(venture, "tiny", (0.5, 1.0), score)
    problem = problem_of(venture)
    found = problem.quantities["tiny: accuracy"]
    assert (found.value, found.low, found.high) == pytest.approx((0.85, 0.84, 0.86))
    assert "tiny" not in {pilot.option for pilot in problem.pilots}


def test_a_handful_of_right_answers_is_not_certain(score):
    from scipy.stats import binomtest

    thirteen = score("accuracy", 1, 1, 1, count=13)
    assert open_end(thirteen).low == pytest.approx(binomtest(13, 13).proportion_ci(0.95, method="exact").low)
    assert open_end(score("accuracy", 0, 0, 0, count=13)).high == pytest.approx(binomtest(0, 13).proportion_ci(0.95, method="exact").high)
    for known in (score("accuracy", 0.9, 0.9, 0.9), score("latency_ms_p95", 1, 1, 1, better="lower", unit="ms")):
        assert open_end(known) == known


def test_a_pilot_of_other_settings_says_nothing(opened, score):
    save_runs(opened(), "tiny", (0.5,), score)
    changed = opened(train={"tokens": 77_000})
    assert problem_of(changed).quantities["tiny: accuracy"].source == "assumed"


def test_an_option_that_does_not_fit_is_told_and_not_compared(opened, score):
    venture = opened()
    save_runs(venture, "small", (), score, refused="the training needs 90 GB of memory, and 8 GB are free")
    problem = problem_of(venture)
    assert "small" not in {outlook.name for outlook in compare(problem, draws=10_000, detail=False).options}
    assert next(option for option in problem.options if option.name == "small").infeasible.startswith("the training needs 90 GB")


def test_a_machine_with_too_little_memory_is_told_by_what_pilots_took_rather_than_by_a_look(opened, score):
    def infeasible(gigabytes: float) -> str:
        machines = [{"name": "desk", "price": price(0.1, "USD/hour"), "memory_bytes": int(gigabytes * 1e9)}]
        problem = problem_of(opened(decision={"machines": machines}))
        return next(option for option in problem.options if option.name == "tiny").infeasible

    save_runs(opened(), "tiny", (), score, memory_bytes=8_000_000_000)
    assert infeasible(8.1) == "training needs up to 8.2 GB of memory, and desk has 8.1 GB", "3% more than was told, one time in ten"
    assert infeasible(8.3) == ""
    save_runs(opened(), "tiny", (0.25, 0.5), score, memory_bytes=8_000_000_000, peak_bytes=6_000_000_000)
    assert infeasible(6.3) == ""
    assert infeasible(6.1).startswith("training needs up to 6.2 GB")


@pytest.mark.parametrize("changed", ["content", "name"])
def test_evidence_that_was_changed_is_refused(opened, score, changed):
    venture = opened()
    path = save_runs(venture, "tiny", (0.5,), score)
    if changed == "content":
        path.write_text(path.read_text().replace("0.8", "0.9", 1))
    else:
        path.rename(path.with_name("tiny.json"))
    with pytest.raises(UserError, match=r"this evidence is not what was measured: its hash does not match; restore the file"):
        problem_of(venture)
