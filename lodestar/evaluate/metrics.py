"""The metrics: formulas over measured columns, one row an example.

The columns of a language model are `nats`, `bytes` and `tokens` of each document; those of a classifier are `label` and `predicted`
(indices into the label set) and `log_probability` (of the true label, in nats). Precision, recall and F1 are scikit-learn's
macro averages; they are written out over a confusion matrix here because a bootstrap computes them thousands of times.
"""

from __future__ import annotations

import math

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric


def bits_per_byte(columns: Columns) -> float:
    """Cross-entropy of the documents in bits, over their size in UTF-8 bytes; NaN without bytes."""
    size = columns["bytes"].sum()
    return float(columns["nats"].sum() / (size * math.log(2))) if size else math.nan


def perplexity(columns: Columns) -> float:
    """exp of the mean cross-entropy in nats a token; NaN where the method has no tokens."""
    if "tokens" not in columns:
        return math.nan
    tokens = columns["tokens"].sum()
    return float(np.exp(columns["nats"].sum() / tokens)) if tokens else math.nan


def syntax_valid(columns: Columns) -> float:
    """The share of completions that parse, of those that were asked for; NaN where none was (-1 in the column)."""
    return asked_mean(columns["syntax_valid"])


def accuracy(columns: Columns) -> float:
    return float((columns["label"] == columns["predicted"]).mean())


def precision(columns: Columns) -> float:
    """The mean over the labels of true positives / predicted positives (0 where a label was never predicted)."""
    true, predicted, _ = _counts(columns)
    return float(_ratio(true, predicted).mean())


def recall(columns: Columns) -> float:
    """The mean over the labels of true positives / positives (0 where a label was predicted but never true)."""
    true, _, actual = _counts(columns)
    return float(_ratio(true, actual).mean())


def f1(columns: Columns) -> float:
    """The mean over the labels of the harmonic mean of precision and recall."""
    true, predicted, actual = _counts(columns)
    return float(_ratio(2 * true, predicted + actual).mean())


def asked_mean(values: np.ndarray) -> float:
    """The mean over the rows that were asked for it; -1 stands for one that was not."""
    return float(values[values >= 0].mean()) if (values >= 0).any() else math.nan


def pass_at(columns: Columns, k: int) -> float:
    """The chance that one of `k` programs passes, without bias from the n programs `drawn` for each problem, of which c `passed`: the mean
    of 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, https://arxiv.org/abs/2107.03374). NaN where fewer than k were drawn.
    """
    asked = columns["drawn"] >= k
    if not asked.any():
        return math.nan
    drawn, failed = columns["drawn"][asked], (columns["drawn"] - columns["passed"])[asked]
    return float(np.mean([1 - math.comb(int(failures), k) / math.comb(int(n), k) for n, failures in zip(drawn, failed, strict=True)]))


def log_loss(columns: Columns) -> float:
    """Minus the mean log-probability, in nats, of the true label."""
    return float(-columns["log_probability"].mean())


def _counts(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, predicted positives and positives of each label that is true or predicted somewhere, as scikit-learn averages."""
    label, predicted = columns["label"], columns["predicted"]
    size = int(max(label.max(), predicted.max())) + 1
    true = np.bincount(label[label == predicted], minlength=size)
    predictions, actual = np.bincount(predicted, minlength=size), np.bincount(label, minlength=size)
    present = predictions + actual > 0
    return true[present], predictions[present], actual[present]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


BITS_PER_BYTE = Metric(
    "bits_per_byte",
    Words(
        "How many bits the model needs to write down a byte of unseen text; does not depend on the tokenizer.",
        "模型写出未见文本的每个字节所需的比特数；与分词器无关。",
    ),
    "bits/byte",
    "lower",
    bits_per_byte,
)
PERPLEXITY = Metric(
    "perplexity",
    Words(
        "Among how many equally likely tokens the model is torn on average; comparable within one tokenizer only.",
        "模型平均在多少个等可能的词元之间犹豫；只能在同一分词器下比较。",
    ),
    "",
    "lower",
    perplexity,
)
SYNTAX_VALID = Metric(
    "syntax_valid",
    Words("The share of completed functions that Python can parse.", "补全后的函数中能被 Python 解析的比例。"),
    "",
    "higher",
    syntax_valid,
)
LINE_FILLED = Metric(
    "line_filled",
    Words(
        "The share of lines that are filled in exactly as they were, from what stands before and after them.",
        "根据前后文补出的整行与原文完全一致的比例。",
    ),
    "",
    "higher",
    lambda columns: asked_mean(columns["line_filled"]),
)
PASS_AT_1 = Metric(
    "pass_at_1",
    Words("The chance that one drawn program passes all tests of its problem.", "随机生成的一个程序通过其题目全部测试的概率。"),
    "",
    "higher",
    lambda columns: pass_at(columns, 1),
)
PASS_AT_10 = Metric(
    "pass_at_10",
    Words("The chance that one of ten drawn programs passes all tests.", "随机生成的十个程序中至少一个通过全部测试的概率。"),
    "",
    "higher",
    lambda columns: pass_at(columns, 10),
)
ACCURACY = Metric("accuracy", Words("The share of texts that get the right label.", "标签判断正确的文本比例。"), "", "higher", accuracy)
PRECISION = Metric(
    "precision",
    Words("Of the texts given a label, the share that deserve it; mean over labels.", "被打上某标签的文本中判断正确的比例；各标签取平均。"),
    "",
    "higher",
    precision,
)
RECALL = Metric(
    "recall",
    Words("Of the texts that deserve a label, the share that get it; mean over labels.", "应有某标签的文本中被找出的比例；各标签取平均。"),
    "",
    "higher",
    recall,
)
F1 = Metric(
    "f1",
    Words("The harmonic mean of precision and recall; mean over labels.", "精确率与召回率的调和平均；各标签取平均。"),
    "",
    "higher",
    f1,
)
LOG_LOSS = Metric(
    "log_loss",
    Words(
        "How surprised the model is by the right labels, in nats; punishes false certainty.",
        "模型对正确标签的意外程度（纳特）；惩罚错误的自信。",
    ),
    "nats",
    "lower",
    log_loss,
)


def top_5(columns: Columns) -> float:
    """The share of rows whose right label is among the five likeliest; `rank` counts the labels that are likelier. With five labels or
    fewer it is always 1.
    """
    return float((columns["rank"] < 5).mean())


TOP_5 = Metric(
    "top_5",
    Words("The share whose right label is among the five likeliest.", "正确标签位列最可能的五个之中的比例。"),
    "",
    "higher",
    top_5,
)
