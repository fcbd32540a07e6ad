"""Histograms of oriented gradients, and a linear model on them: what pictures were told apart by before networks learnt to see.

Dalal and Triggs 2005, https://doi.org/10.1109/CVPR.2005.177: nine directions, cells that grow with the picture, blocks of two cells by two,
L2-Hys.

Axes: n pictures, C channels, Y rows and X columns of pixels, L labels, F features.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

DIRECTIONS = 9
"""Of 20 degrees each; a direction and its opposite are one."""
BLOCK = 2
"""Cells a side whose contrast is levelled together."""
CLIPPED = 0.2
"""The most that one number keeps of its block's length, before the block is levelled again (Lowe 2004)."""
CELLS = 8
"""Cells a side: of 4 × 4 pixels in a picture of 32 × 32."""
FEWEST_PIXELS = 2
"""A side of a cell."""


def hog(pixels_CYX: np.ndarray, cell: int | None = None) -> np.ndarray:
    """The features of one picture, (F,) float32; the arguments are those of `hog_blocks`."""
    return hog_blocks(pixels_CYX, cell).ravel()


def hog_blocks(pixels_CYX: np.ndarray, cell: int | None = None) -> np.ndarray:
    """The features of each block of a picture, (rows, columns, F) float32. Of colours, the channel with the steepest gradient speaks at
    each pixel.

    Args:
        pixels_CYX: any numbers; only their differences count.
        cell: pixels a side of a cell; an eighth of the shorter side where None.
    """
    values = pixels_CYX.astype(np.float64)
    height, width = values.shape[1:]
    cell = cell or max(FEWEST_PIXELS, min(height, width) // CELLS)
    down, across = np.zeros_like(values), np.zeros_like(values)
    down[:, 1:-1] = values[:, 2:] - values[:, :-2]
    across[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    steepness = np.hypot(down, across)
    chosen = steepness.argmax(0)[None]
    strongest, down_YX, across_YX = (np.take_along_axis(each, chosen, 0)[0] for each in (steepness, down, across))
    direction = (np.rad2deg(np.arctan2(down_YX, across_YX)) % 180) // (180 / DIRECTIONS)
    rows, columns = height // cell, width // cell
    histogram = np.empty((rows, columns, DIRECTIONS))
    for number in range(DIRECTIONS):
        part = np.where(direction == number, strongest, 0.0)[: rows * cell, : columns * cell]
        histogram[:, :, number] = part.reshape(rows, cell, columns, cell).mean((1, 3))
    size = min(BLOCK, rows, columns)
    blocks = np.lib.stride_tricks.sliding_window_view(histogram, (size, size), axis=(0, 1))
    blocks = blocks.transpose(0, 1, 3, 4, 2).reshape(rows - size + 1, columns - size + 1, -1)
    levelled = np.minimum(blocks / _length(blocks), CLIPPED)
    return (levelled / _length(levelled)).astype(np.float32)


def _length(blocks: np.ndarray) -> np.ndarray:
    return np.sqrt((blocks**2).sum(-1, keepdims=True) + 1e-10)


def hog_logits(pictures: Iterable[np.ndarray], truth: np.ndarray, held_out: Iterable[np.ndarray], labels: int) -> np.ndarray:
    """Learn logistic regression on the histograms of labelled pictures, and give the log-probabilities (n, L) of the held-out ones.

    Args:
        pictures: (C, Y, X) each, all of one size.
        truth: the index of each label (n,).
        labels: L; one that stands in no training record is all but impossible.
    """
    from .linear import feature_logits

    learnt, asked = (np.stack([hog(each) for each in group]) for group in (pictures, held_out))
    return feature_logits(learnt, truth, asked, labels)
