"""What is recommended after a history, and why: how much less likely it would be without each thing that the user chose.

Axes: H items of a history, K items recommended, W model width, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .measuring import evaluating
from .next_item import NextItem, last_states

REASONS_FROM = 32
"""The last items of a history that reasons are looked for among: the model reads the history once for each."""


class Recommended(NamedTuple):
    """One item."""

    item: int
    score: float
    """The dot product with the state; after no history, the share of all choices in training."""
    because: list[tuple[int, float]]
    """What raises its log-probability, the most first, and by how many nats."""


def recommend(model: nn.Module, history: Sequence[int], count: int, *, without: Sequence[int] = (), reasons: int = 1) -> list[Recommended]:
    """The best items after a history, the best first; after an empty one, the most popular.

    Args:
        without: items that are left out.
        reasons: for each item, at most.
    """
    assert isinstance(model, NextItem)
    with evaluating(model):
        if not history:
            # The catalogue has the commonest item first.
            seen, shares = set(without), np.exp(log_popularity(model))
            popular = islice((item for item in range(model.items) if item not in seen), count)
            return [Recommended(item, float(shares[item]), []) for item in popular]
        values, items = model.catalogue.best(last_states(model, [history])[0], count, without)
    found = [int(item) for item in items]
    if not reasons or not found:
        return [Recommended(item, float(value), []) for item, value in zip(found, values, strict=True)]
    among, raised_HK = influences(model, history, found)
    because = [
        [(among[place], float(raised_H[place])) for place in np.argsort(-raised_H, kind="stable")[:reasons] if raised_H[place] > 0]
        for raised_H in raised_HK.T
    ]
    return [Recommended(item, float(value), why) for item, value, why in zip(found, values, because, strict=True)]


def scores_of(model: nn.Module, histories: Sequence[np.ndarray]) -> Callable[[slice], np.ndarray]:
    """Which of the histories → their scores of all items (N, I), float32; after an empty one, the items' popularity."""
    assert isinstance(model, NextItem)
    told = [row for row, history in enumerate(histories) if len(history)]
    states = last_states(model, [histories[row].tolist() for row in told]).cpu().numpy()
    states_NW = np.zeros((len(histories), model.config.width), np.float32)
    states_NW[told] = states
    empty_N = np.array([not len(history) for history in histories], bool)
    with evaluating(model):
        vectors_IW, popular_I = model.catalogue.vectors_IW.cpu().numpy(), np.exp(log_popularity(model)).astype(np.float32)

    def scores(part: slice) -> np.ndarray:
        found_NI = states_NW[part] @ vectors_IW.T
        found_NI[empty_N[part]] = popular_I
        return found_NI

    return scores


def influences(model: NextItem, history: Sequence[int], items: Sequence[int]) -> tuple[list[int], np.ndarray]:
    """What of the history the reasons are looked for among, each item once, and by how many nats it raises the log-probability of each of
    `items`: log p(item | history) - log p(item | history without it), (H, K).

    Nothing is guessed from the attention: the model is asked again without the item. Where nothing is left without it, the popularity of
    the items stands in the place of the model's word.
    """
    among = list(dict.fromkeys(history[-REASONS_FROM:]))
    without = [[other for other in history if other != item] for item in among]
    rows = [list(history), *(row for row in without if row)]
    with evaluating(model):
        scores_RI = last_states(model, rows) @ model.catalogue.vectors_IW.mT
        told = (scores_RI.log_softmax(-1)[:, list(items)]).cpu().double().numpy()
    chances_K = log_popularity(model)[list(items)]
    left = iter(told[1:])
    return among, np.stack([told[0] - (next(left) if row else chances_K) for row in without])


def log_popularity(model: NextItem) -> np.ndarray:
    """The logarithm of each item's share of all choices in training (I,); one that nobody chose counts as chosen half a time."""
    counts = torch.zeros(model.items, dtype=torch.float64)
    counts[: model.seen] = torch.tensor(model.counts, dtype=torch.float64)
    counts = counts.clamp(min=0.5)
    return (counts / counts.sum()).log().numpy()
