"""From a classifier's logits to labels: exactly one for a text, or as many as apply. What decides is fitted on validation.

Axes: n texts, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..contracts.config import Config
from ..contracts.errors import UserError, nearest
from ..contracts.language import Words
from ..contracts.score import Metric
from .calibration import (
    ANSWERED_ACCURACY,
    CALIBRATION_ERROR,
    CALIBRATION_ERROR_EQUAL_MASS,
    COVERAGE,
    calibration_error,
    f1_thresholds,
    fit_temperature,
    log_likelihoods,
    log_softmax,
    sigmoid,
    threshold_for,
)
from .metrics import ACCURACY, F1, LOG_LOSS, PRECISION, RECALL
from .multilabel import EXACT_MATCH, HAMMING_LOSS, MACRO_F1, MICRO_F1

NEVER = 2.0
"""A threshold that no probability reaches: what is known to keep the stated precision nowhere is never said."""


class Calibration(Config):
    """What was fitted to the trained model on validation; it travels with the checkpoint and the release."""

    temperature: float = 1.0
    """What the logits are divided by."""
    least_confidence: float | None = None
    """One label: a text whose likeliest label is less probable gets none."""
    thresholds: list[float] | None = None
    """Several labels: the least probability at which each is given; one half where absent."""


class Labelling(Protocol):
    """How a text's labels follow from its logits."""

    @property
    def metrics(self) -> tuple[Metric, ...]: ...

    def fit(self, logits: np.ndarray, truth: np.ndarray, precision: float | None) -> tuple[Calibration, list[Words]]:
        """What decides, from validation's logits (n, C), and what there is to say of it."""
        ...

    def columns(self, logits: np.ndarray, truth: np.ndarray, calibration: Calibration | None) -> dict[str, np.ndarray]:
        """The columns that the metrics compute from; without a calibration, the logits are taken as they are."""
        ...

    def answers(self, logits: np.ndarray, labels: Sequence[str], calibration: Calibration) -> list[dict[str, Any]]:
        """What is answered to each text."""
        ...

    def probabilities(self, logits: np.ndarray, calibration: Calibration) -> np.ndarray:
        """The calibrated probability of each label (n, C)."""
        ...

    def doubt(self, probabilities: np.ndarray, labels: Sequence[str]) -> tuple[str, float, Words]:
        """Of one text's probabilities (C,): the likeliest answer, the probability of what it hangs on, and that in words."""
        ...


class OneLabel:
    """Exactly one of the labels, or none where the model is less sure than it has to be. `truth` is (n,) of indices."""

    def __init__(self, *, abstains: bool) -> None:
        self.metrics: tuple[Metric, ...] = (
            ACCURACY, PRECISION, RECALL, F1, LOG_LOSS, CALIBRATION_ERROR, CALIBRATION_ERROR_EQUAL_MASS,
            *((COVERAGE, ANSWERED_ACCURACY) if abstains else ()),
        )  # fmt: skip

    def fit(self, logits: np.ndarray, truth: np.ndarray, precision: float | None) -> tuple[Calibration, list[Words]]:
        temperature = fit_temperature(logits, truth)
        probabilities = np.exp(log_softmax(logits / temperature))
        confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
        said = [_said_of_temperature(temperature, np.exp(log_softmax(logits)).max(1), confidence, right)]
        if precision is None:
            return Calibration(temperature=temperature), said
        least = threshold_for(confidence, right, precision)
        if least is None:
            said.append(
                Words(
                    f"no confidence is known to give {precision:.0%} right answers on {len(truth):,} validation records: every text is "
                    "left without a label; give more validation records, or a lower options.precision.",
                    f"在 {len(truth):,} 条验证记录上，没有任何置信度能保证 {precision:.0%} 的正确率：所有文本都将弃答；"
                    "请增加验证记录，或调低 options.precision。",
                )
            )
        else:
            share = (confidence >= least).mean()
            said.append(
                Words(
                    f"{precision:.0%} right answers: a label needs a confidence of {least:.3f}; {share:.0%} of validation has it.",
                    f"为达到 {precision:.0%} 的正确率，给出标签所需置信度为 {least:.3f}；{share:.0%} 的验证文本达到。",
                )
            )
        return Calibration(temperature=temperature, least_confidence=NEVER if least is None else least), said

    def columns(self, logits: np.ndarray, truth: np.ndarray, calibration: Calibration | None) -> dict[str, np.ndarray]:
        used = calibration or Calibration()
        log_probabilities = log_softmax(logits / used.temperature)
        confidence = np.exp(log_probabilities.max(1))
        columns = {
            "label": truth,
            "predicted": log_probabilities.argmax(1),
            "log_probability": log_probabilities[np.arange(len(truth)), truth],
            "confidence": confidence,
        }
        if used.least_confidence is not None:
            columns["answered"] = confidence >= used.least_confidence
        return columns

    def answers(self, logits: np.ndarray, labels: Sequence[str], calibration: Calibration) -> list[dict[str, Any]]:
        least = calibration.least_confidence
        found = []
        for row in self.probabilities(logits, calibration):
            best = int(row.argmax())
            answered = least is None or row[best] >= least
            answer: dict[str, Any] = {"label": labels[best] if answered else None, "probabilities": _named(labels, row)}
            found.append(answer if least is None else answer | {"abstained": not answered})
        return found

    def probabilities(self, logits: np.ndarray, calibration: Calibration) -> np.ndarray:
        return np.exp(log_softmax(logits / calibration.temperature))

    def doubt(self, probabilities: np.ndarray, labels: Sequence[str]) -> tuple[str, float, Words]:
        first, second = (int(place) for place in np.argsort(-probabilities, kind="stable")[:2])
        shares = f"{labels[first]} {probabilities[first]:.2f}", f"{labels[second]} {probabilities[second]:.2f}"
        return (
            labels[first],
            float(probabilities[first]),
            Words(f"between {shares[0]} and {shares[1]}", f"介于 {shares[0]} 与 {shares[1]} 之间"),
        )


