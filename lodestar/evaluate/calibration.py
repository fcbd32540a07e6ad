"""How far a classifier's probabilities can be believed, and what is fitted to validation so that they can be.

A confidence is the probability of the label that was chosen; it is calibrated where of all answers with a confidence of 0.8, four in five
are right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric

BINS = 15
"""As in Guo et al. 2017."""
TEMPERATURES = math.log(2)
"""How far the logarithms of temperatures spread, before any record is seen: most lie between one half and two, few beyond four."""
DOUBT = 0.1
"""The chance that a stated precision is missed although it was chosen on validation."""


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies between two bounds."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean; NaN where there are none, as is the next."""
    accuracy: float


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS, *, equal_mass: bool = False) -> list[Bin]:
    """Sort answers (n,) into bins by their confidence.

    Args:
        right: whether each answer is right (n,).
        equal_mass: bins of as many answers each, rather than of one width. Those of equal confidence may then stand on both sides of a
            bound; they are shared out by whether they are right, so that the order of the rows makes no difference.
    """
    if equal_mass:
        order = np.lexsort((right, confidence))
        parts = [part for part in np.array_split(order, bins) if len(part)]
        return [Bin(float(confidence[part[0]]), float(confidence[part[-1]]), *_means(confidence[part], right[part])) for part in parts]
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    chosen = [places == place for place in range(bins)]
    return [Bin(place / bins, (place + 1) / bins, *_means(confidence[rows], right[rows])) for place, rows in enumerate(chosen)]


def _means(confidence: np.ndarray, right: np.ndarray) -> tuple[int, float, float]:
    count = len(confidence)
    return (count, float(confidence.mean()), float(right.mean())) if count else (0, math.nan, math.nan)


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS, *, equal_mass: bool = False) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the bins, weighted by their answers.

    Naeini et al. 2015; with bins of equal mass, Nguyen and O'Connor 2015, https://arxiv.org/abs/1508.05154.
    """
    found = reliability(confidence, right, bins, equal_mass=equal_mass)
    return sum(each.count * abs(each.confidence - each.accuracy) for each in found if each.count) / len(confidence)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What the logits are to be divided by: the likeliest T. It changes no decision between the labels.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2. Where every one of n answers is right the likelihood alone would sharpen
    them without end; so one answer in n + 2 is taken to be any label, as in Platt 1999, section 2.2. And where few of few are right it
    would flatten them altogether; so log T has a normal prior around 0, which some hundred answers outweigh.

    Args:
        logits: (n, C).
        labels: (n,) of the right classes; or (n, C) of 0 and 1 where each class is decided by itself.
    """
    from scipy.optimize import minimize_scalar

    doubt = 1 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        if labels.ndim == 2:
            any_label = (log_likelihoods(scaled, labels) + log_likelihoods(scaled, 1 - labels)).mean() / 2
        else:
            any_label = log_softmax(scaled).mean()
        prior = (log_temperature / TEMPERATURES) ** 2 / (2 * len(labels))
        return prior - float((1 - doubt) * log_likelihoods(scaled, labels).mean() + doubt * any_label)

    found = minimize_scalar(loss, bounds=(-math.log(100), math.log(100)), method="bounded", options={"xatol": 1e-4})
    return math.exp(float(found.x))


