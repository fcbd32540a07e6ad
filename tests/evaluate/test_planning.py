"""The power that is planned is the power that is reached."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lodestar.evaluate.planning import clustered_spread, power, units_needed


@pytest.mark.parametrize("units", [5, 30, 400])
def test_the_power_is_that_of_simulated_t_tests(units: int) -> None:
    difference, spread = 2.8 / math.sqrt(units), 1.0
    drawn = np.random.default_rng(units).normal(difference, spread, (20_000, units))
    reached = (stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05).mean()
    assert power(difference, spread, units) == pytest.approx(reached, abs=0.015)


def test_no_difference_is_found_as_often_as_the_test_errs() -> None:
    assert power(0.0, 1.0, 50) == pytest.approx(0.05)
    assert power(1.0, 1.0, 1) == 0.0


def test_the_units_needed_are_the_fewest() -> None:
    needed = units_needed(0.1, 0.5)
    assert power(0.1, 0.5, needed) >= 0.8 > power(0.1, 0.5, needed - 1)
    assert needed == 199, "as the normal approximation, 197, and the two that a t test takes more"


def test_a_cluster_s_mean_spreads_as_the_design_effect_says() -> None:
    random = np.random.default_rng(0)
    shared, own = random.normal(0, math.sqrt(0.3), (50_000, 1)), random.normal(0, math.sqrt(0.7), (50_000, 8))
    assert (shared + own).mean(1).std() == pytest.approx(clustered_spread(1.0, 8, 0.3), rel=0.01)
    assert clustered_spread(1.0, 1, 0.3) == 1.0
