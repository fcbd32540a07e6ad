"""Metrics of recommendation against scikit-learn's and against figures worked by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from lodestar.contracts.randomness import generator
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.ranking import (
    CATALOGUE_COVERAGE,
    GINI_AT_10,
    HIT_RATE_AT_1,
    HIT_RATE_AT_10,
    METRICS,
    MRR,
    NDCG_AT_10,
    POPULARITY_AT_10,
    UNKNOWN,
    best,
    popularity,
    ranking_columns,
    ranking_findings,
)
from lodestar.evaluate.retrieval import ndcg_at

USERS, ITEMS = 60, 40


def drawn() -> tuple[np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
    """Scores, histories, what was chosen next, and counts."""
    draw = generator(0, "test_ranking")
    scores_NI = draw.normal(size=(USERS, ITEMS)).astype(np.float32)
    targets = draw.integers(0, ITEMS, USERS)
    histories = [np.setdiff1d(draw.choice(ITEMS, 8, replace=False), [target]) for target in targets]
    return scores_NI, histories, targets, draw.integers(0, 50, ITEMS)


def columns_of(scores_NI: np.ndarray, histories, targets, counts, *, exclude_seen: bool = False) -> dict[str, np.ndarray]:
    return ranking_columns(lambda part: scores_NI[part].copy(), histories, targets, counts, exclude_seen=exclude_seen)


@pytest.mark.parametrize("k", [1, 5, 10, 40])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_ndcg_is_scikit_learns(k: int, exclude_seen: bool) -> None:
    scores_NI, histories, targets, counts = drawn()
    columns = columns_of(scores_NI, histories, targets, counts, exclude_seen=exclude_seen)
    if exclude_seen:
        for row, seen in enumerate(histories):
            scores_NI[row, seen] = -1e9
    relevant = np.zeros((USERS, ITEMS))
    relevant[np.arange(USERS), targets] = 1
    assert ndcg_at(k, columns) == pytest.approx(ndcg_score(relevant, scores_NI, k=k), abs=1e-12)


def test_ranks_hits_and_reciprocal_ranks_by_hand() -> None:
    scores_NI = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0]], np.float32)
    columns = columns_of(scores_NI, [np.array([0]), np.array([0]), np.array([3])], np.array([1, 3, 2]), np.array([4, 3, 2, 1]))
    assert columns["rank"].tolist() == [2, 1, 4]  # a method that says nothing is not right by luck
    assert MRR.compute(columns) == pytest.approx((1 / 2 + 1 + 1 / 4) / 3)
    assert HIT_RATE_AT_1.compute(columns) == pytest.approx(1 / 3)
    seen_left_out = columns_of(scores_NI, [np.array([0]), np.array([0]), np.array([3])], np.array([1, 3, 2]), np.ones(4), exclude_seen=True)
    assert seen_left_out["rank"].tolist() == [1, 1, 3]
    assert seen_left_out["recommended"][0].tolist() == [1, 2, 3, *[UNKNOWN] * 7]


def test_an_item_outside_the_catalogue_counts_as_not_found() -> None:
    scores_NI, histories, targets, counts = drawn()
    targets[:3] = UNKNOWN
    columns = columns_of(scores_NI, histories, targets, counts)
    assert (columns["rank"][:3] == ITEMS + 1).all()
    known = {name: column[3:] for name, column in columns.items()}
    assert HIT_RATE_AT_10.compute(columns) == pytest.approx(HIT_RATE_AT_10.compute(known) * (USERS - 3) / USERS)
    assert "3 of the users" in ranking_findings(columns, [f"item {n}" for n in range(ITEMS)]).sentences[-1].en


def test_scores_in_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = columns_of(*drawn(), exclude_seen=True)
    monkeypatch.setattr("lodestar.evaluate.ranking.SCORES_AT_ONCE", 7 * ITEMS)
    for name, column in columns_of(*drawn(), exclude_seen=True).items():
        np.testing.assert_array_equal(column, whole[name], err_msg=name)


def test_best_is_a_stable_sort_of_everything() -> None:
    scores_NI = generator(1, "best").integers(0, 5, (30, 25)).astype(np.float32)  # many ties
    np.testing.assert_array_equal(best(scores_NI, 10), np.argsort(-scores_NI, axis=1, kind="stable")[:, :10])


def test_coverage_gini_and_popularity_by_hand() -> None:
    # Four items; two users get items 0 and 1, one user gets items 0 and 2: shown 3, 2, 1 and 0 times.
    recommended = np.full((3, 10), UNKNOWN)
    recommended[:, :2] = [[0, 1], [0, 1], [0, 2]]
    columns = {"recommended": recommended, "catalogue": np.full(3, 4), "popularity": np.array([0.75, 0.75, 0.6])}
    assert CATALOGUE_COVERAGE.compute(columns) == pytest.approx(3 / 4)
    shown = np.array([3, 2, 1, 0])
    by_definition = np.abs(shown[:, None] - shown).sum() / (2 * len(shown) ** 2 * shown.mean())
    assert GINI_AT_10.compute(columns) == pytest.approx(by_definition)
    assert POPULARITY_AT_10.compute(columns) == pytest.approx(0.7)


def test_popularity_is_the_share_of_less_popular_items() -> None:
    np.testing.assert_allclose(popularity(np.array([10, 0, 5, 5])), [3.5 / 4, 0.5 / 4, 2 / 4, 2 / 4])
    assert popularity(generator(2, "popularity").integers(0, 9, 100)).mean() == pytest.approx(0.5)


def test_what_is_popular_is_said_to_be_so() -> None:
    counts = np.arange(ITEMS)
    _, histories, targets, _ = drawn()
    popular = columns_of(np.tile(counts, (USERS, 1)).astype(np.float32), histories, targets, counts)
    assert CATALOGUE_COVERAGE.compute(popular) == pytest.approx(10 / ITEMS)
    assert POPULARITY_AT_10.compute(popular) == pytest.approx((ITEMS - 5) / ITEMS)
    said = [sentence.en for sentence in ranking_findings(popular, [f"item {n}" for n in range(ITEMS)]).sentences]
    assert said[0].startswith("10 of 40 items")
    assert "more popular than 88% of the catalogue" in said[1]
    assert "item 30 (to 100%)" in said[2]


def test_every_metric_has_an_interval_and_a_paired_difference() -> None:
    scores_NI, histories, targets, counts = drawn()
    random = columns_of(scores_NI, histories, targets, counts)
    scores_NI[np.arange(USERS), targets] += 2
    better = columns_of(scores_NI, histories, targets, counts)
    found = scores(METRICS, better, resamples=200, confidence=0.95, seed=0)
    assert [score.metric for score in found] == [metric.name for metric in METRICS]
    for score in found:
        assert score.low <= score.value <= score.high
    difference = partial(paired_difference, resamples=200, confidence=0.95, seed=0)
    assert difference(NDCG_AT_10, random, better).low > 0
    assert not difference(NDCG_AT_10, random, random).certain
