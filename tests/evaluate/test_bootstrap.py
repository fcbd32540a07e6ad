"""Intervals: their coverage, their closed forms, their seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lodestar.contracts.language import Words
from lodestar.contracts.score import Metric
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.metrics import ACCURACY, BITS_PER_BYTE, F1, PERPLEXITY

MEAN = Metric("mean", Words("The mean.", "平均值。"), "", "higher", lambda columns: float(columns["x"].mean()))


@pytest.mark.parametrize("rows", [12, 60])
def test_intervals_cover_the_truth_as_often_as_they_say(rows: int) -> None:
    """400 samples whose mean is known; a coverage of 95 % then has a standard error of 1.1 %."""
    random = np.random.default_rng(rows)
    covered = 0
    for trial in range(400):
        found = scores([MEAN], {"x": random.uniform(0, 2, rows)}, resamples=500, confidence=0.95, seed=trial)[0]
        covered += found.low <= 1.0 <= found.high
    assert 0.925 <= covered / 400 <= 0.98


def test_interval_of_a_mean_is_the_t_interval() -> None:
    sample = np.random.default_rng(0).normal(5, 2, 25)
    found = scores([MEAN], {"x": sample}, resamples=20_000, confidence=0.9, seed=0)[0]
    low, high = stats.t.interval(0.9, 24, sample.mean(), sample.std() / math.sqrt(24))
    # The bootstrap's spread is that of the plain variance (divided by n): what the widened percentiles are made for.
    assert found.low == pytest.approx(low, abs=0.06)
    assert found.high == pytest.approx(high, abs=0.06)
    assert found.value == pytest.approx(sample.mean())
    assert (found.count, found.confidence) == (25, 0.9)


def test_equal_seeds_give_equal_intervals_and_others_give_others() -> None:
    columns = {"x": np.random.default_rng(1).normal(size=50)}
    first, again, other = (scores([MEAN], columns, resamples=200, confidence=0.95, seed=seed)[0] for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_metric_that_the_columns_cannot_give_is_left_out() -> None:
    columns = {"nats": np.array([1.0, 2.0]), "bytes": np.array([3, 4])}
    assert [score.metric for score in scores([BITS_PER_BYTE, PERPLEXITY], columns, resamples=100, confidence=0.95, seed=0)] == [
        "bits_per_byte"
    ]


def test_one_row_has_an_interval_without_width() -> None:
    found = scores([MEAN], {"x": np.array([2.0])}, resamples=100, confidence=0.95, seed=0)[0]
    assert (found.low, found.value, found.high) == (2.0, 2.0, 2.0)


def test_paired_difference_sees_what_unpaired_intervals_do_not() -> None:
    """Two classifiers that share nearly all their mistakes: their accuracies' intervals overlap, the difference's leaves zero out."""
    random = np.random.default_rng(0)
    label, wrong = np.zeros(400, dtype=int), random.random(400) < 0.3
    a = {"label": label, "predicted": np.where(wrong, 1, 0)}
    b = {"label": label, "predicted": np.where(wrong & (random.random(400) < 0.8), 1, 0)}
    apart = [scores([ACCURACY], each, resamples=500, confidence=0.95, seed=0)[0] for each in (a, b)]
    assert apart[0].high > apart[1].low
    found = paired_difference(ACCURACY, a, b, resamples=1000, confidence=0.95, seed=0)
    assert found.certain
    assert found.low > 0
    differences = (a["predicted"] - b["predicted"]).astype(float)
    assert found.value == pytest.approx(differences.mean())
    assert found.standard_error == pytest.approx(differences.std() / math.sqrt(400), rel=0.1)


def test_smallest_detectable_difference_is_detected_four_times_in_five() -> None:
    """Simulated: normal differences whose true mean is what the first sample called detectable."""
    random = np.random.default_rng(0)
    rows, spread = 100, 1.0
    detectable = spread / math.sqrt(rows) * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    found = 0
    for trial in range(300):
        a = {"x": random.normal(size=rows)}
        b = {"x": a["x"] + random.normal(detectable, spread, rows)}
        difference = paired_difference(MEAN, a, b, resamples=200, confidence=0.95, seed=trial)
        assert difference.detectable == pytest.approx(detectable, rel=0.45)
        found += difference.low > 0
    assert found / 300 == pytest.approx(0.8, abs=0.08)


def test_resamples_without_a_class_do_not_break_macro_averages() -> None:
    columns = {"label": np.array([0, 0, 0, 0, 1]), "predicted": np.array([0, 0, 0, 0, 1])}
    found = scores([F1], columns, resamples=200, confidence=0.95, seed=0)[0]
    assert (found.low, found.value, found.high) == pytest.approx((0.025 ** (1 / 5), 1.0, 1.0))


def test_clusters_are_drawn_whole_and_give_the_interval_of_their_means():
    """Where all of a cluster are alike and clusters are of one size, it is the bootstrap of one row for each."""
    means = np.random.default_rng(3).normal(0.2, 1.0, 40)
    one, many = {"x": means}, {"x": np.repeat(means, 25)}
    nothing = [{"x": np.zeros_like(table["x"])} for table in (one, many)]
    options: dict[str, Any] = {"resamples": 500, "confidence": 0.95, "seed": 0}
    single = paired_difference(MEAN, nothing[0], one, **options)
    clustered = paired_difference(MEAN, nothing[1], many, clusters=np.repeat(np.arange(40), 25), **options)
    naive = paired_difference(MEAN, nothing[1], many, **options)
    assert (clustered.low, clustered.high) == pytest.approx((single.low, single.high))
    assert naive.high - naive.low < 0.3 * (clustered.high - clustered.low)


@pytest.mark.parametrize("rows", [1, 3, 30, 500])
@pytest.mark.parametrize("right", [1.0, 0.0])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_rows_that_are_all_right_or_all_wrong_have_the_exact_interval(rows: int, right: float, confidence: float) -> None:
    found = scores([MEAN], {"x": np.full(rows, right)}, resamples=100, confidence=confidence, seed=0)[0]
    exact = stats.binomtest(int(rows * right), rows).proportion_ci(confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert found.value == right


def test_all_right_in_few_clusters_is_told_as_so_many_and_not_as_all_their_rows() -> None:
    columns, clusters = {"x": np.ones(90)}, np.repeat(np.arange(15), 6)
    found = scores([MEAN], columns, resamples=100, confidence=0.95, seed=0, clusters=clusters)[0]
    assert found.low == pytest.approx(0.025 ** (1 / 15))  # of n right out of n: (1 - confidence) / 2 to the power of 1/n


def test_a_value_of_one_in_a_unit_and_one_by_chance_keep_the_interval_of_the_bootstrap() -> None:
    seconds = Metric("time", Words("Time.", "时间。"), "s", "lower", MEAN.compute)
    found = scores([seconds], {"x": np.ones(5)}, resamples=100, confidence=0.95, seed=0)[0]
    assert (found.low, found.high) == (1.0, 1.0)
    found = scores([MEAN], {"x": np.array([0.0, 2.0])}, resamples=500, confidence=0.95, seed=0)[0]
    assert (found.low, found.value, found.high) == (0.0, 1.0, 2.0)
