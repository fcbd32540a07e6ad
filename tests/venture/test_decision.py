"""The comparison: against closed forms, by hand, and the properties that a choice has to have."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lodestar.contracts.errors import UserError
from lodestar.contracts.evidence import Evidence
from lodestar.venture.decision import Comparison, PossiblePilot, Problem, compare, outcome
from lodestar.venture.information import conditional_means, outcomes, partial_information, perfect_information
from lodestar.venture.simulate import draw, quantiles

TODAY = date(2026, 12, 1)
Z95 = stats.norm.ppf(0.975)


def evidence(value: float, low: float | None = None, high: float | None = None, support: str = "real", **fields: Any) -> Evidence:
    ends = {"low": value if low is None else low, "high": value if high is None else high}
    return Evidence.model_validate(
        {"value": value, **ends, "unit": "", "source": "assumed", "date": TODAY, "reference": "a test", "support": support, **fields}
    )


def normal(mean: float, deviation: float) -> Evidence:
    return evidence(mean, mean - Z95 * deviation, mean + Z95 * deviation)


def make_problem(qualities: dict[str, Evidence], *, costs: dict[str, Evidence] | None = None, **changes: Any) -> Problem:
    """Options that differ in quality and, where given, in the hours of a machine at 1 an hour; a promise of at least 0."""
    costs = costs or {}
    quantities = {f"{name}: score": quality for name, quality in qualities.items()} | {
        f"{name}: hours": cost for name, cost in costs.items()
    }
    quantities |= {"requests": evidence(100.0), "busy": evidence(0.5), "price": evidence(1.0)}
    options = [
        {
            "name": name, "kind": "scratch", "metrics": {"score": f"{name}: score"}, "hour_price": "price",
            "train_hours": f"{name}: hours" if name in costs else None,
        }
        for name in qualities
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "date": TODAY, "currency": "USD", "worth": 1000.0, "per_day": 0.0, "day_rate": 0.0, "months": 1.0,
        "targets": [{"metric": "score", "at_least": 0.0}], "north_star": "score", "requests": "requests", "busy": "busy",
        "options": options, "quantities": quantities,
    }  # fmt: skip
    return Problem.parse({**fields, **changes}, where="a test")


def loss(mean: float, deviation: float) -> float:
    """E[max(x, 0)] of a normal x: the unit normal loss integral (Raiffa and Schlaifer 1961)."""
    return float(mean * stats.norm.cdf(mean / deviation) + deviation * stats.norm.pdf(mean / deviation))


@pytest.mark.parametrize(("first", "second"), [((0, 1), (0, 1)), ((1, 2), (0.5, 1)), ((3, 1), (2, 2))])
@pytest.mark.parametrize("seed", [0, 4])
def test_the_value_of_information_is_that_of_the_closed_forms_within_one_per_cent(first, second, seed):
    """Two options of normal utility: knowing both, knowing one, and measuring one with noise (normal prior, normal sample)."""
    known = {"a": normal(*first), "b": normal(*second)}
    options = [lambda worlds: worlds["a"], lambda worlds: worlds["b"]]
    ahead, both = abs(first[0] - second[0]), math.hypot(first[1], second[1])
    worlds = draw(known, 50_000, seed)
    everything = perfect_information(np.stack([worlds["a"], worlds["b"]], axis=1))
    assert everything == pytest.approx(loss(ahead, both) - ahead, rel=0.01)
    for left in (0.0, 0.6):
        means = conditional_means(options, known, outcomes(["a"], left, seed), left, seed)
        expected = loss(ahead, first[1] * math.sqrt(1 - left**2)) - ahead
        assert partial_information(means) == pytest.approx(expected, rel=0.01)


def test_knowing_what_touches_no_option_is_worth_nothing_and_measuring_less_than_knowing():
    known = {"a": normal(0, 1), "b": normal(0, 1), "c": normal(0, 1)}
    options = [lambda worlds: worlds["a"], lambda worlds: worlds["b"]]
    values = {
        left: partial_information(conditional_means(options, known, outcomes(["a", "b"], left, 0), left, 0)) for left in (0.0, 0.5, 0.9)
    }
    assert values[0.0] > values[0.5] > values[0.9] > 0
    assert partial_information(conditional_means(options, known, outcomes(["c"], 0.0, 0), 0.0, 0)) == 0


@pytest.mark.parametrize(
    ("support", "low", "value", "high", "reference"),
    [
        ("real", -2.0, 1.0, 4.0, stats.norm(1, 3 / Z95)),
        ("positive", 2.0, 8.0, 32.0, stats.lognorm(math.log(4) / Z95, scale=8)),
        ("share", *stats.beta(8, 3).ppf([0.025, 0.5, 0.975]), stats.beta(8, 3)),
        ("share", *stats.beta(300, 2).ppf([0.025, 0.5, 0.975]), stats.beta(300, 2)),
    ],
)
def test_draws_follow_the_distribution_that_has_the_interval(support, low, value, high, reference):
    at = np.array([0.001, 0.025, 0.2, 0.5, 0.8, 0.975, 0.999])
    assert quantiles(evidence(value, low, high, support), at) == pytest.approx(reference.ppf(at), rel=2e-3)


def test_an_interval_of_two_sides_keeps_both_of_its_ends_and_its_median():
    found = quantiles(evidence(1.0, 0.9, 3.0), np.array([0.025, 0.5, 0.975]))
    assert found == pytest.approx([0.9, 1.0, 3.0])
    of_few = quantiles(evidence(0.667, 0.267, 1.0, "share"), np.array([0.025, 0.5, 0.975]))
    assert of_few[:2] == pytest.approx([0.267, 0.667], rel=0.01)
    assert 0.9 < of_few[2] < 1, "an end on the edge, as of a dozen records, draws nothing towards it"
    wide = quantiles(evidence(1.0, 0.9, 1.0, "share"), np.linspace(0.001, 0.999, 99))
    assert 0 < wide.min() < wide.max() <= 1


def test_an_option_is_worth_what_a_hand_works_out():
    """Ten hours at 2 an hour on a machine twice as fast, one working day at 50, 100 requests of 0.02 hours, half of the time idle."""
    problem = make_problem(
        {"a": evidence(0.0), "b": evidence(0.0)},
        worth=1000.0, per_day=24.0, day_rate=50.0, months=3.0,
        targets=[{"metric": "score", "at_least": 0.8}, {"metric": "latency_ms_p95", "at_most": 60}],
        options=[
            {
                "name": name, "kind": "scratch", "metrics": {"score": "score", "latency_ms_p95": "latency"}, "train_hours": "hours",
                "effort_days": "days", "hour_price": "price", "speed": "speed", "request_hours": "request",
            }
            for name in ("a", "b")
        ],
        quantities={
            "score": evidence(0.84), "latency": evidence(100.0), "hours": evidence(10.0), "days": evidence(1.0), "price": evidence(2.0),
            "speed": evidence(2.0), "request": evidence(0.02), "requests": evidence(100.0), "busy": evidence(0.5),
        },
    )  # fmt: skip
    found = outcome(problem, problem.options[0], {name: np.array([each.value]) for name, each in problem.quantities.items()})
    assert found.metrics["latency_ms_p95"] == 50
    assert found.days == pytest.approx(1 + 5 / 24)
    assert found.making == pytest.approx(5 * 2 + 50)
    assert found.serving == pytest.approx(0.01 * 2 / 0.5 * 100 * 3)
    assert found.utility == pytest.approx(1000 * (1 + 0.05) - 60 - 12 - 24 * (1 + 5 / 24))
    late = problem.model_copy(update={"targets": [problem.targets[0].model_copy(update={"by": "2026-12-02"}), problem.targets[1]]})
    worlds = {name: np.array([each.value]) for name, each in problem.quantities.items()}
    assert not outcome(late, late.options[0], worlds).met.any(), "it serves on the second day only"
    assert outcome(problem, problem.options[0], worlds).met.all()


def test_the_probabilities_are_those_of_the_distributions():
    found = compare(make_problem({"good": normal(1, 1), "poor": normal(-1, 1)}))
    assert [each.name for each in found.options] == ["good", "poor"]
    assert found.options[0].probability_all == pytest.approx(stats.norm.cdf(1), abs=0.005)
    assert found.options[1].probability_each["score"] == pytest.approx(stats.norm.cdf(-1), abs=0.005)
    assert found.best.metrics["score"].p95 == pytest.approx(1 + 1.645, abs=0.02)
    gap = found.options[0].expected_utility - found.options[1].expected_utility
    assert found.options[1].expected_regret - found.options[0].expected_regret == pytest.approx(gap)


def test_what_would_flip_the_choice_is_where_the_options_are_equal():
    """`a` costs 10 hours more or less than `b`'s 10 for sure, and nothing else differs."""
    problem = make_problem({"a": evidence(1.0), "b": evidence(1.0)}, costs={"a": normal(8, 4), "b": evidence(10.0)})
    found = compare(problem)
    assert found.best.name == "a"
    uncertain = {each.quantity: each for each in found.uncertainties}
    assert set(uncertain) == {"a: hours"}, "what is certain is not uncertain"
    flip = uncertain["a: hours"]
    assert flip.flips_at == pytest.approx(10.0, abs=0.1)
    assert (flip.flips_to, flip.flips_below) == ("b", False)
    assert flip.advantage_low == pytest.approx(2 + 1.645 * 4, abs=0.1)
    assert flip.advantage_high == pytest.approx(2 - 1.645 * 4, abs=0.1)
    assert flip.worth_knowing == pytest.approx(found.worth_knowing_all, rel=0.02)


