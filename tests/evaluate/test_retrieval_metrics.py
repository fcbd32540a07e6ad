"""Ranks, the metrics over them, and BM25 beside SQLite's own."""

from __future__ import annotations

import math
import sqlite3

import numpy as np
import pytest

from lodestar.evaluate.bm25 import BM25
from lodestar.evaluate.retrieval import MRR, NDCG_AT_10, RECALL_AT_1, RECALL_AT_5, ranks
from lodestar.store.terms import terms

PASSAGES = [
    "The pool closes at nine. The pool is heated.",
    "Dogs are welcome; dogs sleep in the house.",
    "泳池晚上九点关门，泳池是热的。",
    "可以带狗，每晚八欧元。",
    "Breakfast is at nine in the garden.",
    "",
]


def test_of_passages_that_score_alike_the_right_one_comes_last() -> None:
    scores = np.array([[3.0, 1, 2], [0, 0, 0], [1, 5, 5]])
    assert ranks(scores, np.array([1, 0, 2])).tolist() == [3, 3, 2]


def test_the_metrics_are_those_worked_by_hand() -> None:
    columns = {"rank": np.array([1, 2, 6, 11])}
    assert RECALL_AT_1.compute(columns) == 0.25
    assert RECALL_AT_5.compute(columns) == 0.5
    assert MRR.compute(columns) == pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 11) / 4)
    assert NDCG_AT_10.compute(columns) == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(7)) / 4)


def test_bm25_gives_the_scores_of_sqlite() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE passages USING fts5(terms, tokenize = 'ascii')")
    database.executemany(
        "INSERT INTO passages (rowid, terms) VALUES (?, ?)", [(n, " ".join(terms(text))) for n, text in enumerate(PASSAGES)]
    )
    ours = BM25(PASSAGES)
    for question in ("when does the pool close", "泳池几点关门", "dogs in the garden at nine", "带狗", "zebra"):
        match = " OR ".join(f'"{term}"' for term in dict.fromkeys(terms(question)))
        theirs = np.zeros(len(PASSAGES))
        for row, score in database.execute("SELECT rowid, -bm25(passages) FROM passages WHERE passages MATCH ?", (match,)):
            theirs[row] = score
        np.testing.assert_allclose(ours.scores([question])[0], theirs, rtol=1e-6, atol=1e-9)


def test_questions_without_a_known_term_score_nothing() -> None:
    assert BM25(PASSAGES).scores(["", "zebra", "？"]).tolist() == [[0.0] * 6] * 3
    assert BM25(["", ""]).scores(["a"]).tolist() == [[0.0, 0.0]]
