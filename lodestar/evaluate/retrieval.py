"""How well passages are found: metrics over the column `rank`, the place, from 1, of the one passage that is right for a question.

Axes: Q questions, N passages.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric


def ranks(scores_QN: np.ndarray, relevant_Q: np.ndarray) -> np.ndarray:
    """The rank of each question's passage among all of them, (Q,); of several that score alike it comes last, so that a method that says
    nothing is not right by luck.

    Args:
        scores_QN: the higher, the better.
        relevant_Q: which passage is right.
    """
    own_Q1 = scores_QN[np.arange(len(relevant_Q)), relevant_Q][:, None]
    return (scores_QN >= own_Q1).sum(1)


def recall_at(k: int, columns: Columns) -> float:
    """The share of questions whose passage is among the first k."""
    return float((columns["rank"] <= k).mean())


def reciprocal_rank(columns: Columns) -> float:
    """The mean of 1 / rank."""
    return float((1 / columns["rank"]).mean())


def ndcg_at(k: int, columns: Columns) -> float:
    """Normalised discounted cumulative gain of the first k (Järvelin and Kekäläinen 2002), which with one right passage is
    1 / log2(1 + rank), or 0 past the k-th.
    """
    rank = columns["rank"]
    return float(np.where(rank <= k, 1 / np.log2(1 + rank), 0).mean())


MRR = Metric(
    "mrr",
    Words(
        "The mean of 1 / rank of the right passage, among all passages of the split.",
        "正确段落排名倒数的均值，在该数据划分的全部段落中排名。",
    ),
    "",
    "higher",
    reciprocal_rank,
)
RECALL_AT_1 = Metric(
    "recall_at_1",
    Words("The share of questions whose passage is found first.", "正确段落排在第一位的问题比例。"),
    "",
    "higher",
    partial(recall_at, 1),
)
RECALL_AT_5 = Metric(
    "recall_at_5",
    Words("The share of questions whose passage is among the first five.", "正确段落排进前五位的问题比例。"),
    "",
    "higher",
    partial(recall_at, 5),
)
NDCG_AT_10 = Metric(
    "ndcg_at_10",
    Words(
        "How near the top the right passage stands among the first ten; 1 where it is first.", "正确段落在前十位中有多靠前；排第一为 1。"
    ),
    "",
    "higher",
    partial(ndcg_at, 10),
)