def test_the_cheapest_pilot_that_pays_is_named_and_none_where_none_does():
    pilots = [
        {"option": "a", "cost": cost, "hours": 1.0, "quantities": ["a: hours"], "left": left}
        for cost, left in [(0.001, 0.9999), (0.3, 0.2), (0.5, 0.1), (100.0, 0.01)]
    ]
    problem = make_problem({"a": evidence(1.0), "b": evidence(1.0)}, costs={"a": normal(9, 4), "b": evidence(10.0)}, pilots=pilots)
    found = compare(problem)
    assert found.next_pilot is not None
    assert found.next_pilot.pilot.cost == 0.3, "the first one tells next to nothing"
    dear = problem.model_copy(update={"pilots": [PossiblePilot.model_validate({**pilots[0], "cost": 5.0})]})
    assert compare(dear).next_pilot is None


def canonical(problem: Problem) -> str:
    return compare(problem, draws=10_000, seed=7).model_dump_json()


PROBLEM = {"a": (0.2, 0.5), "b": (0.1, 1.0), "c": (-0.5, 0.3)}


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    code = (
        "from tests.venture.test_decision import canonical, make_problem, normal, PROBLEM;"
        "print(canonical(make_problem({name: normal(*each) for name, each in PROBLEM.items()})))"
    )
    ours = canonical(make_problem({name: normal(*each) for name, each in PROBLEM.items()}))
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
    assert told.strip() == ours
    turned = make_problem({name: normal(*PROBLEM[name]) for name in reversed(PROBLEM)})
    assert canonical(turned) == ours, "the order of the options is none of its business"


