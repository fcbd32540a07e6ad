"""Item neighbours against the formula written out with dense matrices."""

from __future__ import annotations

import numpy as np

from lodestar.contracts.randomness import generator
from lodestar.evaluate.item_neighbours import ItemNeighbours


def test_scores_are_sums_of_cosines() -> None:
    draw = generator(0, "neighbours")
    histories = [draw.choice(12, draw.integers(1, 8), replace=False) for _ in range(30)]
    chose = np.zeros((30, 12))
    for row, history in enumerate(histories):
        chose[row, history] = 1
    norms = np.maximum(np.linalg.norm(chose, axis=0), 1)
    cosine = chose.T @ chose / norms / norms[:, None]
    np.fill_diagonal(cosine, 0)
    asked = [np.array([0, 3, 5]), np.array([], np.int64), np.array([7])]
    expected = np.stack([cosine[history].sum(0) for history in asked])
    np.testing.assert_allclose(ItemNeighbours(histories, 12).scores(asked), expected, rtol=1e-6)


def test_only_the_nearest_count() -> None:
    # 0 was chosen with 1 twice, and with 2 once.
    histories = [np.array([0, 1]), np.array([0, 1]), np.array([0, 2])]
    all_of_them, nearest = (ItemNeighbours(histories, 4, neighbours=count).scores([np.array([0])])[0] for count in (2, 1))
    np.testing.assert_allclose(all_of_them, [0, 2 / np.sqrt(6), 1 / np.sqrt(3), 0], rtol=1e-6)
    np.testing.assert_allclose(nearest, [0, 2 / np.sqrt(6), 0, 0], rtol=1e-6)
