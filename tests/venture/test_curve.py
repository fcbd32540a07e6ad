"""Learning curves: forecasts of known power laws, and how often the intervals hold what comes."""

from __future__ import annotations

import numpy as np
import pytest

from lodestar.venture.curve import Point, extrapolate

SHARES = (1 / 16, 1 / 8, 1 / 4)


def law(share: float, floor: float, gain: float, exponent: float) -> float:
    return floor + gain * share**-exponent


@pytest.mark.parametrize("exponent", [0.2, 0.5, 1.0])
def test_a_clean_power_law_is_forecast_near_its_end(exponent):
    points = [Point(share, law(share, 1.0, 0.5, exponent), 0.001) for share in SHARES]
    found = extrapolate(points, 1.0, "lower", share=False)
    assert found.low < 1.5 < found.high
    assert found.value == pytest.approx(1.5, rel=0.05)
    assert found.value < points[-1].value


def test_intervals_hold_what_comes_about_as_often_as_they_say():
    """Curves of random exponents and floors, runs that scatter by 1%: a wide band, for 120 curves tell a share to within 4 points."""
    random = np.random.default_rng(0)
    within = 0
    for _ in range(120):
        floor, exponent = random.uniform(0, 1.5), float(np.exp(random.normal(np.log(0.35), 0.6)))

        def seen(share: float, floor: float = floor, exponent: float = exponent) -> float:
            return law(share, floor, 0.5, exponent) * (1 + 0.01 * random.normal()) + 0.005 * random.normal()

        found = extrapolate([Point(share, seen(share), 0.005) for share in SHARES], 1.0, "lower", share=False, confidence=0.8)
        within += found.low <= seen(1.0) <= found.high
    assert 0.7 <= within / 120 <= 0.97


def test_a_run_to_the_end_is_forecast_as_what_it_measured():
    points = [Point(share, law(share, 0.3, 0.1, 0.4), 0.002) for share in (0.25, 0.5, 1.0)]
    found = extrapolate(points, 1.0, "lower", share=False)
    assert found.value == pytest.approx(points[-1].value, rel=0.02)
    assert found.high - found.low < 0.12 * found.value, "what another run of the recipe scatters by"


def test_less_is_known_of_fewer_runs_and_of_a_longer_way():
    def width(shares: tuple[float, ...]) -> float:
        found = extrapolate([Point(share, law(share, 1.0, 0.5, 0.4), 0.005) for share in shares], 1.0, "lower", share=False)
        return found.high - found.low

    assert width((1 / 8, 1 / 4, 1 / 2)) < width((1 / 16, 1 / 8, 1 / 4)) < width((1 / 32, 1 / 16, 1 / 8)) < width((1 / 32,))


def test_a_share_that_is_to_be_high_stays_below_one_and_rises():
    points = [Point(0.1, 0.7, 0.02), Point(0.2, 0.78, 0.02)]
    found = extrapolate(points, 1.0, "higher", share=True)
    assert 0.78 < found.value < 1
    assert found.low < found.value < found.high <= 1
    perfect = extrapolate([Point(0.1, 1.0, 0.0), Point(0.2, 1.0, 0.0)], 1.0, "higher", share=True)
    assert perfect.value == pytest.approx(1.0, abs=1e-3)


def test_a_score_without_an_end_may_grow_and_a_flat_curve_stays():
    rising = extrapolate([Point(0.1, 10.0, 0.2), Point(0.2, 14.0, 0.2)], 1.0, "higher", share=False)
    assert 14 < rising.value < 42
    flat = extrapolate([Point(share, 2.0, 0.002) for share in SHARES], 1.0, "lower", share=False)
    assert flat.value == pytest.approx(2.0, rel=0.03)