def order(comparison: Comparison) -> list[str]:
    return [each.name for each in comparison.options]


@settings(max_examples=15)
@given(
    means=st.lists(st.floats(-2, 2), min_size=2, max_size=4), deviations=st.lists(st.floats(0.1, 2), min_size=4, max_size=4),
    worse=st.floats(0, 3),
)  # fmt: skip
def test_an_option_that_is_added_never_turns_the_others_round(means, deviations, worse):
    """No rank reversal: of a dominated option, and of any other."""
    qualities = {f"o{number}": normal(mean, deviations[number]) for number, mean in enumerate(means)}
    before = compare(make_problem(qualities), draws=10_000, detail=False)
    more = compare(make_problem({**qualities, "n": normal(means[0] - worse, 0.7)}), draws=10_000, detail=False)
    assert [name for name in order(more) if name != "n"] == order(before)
    # Dominated: the same in all but a cost. No figure of the others moves at all.
    problem = make_problem({**qualities, "n": qualities["o0"]}, costs={"n": evidence(1.0)})
    shared = [option.model_copy(update={"metrics": {"score": "o0: score"}}) if option.name == "n" else option for option in problem.options]
    dominated = compare(problem.model_copy(update={"options": shared}), draws=10_000, detail=False)
    assert [each for each in dominated.options if each.name != "n"] == before.options
    assert order(dominated).index("n") > order(dominated).index("o0")


def test_a_question_that_cannot_be_decided_is_refused_in_one_sentence():
    with pytest.raises(UserError, match="a decision is between two options or more, and only 'a' can be done; add one"):
        make_problem({"a": normal(0, 1)})
    with pytest.raises(UserError, match="the option 'a' has no evidence on latency_ms_p50"):
        make_problem(
            {"a": normal(0, 1), "b": normal(0, 1)},
            targets=[{"metric": "latency_ms_p50", "at_most": 5}, {"metric": "score", "at_least": 0}],
        )
    slips: list[tuple[dict[str, Any], str]] = [
        ({"value": 3.0, "low": 1.0, "high": 2.0}, "does not hold the value"),
        ({"value": 0.5, "low": 0.0, "high": 2.0, "support": "share"}, "leaves 0 to 1"),
        ({"value": 0.5, "low": 0.0, "high": 2.0, "support": "positive"}, "give a low end above 0"),
    ]
    for fields, words in slips:
        with pytest.raises(UserError, match=words):
            Evidence.parse({"unit": "", "source": "quoted", "date": "2026-01-01", "reference": "x", **fields}, where="venture.yaml")
