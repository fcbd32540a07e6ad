"""The test that may be looked at: its bets are fair where nothing differs, and its power is the one that is told."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from lodestar.contracts.randomness import generator
from lodestar.venture.sequential import RATIOS, LabelTest, alarm_counts, events_needed, power


def watched(labels: list[bool], share: float = 0.2, **options: float) -> LabelTest:
    test = LabelTest(share, **options)  # type: ignore[arg-type]
    for label in labels:
        test = test.observe(of_new=label)
    return test


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_bets_are_fair_where_the_versions_are_alike(share, two_sided):
    """The expected worth after n events, over all their labels, is exactly 1."""
    for events in (1, 5, 9):
        expected = sum(
            stats.binom.pmf(new, events, share) * LabelTest(share, two_sided=two_sided, new=new, current=events - new).e_value
            for new in range(events + 1)
        )
        assert expected == pytest.approx(1)


def test_one_bet_worked_by_hand():
    """At a share of one half, an event of the new version is worth the mean of 2r/(r+1)."""
    assert watched([True], 0.5).e_value == pytest.approx(np.mean([2 * ratio / (ratio + 1) for ratio in RATIOS]))
    assert watched([False], 0.5).e_value == pytest.approx(np.mean([2 / (ratio + 1) for ratio in RATIOS]))


def test_an_alarm_stays_however_the_labels_go_on():
    alarmed = watched([True] * 9)
    assert alarmed.alarmed
    after = watched([True] * 9 + [False] * 500)
    assert after.e_value < 1
    assert after.alarmed
    assert after.p_value == alarmed.p_value <= 0.05
    assert not watched([False] * 500).alarmed, "better is no alarm"
    assert watched([False] * 500, two_sided=True).alarmed


@pytest.mark.parametrize("two_sided", [False, True])
def test_the_boundaries_are_where_the_bets_reach_their_worth(two_sided):
    share, events = 0.3, 60
    for count, (low, high) in enumerate(alarm_counts(share, events, 0.05, two_sided)):
        for new in range(count + 1):
            reached = LabelTest(share, two_sided=two_sided, new=new, current=count - new).e_value >= 20
            assert reached == (new <= low or new >= high), (count, new)


def test_the_power_is_that_of_all_ways_that_labels_can_come():
    share, ratio, events = 0.5, 5.0, 12
    label = share * ratio / (share * ratio + 1 - share)
    expected = sum(
        label ** sum(labels) * (1 - label) ** (events - sum(labels))
        for labels in product([True, False], repeat=events)
        if watched(list(labels), share).alarmed
    )
    assert power(share, ratio, events) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_false_alarms_stay_below_their_rate_however_long_it_is_watched(share):
    reached = [power(share, 1.0, events) for events in (100, 1000, 5000)]
    assert reached == sorted(reached)
    assert 0.005 < reached[-1] < 0.05


def test_the_events_that_are_needed_are_the_fewest():
    needed = events_needed(0.1, 3.0, 0.8)
    assert needed is not None
    assert power(0.1, 3.0, needed) >= 0.8 > power(0.1, 3.0, needed - 1)
    assert events_needed(0.1, 1.0, 0.8) is None, "nothing is to be found"
    assert events_needed(0.1, 2.0) > needed  # type: ignore[operator]


def test_the_interval_of_the_ratio_is_valid_while_it_is_watched():
    """Of 200 runs of 300 events looked at after each, the interval leaves the truth out in 5% at most; with chance, 18."""
    share, ratio = 0.3, 1.7
    label = share * ratio / (share * ratio + 1 - share)
    random, missed = generator(0, "ratio"), 0
    for _ in range(200):
        new = np.cumsum(random.uniform(size=300) < label)
        count = np.arange(1, 301)
        worth = [_worth(int(k), int(n - k), label) for k, n in zip(new, count, strict=True)]
        missed += max(worth) >= math.log(20)
    assert missed <= 18
    low, high = LabelTest(0.3, new=120, current=180).ratio_interval()
    assert low < (120 / 180) / (0.3 / 0.7) < high
    assert LabelTest(0.3).ratio_interval() == (0.0, math.inf)


def _worth(new: int, current: int, label: float) -> float:
    """The bet that refutes a ratio, worked with SciPy: a beta-binomial mixture against a binomial."""
    return float(stats.betabinom.logpmf(new, new + current, 0.5, 0.5) - stats.binom.logpmf(new, new + current, label))
