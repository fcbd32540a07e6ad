"""A baseline for retrieval: BM25 (Robertson and Zaragoza 2009, equation 3.15), with the terms, k1, b and idf of SQLite's FTS5.

Axes: Q questions, N passages, V terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from ..store.terms import terms

K1, B = 1.2, 0.75
_LEAST_IDF = 1e-6
"""Of a term that stands in half of the passages, or more."""


class BM25:
    """BM25 over a fixed set of passages."""

    def __init__(self, passages: Sequence[str]) -> None:
        counts = [Counter(terms(passage)) for passage in passages]
        self._columns = {term: column for column, term in enumerate(dict.fromkeys(term for count in counts for term in count))}
        lengths_N = np.array([count.total() for count in counts], dtype=np.float64)
        rows = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
        columns = np.array([self._columns[term] for count in counts for term in count], dtype=np.int64)
        frequency = np.array([times for count in counts for times in count.values()], dtype=np.float64)
        mean = lengths_N.mean() if lengths_N.any() else 1.0
        saturated = frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * lengths_N[rows] / mean))
        holding_V = np.bincount(columns, minlength=len(self._columns))
        idf_V = np.maximum(np.log((len(counts) - holding_V + 0.5) / (holding_V + 0.5)), _LEAST_IDF)
        self._weights_VN = sparse.csr_matrix((saturated * idf_V[columns], (columns, rows)), (len(self._columns), len(counts)))

    def scores(self, questions: Sequence[str]) -> np.ndarray:
        """How well each passage answers to each question, (Q, N); 0 where they share no term."""
        found = [[self._columns[term] for term in dict.fromkeys(terms(question)) if term in self._columns] for question in questions]
        rows = np.repeat(np.arange(len(found)), [len(one) for one in found])
        columns = np.array([column for one in found for column in one], dtype=np.int64)
        asked_QV = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(found), len(self._columns)))
        return np.asarray((asked_QV @ self._weights_VN).todense())
