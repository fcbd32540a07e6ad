"""Whether an explanation is one: the words that it calls important are taken away, and the answer must go with them.

The deletion curve (Samek et al. 2017, https://arxiv.org/abs/1509.06321; Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421): the
answer's probability while words are removed, most important first. The less area under it, the better the order. Any order removes
something, so random orders stand beside it: the explanation is believed only if it beats them (a permutation test).

Comprehensiveness and sufficiency (DeYoung et al. 2020, https://arxiv.org/abs/1911.03429, section 4.2): what the probability loses, on
average over the steps, without the most important words, and with them alone.

Axes: N words that can be removed, R orders, K steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ..contracts.randomness import generator
from .steps import Steps

STEPS = 12
"""Of a curve: it removes words in so many groups where there are more of them."""
ORDERS = 39
"""Random orders: as few as let an explanation win at 1 in 40."""
ALL_ORDERS = 5
"""Words up to which every order there is stands in for the random ones."""
LEVEL = 0.05
"""The share of orders that may do as well as an explanation that wins: it must be among the best 1 in 20."""

Answering = Callable[[Sequence[Sequence[int]]], Steps[np.ndarray]]
"""Rows of the words that are left → the answer's probability in each."""


@dataclass(frozen=True)
class Chance:
    """What orders that know nothing do."""

    shares: np.ndarray
    """Of the words, removed at each step: from 0 to 1, (K + 1,)."""
    curves: np.ndarray
    """The answer's probability under each order, (R, K + 1)."""
    exhaustive: bool
    """These are all orders that there are."""

    @property
    def areas(self) -> np.ndarray:
        """(R,)."""
        return np.array([area(self.shares, curve) for curve in self.curves])

    @property
    def band(self) -> tuple[np.ndarray, np.ndarray]:
        """Where 95% of the curves are at each step."""
        low, high = np.percentile(self.curves, (2.5, 97.5), axis=0)
        return low, high


@dataclass(frozen=True)
class Verdict:
    """How an explanation did."""

    curve: np.ndarray
    """The answer's probability while its words are removed, (K + 1,)."""
    area: float
    chance_area: float
    """The mean of the random orders', and where 95% of them are."""
    chance_low: float
    chance_high: float
    p_value: float
    """The chance that an order which knows nothing does as well or better."""
    orders: int
    as_good: int
    """Of the orders, those whose area is no larger."""
    exhaustive: bool
    """The orders are all that there are, the explanation's own among them."""
    possible: bool
    """Whether there are orders enough for any to win."""
    comprehensiveness: float
    sufficiency: float

    @property
    def wins(self) -> bool:
        return self.p_value <= LEVEL


def chance(answering: Answering, words: int, *, orders: int = ORDERS, seed: int = 0) -> Steps[Chance]:
    """The curves of random orders over so many words (at least one); of all orders where these are few."""
    shares, counts = _steps(words)
    exhaustive = words <= ALL_ORDERS
    if exhaustive:
        drawn = [list(order) for order in permutations(range(words))]
    else:
        drawn = [generator(seed, "deletion", number).permutation(words).tolist() for number in range(orders)]
    rows = [order[count:] for order in drawn for count in counts]
    found = yield from answering(rows)
    return Chance(shares, found.reshape(len(drawn), len(counts)), exhaustive)


def judge(answering: Answering, importance_N: np.ndarray, beside: Chance) -> Steps[Verdict]:
    """Remove the words in the order of their importance, highest first, and look whether the order beats chance."""
    order = np.argsort(-importance_N, kind="stable").tolist()
    _, counts = _steps(len(order))
    found = yield from answering([order[count:] for count in counts] + [order[:count] for count in counts])
    curve, alone = found[: len(counts)], found[len(counts) :]
    own, areas = area(beside.shares, curve), beside.areas
    # Equal sums in another order of the same words differ by rounding alone.
    as_good = int((areas <= own + 1e-9).sum())
    p_value = as_good / len(areas) if beside.exhaustive else (1 + as_good) / (1 + len(areas))
    low, high = np.percentile(areas, (2.5, 97.5))
    return Verdict(
        curve=curve, area=own, chance_area=float(areas.mean()), chance_low=float(low), chance_high=float(high),
        p_value=p_value, orders=len(areas), as_good=as_good, exhaustive=beside.exhaustive,
        possible=1 / math.factorial(len(order)) <= LEVEL if len(order) <= ALL_ORDERS else 1 / (1 + len(areas)) <= LEVEL,
        comprehensiveness=float((curve[0] - curve[1:]).mean()), sufficiency=float((curve[0] - alone[1:]).mean()),
    )  # fmt: skip


def area(shares: np.ndarray, curve: np.ndarray) -> float:
    """Under a curve, by trapezoids."""
    return float(np.trapezoid(curve, shares))


def _steps(words: int) -> tuple[np.ndarray, list[int]]:
    """The shares of the words removed at each step, and how many those are."""
    steps = min(words, STEPS)
    counts = [round(words * step / steps) for step in range(steps + 1)]
    return np.array(counts) / words, counts
