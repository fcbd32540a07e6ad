"""Schedules at values worked by hand."""

from __future__ import annotations

import pytest

from lodestar.contracts.settings import TrainSettings
from lodestar.train.schedules import cosine, learning_rate_factor, warm_up, warmup_stable_decay


def test_warm_up_rises_in_equal_parts() -> None:
    assert [warm_up(step, 4) for step in range(6)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert warm_up(0, 0) == 1.0


def test_cosine() -> None:
    # 110 steps, 10 of them warm-up: the middle of the fall is step 60.
    values = {step: cosine(step, 110, warmup=1 / 11, floor=0.1) for step in (0, 9, 10, 35, 60, 85, 110, 200)}
    assert values[0] == pytest.approx(1 / 11)
    assert values[9] == pytest.approx(10 / 11)
    assert values[10] == 1.0
    assert values[35] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + 0.5**0.5))
    assert values[60] == pytest.approx(0.55)
    assert values[85] == pytest.approx(0.1 + 0.9 * 0.5 * (1 - 0.5**0.5))
    assert values[110] == values[200] == pytest.approx(0.1)


def test_warmup_stable_decay() -> None:
    factors = [warmup_stable_decay(step, 10, warmup=0.2, decay=0.4, floor=0.0) for step in range(11)]
    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    assert warmup_stable_decay(8, 10, warmup=0, decay=0.4, floor=0.2) == pytest.approx(0.6)


@pytest.mark.parametrize(("schedule", "middle", "last"), [("cosine", 0.5, 0.0), ("wsd", 1.0, 0.025), ("constant", 1.0, 1.0)])
def test_the_settings_choose(schedule: str, middle: float, last: float) -> None:
    settings = TrainSettings.model_validate({"schedule": schedule, "warmup": 0.0})
    assert learning_rate_factor(50, 100, settings) == pytest.approx(middle)
    assert learning_rate_factor(99, 100, settings) == pytest.approx(last, abs=3e-4)


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
@pytest.mark.parametrize("total", [1, 2, 3, 7, 1000])
def test_every_step_of_every_run_has_a_rate(schedule: str, total: int) -> None:
    settings = TrainSettings.model_validate({"schedule": schedule})
    factors = [learning_rate_factor(step, total, settings) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
