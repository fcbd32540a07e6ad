"""Calibration against closed forms, literals and what it promises on further records."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from lodestar.evaluate import multilabel
from lodestar.evaluate.calibration import (
    calibration_error,
    f1_thresholds,
    fit_temperature,
    log_softmax,
    reliability,
    sigmoid,
    threshold_for,
)
from lodestar.evaluate.labelling import NEVER, Calibration, OneLabel, SeveralLabels
from lodestar.evaluate.wrong_labels import label_findings


def test_calibration_error_by_hand() -> None:
    confidence, right = np.array([0.95, 0.95, 0.65, 0.65, 0.65]), np.array([1, 0, 1, 1, 0])
    # Bins of a tenth: |0.95 - 1/2| of two, |0.65 - 2/3| of three.
    assert calibration_error(confidence, right, 10) == pytest.approx((2 * 0.45 + 3 * abs(0.65 - 2 / 3)) / 5)
    # Two bins of equal mass: 0.65 three times, 0.95 twice.
    assert calibration_error(confidence, right, 2, equal_mass=True) == pytest.approx((3 * abs(0.65 - 2 / 3) + 2 * 0.45) / 5)


def test_bins_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.001, 1, 500)
    right = random.random(500) < confidence
    accuracies, means = calibration_curve(right, confidence, n_bins=15)
    found = [each for each in reliability(confidence, right) if each.count]
    np.testing.assert_allclose([each.accuracy for each in found], accuracies)
    np.testing.assert_allclose([each.confidence for each in found], means)


@given(st.permutations(list(range(30))))
def test_the_order_of_the_records_makes_no_difference(order: list[int]) -> None:
    random = np.random.default_rng(1)
    confidence, right = random.integers(1, 6, 30) / 5, random.random(30) < 0.5
    for equal_mass in (False, True):
        shuffled = calibration_error(confidence[order], right[order], 4, equal_mass=equal_mass)
        assert shuffled == pytest.approx(calibration_error(confidence, right, 4, equal_mass=equal_mass))


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_temperature_undoes_what_the_logits_were_multiplied_by(true: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 4))
    labels = np.array([random.choice(4, p=row) for row in np.exp(log_softmax(logits))])
    assert fit_temperature(logits * true, labels) == pytest.approx(true, rel=0.03)
    several = (random.random(logits.shape) < sigmoid(logits)).astype(int)
    assert fit_temperature(logits * true, several) == pytest.approx(true, rel=0.03)


def test_where_all_is_right_the_temperature_stays_within_what_so_few_records_can_say() -> None:
    logits = np.eye(2)[[0, 1] * 5] * 3
    confidence = np.exp(log_softmax(logits / fit_temperature(logits, np.array([0, 1] * 5)))).max()
    # One answer in n + 2 is any label: right 11/12 of the time, and half of the rest. The prior moves it by little.
    assert confidence == pytest.approx(11 / 12 + 1 / 24, abs=3e-3)


def test_where_nothing_is_known_few_records_flatten_little_and_many_altogether() -> None:
    draw = np.random.default_rng(0)
    for count, low, high in ((16, 1.5, 6.0), (4000, 15.0, 100.1)):
        logits = draw.normal(size=(count, 2)) * 4
        assert low < fit_temperature(logits, draw.integers(2, size=count)) < high


def test_a_stated_precision_is_kept_on_further_records_as_often_as_said() -> None:
    """The threshold is chosen on 300 records, 200 times over; it may fail on what follows in one time of ten."""
    failures = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        confidence = random.uniform(0.5, 1, 300)
        least = threshold_for(confidence, random.random(300) < confidence, 0.85)
        if least is not None:
            # What is above it is right as often as its mean confidence: uniform, so halfway to 1.
            failures += (least + 1) / 2 < 0.85
    assert failures <= 0.1 * 200


def test_a_precision_that_is_out_of_reach_is_not_promised() -> None:
    random = np.random.default_rng(0)
    assert threshold_for(random.uniform(0.5, 1, 500), random.random(500) < 0.5, 0.9) is None
    assert threshold_for(np.array([0.9, 0.9]), np.array([True, True]), 0.99) is None, "two right answers are no 99 %"


def test_answers_of_equal_confidence_are_taken_together() -> None:
    confidence = np.array([0.9] * 200 + [0.6] * 200)
    right = np.array([True] * 200 + [True] * 100 + [False] * 100)
    assert threshold_for(confidence, right, 0.9) == 0.9


@given(st.integers(0, 10_000))
def test_no_threshold_has_a_greater_f1(seed: int) -> None:
    random = np.random.default_rng(seed)
    probability, true = random.integers(0, 8, 25) / 8, random.random(25) < 0.4
    (chosen,) = f1_thresholds(probability[:, None], true[:, None])
    if true.sum() >= 2:
        best = max(sklearn_metrics.f1_score(true, probability >= cut, zero_division=0) for cut in np.unique(probability))
        assert sklearn_metrics.f1_score(true, probability >= chosen, zero_division=0) == pytest.approx(best)
    else:
        assert chosen == 0.5


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 6))
def test_metrics_of_several_labels_are_those_of_scikit_learn(seed: int, rows: int, labels: int) -> None:
    random = np.random.default_rng(seed)
    truth, chosen = (random.integers(0, 2, (rows, labels)) for _ in range(2))
    columns = {"truth": truth, "chosen": chosen}
    assert multilabel.micro_f1(columns) == pytest.approx(sklearn_metrics.f1_score(truth, chosen, average="micro", zero_division=0))
    assert multilabel.exact_match(columns) == pytest.approx((truth == chosen).all(1).mean())
    assert multilabel.hamming_loss(columns) == pytest.approx(sklearn_metrics.hamming_loss(truth, chosen))
    if ((truth + chosen).sum(0) > 0).all():
        assert multilabel.macro_f1(columns) == pytest.approx(sklearn_metrics.f1_score(truth, chosen, average="macro", zero_division=0))


def test_less_sure_than_it_has_to_be_is_no_answer() -> None:
    logits = np.log([[0.9, 0.1], [0.6, 0.4]])
    labelling = OneLabel(abstains=True)
    calibration = Calibration(least_confidence=0.8)
    sure, unsure = labelling.answers(logits, ["a", "b"], calibration)
    assert (sure["label"], sure["abstained"]) == ("a", False)
    assert (unsure["label"], unsure["abstained"]) == (None, True)
    columns = labelling.columns(logits, np.array([0, 1]), calibration)
    scores = {metric.name: metric.compute(columns) for metric in labelling.metrics}
    assert (scores["accuracy"], scores["coverage"], scores["answered_accuracy"]) == (0.5, 0.5, 1.0)


def test_a_label_that_cannot_keep_the_precision_is_never_given() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((400, 2)) < 0.5).astype(int)
    logits = np.stack([np.where(truth[:, 0], 3.0, -3.0), random.normal(0, 4, 400)], 1)
    calibration, said = SeveralLabels().fit(logits, truth, 0.9)
    assert calibration.thresholds is not None
    assert calibration.thresholds[0] <= 1
    assert calibration.thresholds[1] == NEVER
    assert "of 2 labels, 1 are not known to reach it" in said[-1].en
    assert not SeveralLabels().columns(logits, truth, calibration)["chosen"][:, 1].any()


@pytest.mark.parametrize("labels", [2, 12, 50, 70])
def test_pictures_are_well_formed_and_hold_the_numbers(labels: int) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, labels, 20 * labels)
    predicted = np.where(random.random(len(truth)) < 0.8, truth, random.integers(0, labels, len(truth)))
    columns = {"label": truth, "predicted": predicted, "confidence": random.uniform(0.3, 1, len(truth))}
    names = [f"<标签 {number}> & a rather long name" for number in range(labels)]
    found = label_findings(columns, ["text"] * len(truth), names)
    assert found.pictures.keys() == found.titles.keys() == {"confusion", "reliability"}
    for drawn in found.pictures.values():
        for picture in drawn:
            ElementTree.fromstring(picture)
    matrix = np.zeros((labels, labels), int)
    np.add.at(matrix, (truth, predicted), 1)
    np.fill_diagonal(matrix, 0)
    if matrix.any():
        assert found.sentences[0].en.startswith(f"{matrix.max()} of ")
    confidences = [each.confidence for each in found.mistakes if each.confidence is not None]
    assert confidences == sorted(confidences, reverse=True)
    assert all(each.expected != each.answered for each in found.mistakes)


def test_several_labels_have_pictures_and_mistakes_too() -> None:
    truth = np.array([[1, 0, 1], [0, 1, 0]])
    columns = SeveralLabels().columns(np.array([[3.0, -3.0, -1.0], [-3.0, 3.0, -3.0]]), truth, None)
    found = label_findings(columns, ["one", "two"], ["a", "b", "c"])
    assert [(each.text, each.expected, each.answered) for each in found.mistakes] == [("one", "a, c", "a")]
    assert math.isfinite(SeveralLabels.metrics[0].compute(columns))
    for drawn in found.pictures.values():
        ElementTree.fromstring(drawn.zh)
