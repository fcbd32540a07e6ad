"""Metrics of texts that may have several labels, or none.

The columns are `truth` and `chosen`, (n, C) of 0 and 1: which labels each record has, and which it was given. The averages are
scikit-learn's; in the macro average a label that is neither true nor chosen anywhere is left out, as no resample can judge it.
"""

from __future__ import annotations

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric


def micro_f1(columns: Columns) -> float:
    """F1 over all decisions; 0 where no label is true or chosen."""
    right, chosen, true = (counts.sum() for counts in _counts(columns))
    return float(2 * right / (chosen + true)) if chosen + true else 0.0


def macro_f1(columns: Columns) -> float:
    """The mean of the labels' F1."""
    right, chosen, true = _counts(columns)
    present = chosen + true > 0
    return float((2 * right[present] / (chosen + true)[present]).mean()) if present.any() else 0.0


def exact_match(columns: Columns) -> float:
    """The share of records that are given exactly their labels."""
    return float((columns["truth"] == columns["chosen"]).all(1).mean())


def hamming_loss(columns: Columns) -> float:
    """The share of wrong decisions."""
    return float((columns["truth"] != columns["chosen"]).mean())


def _counts(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each label, how often it is rightly chosen, chosen, and true."""
    truth, chosen = columns["truth"] > 0, columns["chosen"] > 0
    return (truth & chosen).sum(0), chosen.sum(0), truth.sum(0)


MICRO_F1 = Metric(
    "f1_micro",
    Words("The harmonic mean of precision and recall over all decisions together.", "所有判断合计的精确率与召回率的调和平均。"),
    "",
    "higher",
    micro_f1,
)
MACRO_F1 = Metric(
    "f1_macro",
    Words("The harmonic mean of precision and recall; mean over labels, rare ones alike.", "精确率与召回率的调和平均；各标签同等取平均。"),
    "",
    "higher",
    macro_f1,
)
EXACT_MATCH = Metric(
    "exact_match",
    Words("The share of texts that get exactly their labels.", "标签完全正确的文本比例。"),
    "",
    "higher",
    exact_match,
)
HAMMING_LOSS = Metric(
    "hamming_loss",
    Words("The share of wrong decisions among all labels of all texts.", "全部文本与标签的判断中出错的比例。"),
    "",
    "lower",
    hamming_loss,
)
