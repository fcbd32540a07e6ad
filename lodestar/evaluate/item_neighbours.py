"""The methods that a recommender is held against: what is popular, and what those chose who chose the same.

Axes: N users, I items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

NEIGHBOURS = 100
"""Items that each item is near to; more change little (Deshpande and Karypis 2004, section 6.2)."""
HISTORY = 500
"""A user's last choices that count: the work grows by the square of them."""


class ItemNeighbours:
    """Items are near as far as the same users chose both: the cosine of their columns (Deshpande and Karypis 2004, "Item-based top-N
    recommendation algorithms"); a history recommends what is near to all of it.

    Args:
        histories: of the training users: the items of each.
        items: how many there are.
    """

    def __init__(self, histories: Sequence[np.ndarray], items: int, *, neighbours: int = NEIGHBOURS) -> None:
        last = [np.unique(history[-HISTORY:]) for history in histories]
        users = np.repeat(np.arange(len(last)), [len(history) for history in last])
        chosen = np.concatenate([*last, np.empty(0, np.int64)]).astype(np.int64)
        chose_NI = sparse.csr_array((np.ones(len(chosen)), (users, chosen)), shape=(len(last), items))
        norms_I = np.sqrt(np.maximum(chose_NI.sum(0), 1))
        cosine_II = sparse.csr_array((chose_NI.T @ chose_NI).multiply(1 / norms_I[:, None]).multiply(1 / norms_I[None]))
        cosine_II.setdiag(0)
        self._near_II = _nearest(cosine_II, neighbours)

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """How much each item is recommended to each history (N, I), float32."""
        items = self._near_II.shape[0]
        users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        chosen = np.concatenate([*histories, np.empty(0, np.int64)]).astype(np.int64)
        chose_NI = sparse.csr_array((np.ones(len(chosen)), (users, chosen)), shape=(len(histories), items))
        return (chose_NI @ self._near_II).toarray().astype(np.float32)


def _nearest(cosine_II: sparse.csr_array, neighbours: int) -> sparse.csr_array:
    """Only the largest of each row."""
    kept = cosine_II.copy()
    for start, end in zip(kept.indptr[:-1].tolist(), kept.indptr[1:].tolist(), strict=True):
        if end - start > neighbours:
            row = kept.data[start:end]
            row[np.argsort(-row, kind="stable")[neighbours:]] = 0
    kept.eliminate_zeros()
    return kept