class SeveralLabels:
    """As many of the labels as apply, or none. `truth` is (n, C) of 0 and 1."""

    metrics = (MICRO_F1, MACRO_F1, EXACT_MATCH, HAMMING_LOSS, LOG_LOSS, CALIBRATION_ERROR, CALIBRATION_ERROR_EQUAL_MASS)

    def fit(self, logits: np.ndarray, truth: np.ndarray, precision: float | None) -> tuple[Calibration, list[Words]]:
        temperature = fit_temperature(logits, truth)
        probabilities = sigmoid(logits / temperature)
        before, after = (np.maximum(each, 1 - each).ravel() for each in (sigmoid(logits), probabilities))
        right = (probabilities >= 0.5) == (truth > 0)
        said = [_said_of_temperature(temperature, before, after, right.ravel())]
        if precision is None:
            thresholds = f1_thresholds(probabilities, truth)
        else:
            found = [threshold_for(each, true > 0, precision) for each, true in zip(probabilities.T, truth.T, strict=True)]
            thresholds = [NEVER if each is None else each for each in found]
            never = sum(each is None for each in found)
            said.append(
                Words(
                    f"{precision:.0%} precision: of {len(found)} labels, {never} are not known to reach it on {len(truth):,} validation "
                    "records, and are never given.",
                    f"精确率 {precision:.0%}：{len(found)} 个标签中有 {never} 个在 {len(truth):,} 条验证记录上无法保证，不会给出。",
                )
            )
        return Calibration(temperature=temperature, thresholds=thresholds), said

    def columns(self, logits: np.ndarray, truth: np.ndarray, calibration: Calibration | None) -> dict[str, np.ndarray]:
        used = calibration or Calibration()
        scaled = logits / used.temperature
        probability = sigmoid(scaled)
        return {
            "truth": truth.astype(np.int8),
            "chosen": (probability >= _thresholds(used, scaled.shape[1])).astype(np.int8),
            "probability": probability,
            "log_probability": log_likelihoods(scaled, truth).mean(1),
        }

    def answers(self, logits: np.ndarray, labels: Sequence[str], calibration: Calibration) -> list[dict[str, Any]]:
        thresholds = _thresholds(calibration, len(labels))
        return [
            {
                "labels": [label for label, given in zip(labels, row >= thresholds, strict=True) if given],
                "probabilities": _named(labels, row),
                "thresholds": _named(labels, thresholds),
            }
            for row in self.probabilities(logits, calibration)
        ]

    def probabilities(self, logits: np.ndarray, calibration: Calibration) -> np.ndarray:
        return sigmoid(logits / calibration.temperature)

    def doubt(self, probabilities: np.ndarray, labels: Sequence[str]) -> tuple[str, float, Words]:
        place = int(np.abs(probabilities - 0.5).argmin())
        share = f"{labels[place]} {probabilities[place]:.2f}"
        given = ";".join(label for label, probability in zip(labels, probabilities, strict=True) if probability >= 0.5)
        return given, float(probabilities[place]), Words(f"unsure of {share}", f"不确定 {share}")


def _thresholds(calibration: Calibration, labels: int) -> np.ndarray:
    return np.full(labels, 0.5) if calibration.thresholds is None else np.array(calibration.thresholds)


def _named(labels: Sequence[str], values: np.ndarray) -> Mapping[str, float]:
    return dict(zip(labels, values.tolist(), strict=True))


def _said_of_temperature(temperature: float, before: np.ndarray, after: np.ndarray, right: np.ndarray) -> Words:
    errors = [calibration_error(confidence, right) for confidence in (before, after)]
    found = f"{errors[0]:.3f} → {errors[1]:.3f}"
    return Words(
        f"calibrated on {len(right):,} validation decisions: temperature {temperature:.2f}, calibration error {found}.",
        f"已用 {len(right):,} 个验证判断校准：温度 {temperature:.2f}，校准误差 {found}。",
    )


def label_index(label: str, labels: Sequence[str], records: str) -> int:
    """Where a record's label stands among those that are learnt.

    Args:
        records: what the label's training records are called.

    Raises:
        UserError: it is none of them.
    """
    try:
        return labels.index(label)
    except ValueError:
        guess = nearest(label, labels)
        known = f"did you mean {guess!r}" if guess else f"the labels are {', '.join(labels[:20])}"
        fix = f"{known}; add training {records} of it, or correct it"
        raise UserError(f"the label {label!r} stands in no training record", where="data", fix=fix) from None
