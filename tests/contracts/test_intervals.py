"""Intervals, beside SciPy's and the t interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lodestar.contracts.intervals import exact_share, expanded_percentile
from lodestar.contracts.randomness import generator


@pytest.mark.parametrize(("successes", "count"), [(0, 0), (0, 5), (5, 5), (3, 10), (97, 100), (1, 1)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_exact_interval_of_a_share_is_scipy_s(successes, count, confidence):
    expected = stats.binomtest(successes, count).proportion_ci(confidence, method="exact") if count else (0.0, 1.0)
    assert exact_share(successes, count, confidence) == pytest.approx(tuple(expected), abs=1e-9)


def test_the_percentiles_of_normal_resamples_are_widened_to_the_t_interval():
    rows = 6
    # What a bootstrap of a mean draws from: its spread is too small by this factor, which the levels make good.
    drawn = generator(0, "normal").normal(0, math.sqrt((rows - 1) / rows), 400_000)
    low, high = expanded_percentile(drawn, rows, 0.95)
    t = stats.t.ppf(0.975, rows - 1)
    assert (low, high) == pytest.approx((-t, t), rel=0.02)


def test_unknown_resamples_are_left_out_and_one_row_gives_all_there_is():
    assert expanded_percentile(np.array([1.0, np.nan, 3.0]), 1, 0.95) == (1.0, 3.0)
    assert all(math.isnan(end) for end in expanded_percentile(np.array([np.nan]), 5, 0.95))
