"""Whether pictures that are made look real, and whether all that is real is made: precision and recall of two sets of features.

A set's region is the union of balls around its members, each as large as the way to its k-th nearest neighbour. Kynkäänniemi et al. 2019,
https://arxiv.org/abs/1904.06991.

Axes: n and m pictures, F features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric

NEIGHBOURS = 3
"""k, as they chose it."""
ROWS = 1024
"""Rows of a table of distances that are held at once."""


def radii(features_nF: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """The squared way from each member to its k-th nearest neighbour in the set (n,); to the furthest where there are fewer."""
    k = min(neighbours, len(features_nF) - 1)
    # The nearest is the member itself.
    return np.concatenate([np.partition(distances, k, axis=1)[:, k] for distances in squared_distances(features_nF, features_nF)])


def inside(features_nF: np.ndarray, others_mF: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Whether each of the first set lies in the region of the other (n,); nowhere where that has no more than one member."""
    if len(others_mF) < 2:
        return np.zeros(len(features_nF), bool)
    radii_m = radii(others_mF, neighbours)
    return np.concatenate([(distances <= radii_m).any(1) for distances in squared_distances(features_nF, others_mF)])


def squared_distances(features_nF: np.ndarray, others_mF: np.ndarray) -> Iterator[np.ndarray]:
    """|a − b|² of every two, some rows at a time (≤ ROWS, m); what rounding makes negative is 0."""
    others = others_mF.astype(np.float64)
    squares_m = np.square(others).sum(1)
    for start in range(0, len(features_nF), ROWS):
        rows = features_nF[start : start + ROWS].astype(np.float64)
        yield (np.square(rows).sum(1)[:, None] + squares_m - 2 * rows @ others.T).clip(0)


def manifold_columns(real_nF: np.ndarray, made_nF: np.ndarray) -> dict[str, np.ndarray]:
    """`precise`: which of the pictures made lie among the real ones; `recalled`: which of the real ones lie among those made.

    The regions are those of all pictures. A resample draws which of them are counted, and leaves the regions as they are: a picture that
    is drawn twice is its own nearest neighbour, and regions of such would be too small.
    """
    return {"precise": inside(made_nF, real_nF), "recalled": inside(real_nF, made_nF)}


def precision(columns: Columns) -> float:
    """The share of the pictures made that lie among the real ones."""
    return float(columns["precise"].mean())


def recall(columns: Columns) -> float:
    """The share of the real pictures that lie among those made."""
    return float(columns["recalled"].mean())


PICTURE_PRECISION = Metric(
    "precision",
    Words(
        "Of the pictures that are made, the share that lies among real ones: do they look real?",
        "生成的图片中落在真实图片范围内的比例：看起来真实吗？",
    ),
    "",
    "higher",
    precision,
)
PICTURE_RECALL = Metric(
    "recall",
    Words(
        "Of the real pictures, the share that lies among those made: is all of their variety there?",
        "真实图片中落在生成图片范围内的比例：多样性都覆盖到了吗？",
    ),
    "",
    "higher",
    recall,
)
