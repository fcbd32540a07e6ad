"""The scores of forecasts, beside scikit-learn's and worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, mean_pinball_loss

from lodestar.contracts.forecast import Forecast, Quantiles, Resolution
from lodestar.contracts.randomness import generator
from lodestar.venture.forecast_scores import interval_score, pinball, score_events, score_quantities

DAY = date(2026, 12, 1)


def event(number: int, probability: float, outcome: bool | None, made: date = DAY) -> Forecast:
    came = None if outcome is None else Resolution(outcome=outcome, when=made, source="person", reference="seen")
    return Forecast(id=f"e{number}", statement="s", by="A", made=made, resolve_by=made, probability=probability, resolution=came)


def events(said: Sequence[float], came: Sequence[bool]) -> list[Forecast]:
    return [event(number, p, bool(y), DAY + timedelta(number)) for number, (p, y) in enumerate(zip(said, came, strict=True))]


def quantity(number: int, low: float, middle: float, high: float, value: float, metric: str = "hours") -> Forecast:
    came = Resolution(value=value, when=DAY, source="ledger", reference="runs")
    said = Quantiles(p10=low, p50=middle, p90=high)
    return Forecast(
        id=f"q{number}", statement="s", by="A", made=DAY, resolve_by=DAY, metric=metric, unit="h", quantiles=said, resolution=came
    )


@pytest.mark.parametrize("distinct", [3, 1000])
def test_the_scores_are_scikit_learn_s_and_the_decomposition_adds_up(distinct):
    random = generator(0, "forecasts", distinct)
    said = (np.ceil(random.uniform(0, 1, 200) * distinct) - 0.5) / distinct
    came = random.uniform(0, 1, 200) < said
    found = score_events(events(said, came))
    assert found is not None
    assert found.brier == pytest.approx(brier_score_loss(came, said))
    assert found.log_score == pytest.approx(log_loss(came, said))
    assert found.brier == pytest.approx(found.reliability - found.resolution + found.uncertainty + found.within)
    assert abs(found.within) < (1e-12 if distinct == 3 else 0.02), "nothing is left over where equal probabilities make the groups"
    assert sum(each.count for each in found.bins) == found.count == 200
    assert found.skill_low < found.skill < found.skill_high


def test_a_case_worked_by_hand():
    """Four at 0.75 of which three came, two at 0.25 of which one came."""
    found = score_events(events([0.75] * 4 + [0.25] * 2, [True] * 3 + [False] + [True, False]))
    assert found is not None
    assert found.brier == pytest.approx((3 * 0.0625 + 0.5625 + 0.5625 + 0.0625) / 6)
    assert found.reliability == pytest.approx(2 * 0.25**2 / 6)
    assert found.uncertainty == pytest.approx(2 / 3 * 1 / 3)
    assert found.resolution == pytest.approx((4 * (3 / 4 - 2 / 3) ** 2 + 2 * (1 / 2 - 2 / 3) ** 2) / 6)
    assert found.skill == pytest.approx(1 - found.brier / (2 / 9))
    assert [(each.count, each.said, each.came) for each in found.bins] == [(2, 0.25, 0.5), (4, 0.75, 0.75)]


def test_saying_the_base_rate_has_no_skill_and_knowing_all_has_much():
    came = [True, False] * 20
    base = score_events(events([0.5] * 40, came))
    assert base is not None
    assert base.skill == pytest.approx(0)
    assert base.log_score == pytest.approx(math.log(2))
    knowing = score_events(events([0.99 if each else 0.01 for each in came], came))
    assert knowing is not None
    assert knowing.skill > 0.99


def test_where_all_came_out_alike_there_is_no_skill_to_tell():
    found = score_events(events([0.9, 0.8], [True, True]))
    assert found is not None
    assert math.isnan(found.skill)


def test_what_is_open_is_not_scored():
    assert score_events([event(1, 0.5, None)]) is None
    assert score_quantities([event(1, 0.5, True)]) is None
    found = score_events([*events([0.5] * 7, [True] * 7), event(8, 0.5, None)])
    assert found is not None
    assert found.count == 7


def test_forecasts_of_one_day_count_as_one_piece_of_luck():
    """Ten of each day come out alike; drawn one by one, the interval would be far too narrow."""
    random = generator(1, "luck")
    luck = random.uniform(0, 1, 12) < 0.5
    said = random.uniform(0.2, 0.8, 120)
    together = [event(number, float(p), bool(luck[number // 10]), DAY + timedelta(number // 10)) for number, p in enumerate(said)]
    alone = events(said.tolist(), [bool(luck[number // 10]) for number in range(120)])
    wide, narrow = score_events(together), score_events(alone)
    assert wide is not None
    assert narrow is not None
    assert wide.skill == narrow.skill
    assert wide.skill_high - wide.skill_low > 1.5 * (narrow.skill_high - narrow.skill_low)


def test_pinball_is_scikit_learn_s_and_the_interval_score_is_worked_by_hand():
    random = generator(2, "quantities")
    quantiles, values = np.sort(random.normal(0, 1, (50, 3)), axis=1), random.normal(0, 1, 50)
    expected = np.mean([mean_pinball_loss(values, quantiles[:, column], alpha=level) for column, level in enumerate([0.1, 0.5, 0.9])])
    assert pinball(quantiles, values) == pytest.approx(expected)
    # Inside: the width, 4. One above: 4 and ten times 1. Two below: 4 and ten times 2.
    assert interval_score(np.array([2.0] * 3), np.array([6.0] * 3), np.array([5.0, 7.0, 0.0])) == pytest.approx((4 + 14 + 24) / 3)


def test_coverage_counts_over_all_quantities_and_losses_by_each():
    found = score_quantities(
        [quantity(1, 1, 2, 3, 3.0), quantity(2, 1, 2, 3, 3.1), quantity(3, 1, 2, 3, 0.5), quantity(4, 10, 20, 30, 20, "days")]
    )
    assert found is not None
    assert (found.count, found.inside, found.coverage) == (4, 2, 0.5)
    assert found.below == (0.25, 0.5, 0.75)
    assert {each.metric: each.count for each in found.metrics} == {"hours": 3, "days": 1}
    assert found.metrics[1].pinball == pytest.approx((1 + 0 + 1) / 3)
    assert found.low < 0.5 < found.high