def log_likelihoods(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The log-probability, in nats, of each row's right class (n,), or of each decision of a class by itself (n, C)."""
    if labels.ndim == 2:
        return -np.logaddexp(0, np.where(labels > 0, -logits, logits))
    return log_softmax(logits)[np.arange(len(labels)), labels]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(n, C) → (n, C): the rows' log-probabilities."""
    shifted = logits - logits.max(1, keepdims=True)
    normal: np.ndarray = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normal


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def threshold_for(confidence: np.ndarray, right: np.ndarray, precision: float, doubt: float = DOUBT) -> float | None:
    """The least confidence to answer at, so that answers are right at least `precision` of the time; None where none is known to do.

    On few records a share says little: what must reach `precision` is the lower end of its exact one-sided interval (Clopper and Pearson
    1934). The thresholds are looked at by bisection, and `doubt` is shared among the looks, as by Geifman and El-Yaniv 2017,
    https://arxiv.org/abs/1705.08500, algorithm 1.

    Args:
        doubt: the chance that the precision is missed on further records of the same kind.
    """
    from scipy.stats import beta

    order = np.argsort(-confidence, kind="stable")
    ordered, hits = confidence[order], np.cumsum(right[order])
    # A threshold takes all answers of equal confidence or none.
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    looks = max(1, math.ceil(math.log2(len(ends) + 1)))
    low, high, best = 0, len(ends) - 1, None
    while low <= high:
        middle = (low + high) // 2
        count, hit = int(ends[middle]) + 1, int(hits[ends[middle]])
        bound = float(beta.ppf(doubt / looks, hit, count - hit + 1)) if hit else 0.0
        if bound >= precision:
            best, low = float(ordered[ends[middle]]), middle + 1
        else:
            high = middle - 1
    return best


def f1_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> list[float]:
    """For each label the threshold at which its F1 is greatest; halfway between two probabilities, so that neither stands on it.

    Of equal ones the nearest to one half is taken; one half where the label is true of fewer than two records, which say nothing.

    Args:
        probabilities: (n, C).
        truth: (n, C) of 0 and 1.
    """
    return [_f1_threshold(each, true.astype(bool)) for each, true in zip(probabilities.T, truth.T, strict=True)]


def _f1_threshold(probability: np.ndarray, true: np.ndarray) -> float:
    if true.sum() < 2:
        return 0.5
    order = np.argsort(-probability, kind="stable")
    ordered, hits = probability[order], np.cumsum(true[order])
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    scores = 2 * hits[ends] / (ends + 1 + true.sum())
    between = (ordered[ends] + np.append(ordered[ends[:-1] + 1], 0.0)) / 2
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(between[best[np.argmin(np.abs(between[best] - 0.5))]])


def decisions(columns: Columns) -> tuple[np.ndarray, np.ndarray] | None:
    """The confidence of every decision, and whether it is right; of several labels, each one is a decision. None without confidences."""
    if "probability" in columns:
        probability, truth = columns["probability"], columns["truth"] > 0
        return np.maximum(probability, 1 - probability).ravel(), ((probability >= 0.5) == truth).ravel()
    return (columns["confidence"], columns["label"] == columns["predicted"]) if "confidence" in columns else None


def ece(columns: Columns) -> float:
    """The calibration error over bins of equal width; NaN without confidences."""
    found = decisions(columns)
    return calibration_error(*found) if found else math.nan


def ece_equal_mass(columns: Columns) -> float:
    """The calibration error over bins of equal mass; NaN without confidences."""
    found = decisions(columns)
    return calibration_error(*found, equal_mass=True) if found else math.nan


def coverage(columns: Columns) -> float:
    """The share of records that get an answer; NaN where the method always answers."""
    return float(columns["answered"].mean()) if "answered" in columns else math.nan


def answered_accuracy(columns: Columns) -> float:
    """The share of right ones among the answers; NaN where there are none, or where the method always answers."""
    if "answered" not in columns or not columns["answered"].any():
        return math.nan
    return float((columns["label"] == columns["predicted"])[columns["answered"]].mean())


CALIBRATION_ERROR = Metric(
    "ece",
    Words(
        f"How far the model's confidence is from how often it is right, on average over {BINS} bins of equal width.",
        f"模型的自信程度与其正确率的平均差距（{BINS} 个等宽分箱）。",
    ),
    "",
    "lower",
    ece,
)
CALIBRATION_ERROR_EQUAL_MASS = Metric(
    "ece_equal_mass",
    Words(f"The same over {BINS} bins of as many answers each.", f"同上，但 {BINS} 个分箱各含同样多的回答。"),
    "",
    "lower",
    ece_equal_mass,
)
COVERAGE = Metric(
    "coverage",
    Words("The share of texts that get an answer rather than none.", "得到回答（而非弃答）的文本比例。"),
    "",
    "higher",
    coverage,
)
ANSWERED_ACCURACY = Metric(
    "answered_accuracy",
    Words("Of the texts that get an answer, the share whose answer is right.", "得到回答的文本中，回答正确的比例。"),
    "",
    "higher",
    answered_accuracy,
)
