"""Objects found by windows that slide over oriented gradients, as before networks learnt to see: Dalal and Triggs 2005,
https://doi.org/10.1109/CVPR.2005.177.

Each label has windows of one shape, that of its usual object; what a window shows is told by a linear model over all labels and nothing.

Axes: C channels, Y rows and X columns of pixels, M objects, N windows, F features, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..contracts.randomness import generator
from .detection import Boxed, box_iou
from .hog import BLOCK, hog_blocks
from .linear import feature_model

CELLS, CELL = 6, 4
"""Of a window: cells a side, and pixels a side of a cell, once the window is of the size that it is looked at."""
SIDE = CELLS * CELL
EMPTY = 12
"""Windows of nothing that are learnt from each picture."""
APART, SAME = 0.3, 0.5
"""A window that covers every object less than the one shows nothing; of two that cover each other more than the other, one is kept."""
MOST_PIXELS = 512
"""A side of a picture as it is looked at; a label of tiny objects would have it larger."""


class WindowDetector:
    """Learns from pictures (C, Y, X) of 0 to 255 with boxes in their pixels, and finds such objects in others."""

    def __init__(self, pictures: Sequence[tuple[np.ndarray, Boxed]], labels: int, seed: int = 0) -> None:
        self._shapes = _usual_shapes([truth for _, truth in pictures], labels)
        self._labels = labels
        random = generator(seed, "windows")
        rows, names = list[np.ndarray](), list[int]()
        for pixels, truth in pictures:
            for edges, label in zip(truth.boxes[truth.scores == 0], truth.labels[truth.scores == 0], strict=True):
                rows.append(_look(pixels, edges))
                names.append(int(label))
            for edges in _empty(truth, pixels.shape[1:], self._shapes, random):
                rows.append(_look(pixels, edges))
                names.append(labels)
        self._model: Any = feature_model(np.stack(rows), np.array(names))

    def find(self, pixels: np.ndarray, most: int) -> Boxed:
        """At most `most` objects, the best first."""
        found = [self._find_label(pixels, label) for label in range(self._labels) if label in self._model.classes_]
        boxes, scores = (np.concatenate([each[part] for each in found]) for part in (0, 1))
        labels = np.repeat([label for label in range(self._labels) if label in self._model.classes_], [len(each[1]) for each in found])
        best = np.argsort(-scores, kind="stable")[:most]
        return Boxed(boxes[best], labels[best], scores[best])

    def _find_label(self, pixels: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) and scores (N,) of a label: windows that are better than those that they overlap."""
        height, width = pixels.shape[1:]
        scale = np.minimum(SIDE / self._shapes[label], MOST_PIXELS / np.array([width, height]))
        wide, high = np.maximum(np.round(np.array([width, height]) * scale), SIDE).astype(int)
        blocks = hog_blocks(_resized(pixels, high, wide), CELL)
        size = CELLS - BLOCK + 1
        windows = np.lib.stride_tricks.sliding_window_view(blocks, (size, size), axis=(0, 1))
        rows, columns = windows.shape[:2]
        features = windows.transpose(0, 1, 3, 4, 2).reshape(rows * columns, -1)
        scores = self._model.predict_proba(features)[:, list(self._model.classes_).index(label)]
        top, left = (each.ravel() * CELL for each in np.mgrid[:rows, :columns])
        edges = np.stack([left, top, left + SIDE, top + SIDE], 1) * np.tile([width / wide, height / high], 2)
        kept = _best_apart(edges, scores)
        return edges[kept], scores[kept]


def _usual_shapes(truths: Sequence[Boxed], labels: int) -> np.ndarray:
    """Width and height of each label's usual object, (L, 2): geometric means; of one without objects, that of all."""
    edges = np.concatenate([truth.boxes[truth.scores == 0] for truth in truths])
    names = np.concatenate([truth.labels[truth.scores == 0] for truth in truths])
    logs = np.log(np.maximum(edges[:, 2:] - edges[:, :2], 1.0))
    return np.exp([logs[names == label].mean(0) if (names == label).any() else logs.mean(0) for label in range(labels)])


def _empty(truth: Boxed, size: Sequence[int], shapes: np.ndarray, random: np.random.Generator) -> Iterable[np.ndarray]:
    """Windows (4,) of a picture of so many rows and columns that show nothing."""
    for _ in range(EMPTY):
        wide, high = np.minimum(shapes[random.integers(len(shapes))], [size[1], size[0]])
        left, top = random.uniform(0, size[1] - wide + 1e-9), random.uniform(0, size[0] - high + 1e-9)
        edges = np.array([left, top, left + wide, top + high])
        if (box_iou(edges[None], truth.boxes, truth.scores > 0) < APART).all():
            yield edges


def _look(pixels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """What a window (4,) shows, as features (F,)."""
    return hog_blocks(_resized(pixels, SIDE, SIDE, edges), CELL).ravel()


def _resized(pixels: np.ndarray, height: int, width: int, edges: np.ndarray | None = None) -> np.ndarray:
    """The picture, or the part of it within `edges`, in another size."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    part = None if edges is None else tuple(np.clip(edges, 0, [image.width, image.height] * 2).tolist())
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=part)).transpose(2, 0, 1)


def _best_apart(edges: np.ndarray, scores: np.ndarray, most: int = 100) -> np.ndarray:
    """Which boxes (N, 4) stay where of those that overlap only the best does; at most so many."""
    order, kept = np.argsort(-scores, kind="stable"), list[int]()
    while len(order) and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[box_iou(edges[order], edges[best][None], np.zeros(1, bool))[:, 0] <= SAME]
    return np.array(kept, int)
