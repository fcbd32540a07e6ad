"""The deletion test: what is right wins, what is random loses, and few words decide nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from lodestar.explain import faithfulness
from lodestar.explain.faithfulness import ALL_ORDERS, ORDERS, Answering, Chance, Verdict, area
from lodestar.explain.steps import Steps, finish


def chance(answering: Answering, words: int, *, orders: int = ORDERS, seed: int = 0) -> Chance:
    return finish(faithfulness.chance(answering, words, orders=orders, seed=seed))


def judge(answering: Answering, importance: np.ndarray, beside: Chance) -> Verdict:
    return finish(faithfulness.judge(answering, importance, beside))


def additive(weights: Sequence[float]) -> Answering:
    """The answer's probability is the sum of what the words left carry."""

    def answering(rows: Sequence[Sequence[int]]) -> Steps[np.ndarray]:
        yield
        return np.array([sum(weights[word] for word in row) for row in rows])

    return answering


def test_a_curve_worked_by_hand() -> None:
    """Words that carry ½, ¼, ⅛ and ⅛, removed in this order: 1, ½, ¼, ⅛, 0 at quarters."""
    answering = additive([0.5, 0.25, 0.125, 0.125])
    verdict = judge(answering, np.array([4.0, 3.0, 2.0, 1.0]), chance(answering, 4))
    assert verdict.curve.tolist() == [1, 0.5, 0.25, 0.125, 0]
    assert verdict.area == (1 / 2 + 0.5 + 0.25 + 0.125) / 4
    # Without the first one, two, three, four words; with them alone.
    assert verdict.comprehensiveness == (0.5 + 0.75 + 0.875 + 1) / 4
    assert verdict.sufficiency == (0.5 + 0.25 + 0.125 + 0) / 4


def test_of_few_words_every_order_is_tried() -> None:
    answering = additive([0.5, 0.25, 0.125, 0.0625])
    beside = chance(answering, 4)
    assert beside.exhaustive
    assert len(beside.curves) == math.factorial(4)
    best = judge(answering, np.array([4.0, 3.0, 2.0, 1.0]), beside)
    assert best.p_value == 1 / 24
    assert best.wins
    assert judge(answering, np.array([1.0, 2.0, 3.0, 4.0]), beside).p_value == 1.0


@pytest.mark.parametrize("words", [1, 2, 3])
def test_among_too_few_orders_none_can_win(words: int) -> None:
    answering = additive([2.0**-word for word in range(words)])
    verdict = judge(answering, -np.arange(words, dtype=float), chance(answering, words))
    assert not verdict.possible
    assert not verdict.wins


def test_too_few_random_orders_let_none_win() -> None:
    answering = additive([2.0**-word for word in range(20)])
    verdict = judge(answering, -np.arange(20.0), chance(answering, 20, orders=18))
    assert not verdict.possible
    assert not verdict.wins


def test_the_right_order_wins_and_a_random_one_loses() -> None:
    weights = np.full(30, 0.01)
    weights[[7, 19]] = 0.4
    answering = additive(weights.tolist())
    beside = chance(answering, 30, seed=1)
    assert len(beside.curves) == ORDERS
    assert judge(answering, weights, beside).wins
    draws = np.random.default_rng(0)
    won = [judge(answering, draws.random(30), beside).wins for _ in range(40)]
    assert sum(won) <= 4  # at a level of 1 in 20, two are expected


def test_an_answer_that_nothing_carries_is_no_win() -> None:
    answering = additive([0.0] * 12)
    verdict = judge(answering, np.arange(12.0), chance(answering, 12))
    assert verdict.p_value == 1.0


def test_orders_are_drawn_from_the_seed_alone() -> None:
    answering = additive(list(np.linspace(0, 1, ALL_ORDERS + 3)))
    first, again, other = (chance(answering, ALL_ORDERS + 3, seed=seed).curves for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_area_is_that_of_a_triangle() -> None:
    assert area(np.array([0, 0.25, 1]), np.array([1, 0.75, 0])) == 0.5
