"""The metrics of summaries: means of the ROUGE of each, and of what it copies and repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric
from .rouge import copied, form_of, repeated, rouge

SIGNATURE = "ROUGE: F1 as of rouge-score 0.1.2, stemmed; the best of several references; letters beyond a to z by character or word"
"""How exactly the scores are computed."""


def columns(documents: Sequence[str], references: Sequence[Sequence[str]], written: Sequence[str]) -> dict[str, np.ndarray]:
    """What the metrics compute from, a row a summary.

    Args:
        references: at least one a document; sentences, here and in `written`, are on lines of their own.
    """
    rows = []
    for document, wanted, found in zip(documents, references, written, strict=True):
        form = form_of("".join(wanted))
        scores = rouge(wanted, found, form)
        how = copied(document, found, form)
        rows.append([*(score.f1 for score in scores), how.coverage, how.density, repeated(found, form)])
    names = ("rouge_1", "rouge_2", "rouge_l", "rouge_lsum", "coverage", "density", "repetition")
    return dict(zip(names, np.array(rows, np.float64).reshape(-1, len(names)).T, strict=True))


def _mean(name: str) -> Callable[[Columns], float]:
    return lambda columns: float(columns[name].mean())


ROUGE_1 = Metric(
    "rouge_1",
    Words("The words that a summary shares with a person's (F1).", "摘要与人写的摘要共有的词（F1）。"),
    "", "higher", _mean("rouge_1"),
)  # fmt: skip
ROUGE_2 = Metric(
    "rouge_2",
    Words("The pairs of neighbouring words that a summary shares with a person's (F1).", "摘要与人写的摘要共有的相邻词对（F1）。"),
    "", "higher", _mean("rouge_2"),
)  # fmt: skip
ROUGE_L = Metric(
    "rouge_l",
    Words("The longest sequence of words that a summary shares with a person's (F1).", "摘要与人写的摘要共有的最长词序列（F1）。"),
    "", "higher", _mean("rouge_l"),
)  # fmt: skip
ROUGE_LSUM = Metric(
    "rouge_lsum",
    Words("As ROUGE-L, sentence by sentence (F1).", "同 ROUGE-L，逐句计算（F1）。"),
    "", "higher", _mean("rouge_lsum"),
)  # fmt: skip
COVERAGE = Metric(
    "coverage",
    Words(
        "The share of a summary's words that stand in the document: the others are the model's own, or made up.",
        "摘要中出自原文的词所占的比例：其余是模型自己的话，或是编造的。",
    ),
    "", "higher", _mean("coverage"),
)  # fmt: skip
REPETITION = Metric(
    "repetition",
    Words("The share of a summary's groups of three words that it has said before.", "摘要中重复出现的三词组所占的比例。"),
    "", "lower", _mean("repetition"),
)  # fmt: skip
