"""Figures of answers about files: against hand-worked values, scikit-learn, and what each answer is alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from lodestar.evaluate.file_answers import METRICS, by_kind, columns, kind_findings

BY_NAME = {metric.name: metric for metric in METRICS}


def test_yes_and_no_are_judged_as_scikit_learn_does() -> None:
    truth = ["yes", "no", "没有", "有", "no", "不是", "red"]
    said = ["Yes.", "yes", "没有。", "没有", "perhaps", "是", "red"]
    found = columns(truth, said)
    asked = found["yes"] >= 0
    assert found["yes"].tolist() == [1, 0, 0, 1, 0, 0, -1]
    assert found["said_yes"].tolist() == [1, 1, 0, 0, 0, 1, -1]
    (_, false_positives), _ = confusion_matrix(found["yes"][asked], found["said_yes"][asked])
    assert BY_NAME["yes_no_accuracy"].compute(found) == pytest.approx(accuracy_score(found["yes"][asked], found["said_yes"][asked]))
    assert BY_NAME["false_yes"].compute(found) == pytest.approx(false_positives / 4)
    assert BY_NAME["yes_bias"].compute(found) == pytest.approx(abs(3 / 6 - 2 / 6))
    assert np.isnan(BY_NAME["false_yes"].compute(columns(["red"], ["yes"])))


def test_descriptions_alone_have_a_rouge_and_short_answers_an_exact_match() -> None:
    found = columns(["a red circle top left", "red", "左上有红色的圆形"], ["a red circle top right", "Red", "左上有蓝色的圆形"])
    assert found["exact"].tolist() == [0, 1, 0]
    assert found["rouge_l"].tolist() == pytest.approx([4 / 5, -1, 7 / 8])
    assert BY_NAME["rouge_l"].compute(found) == pytest.approx((4 / 5 + 7 / 8) / 2)
    assert BY_NAME["exact_match"].compute(found) == pytest.approx(1 / 3)


def test_kinds_are_told_apart_with_their_intervals_and_drawn_in_both_languages() -> None:
    kinds = ["count"] * 30 + ["<place>"] * 10 + [""]
    found = columns(["two"] * 41, ["two"] * 15 + ["three"] * 15 + ["two"] * 10 + ["x"])
    told = {each.kind: each for each in by_kind(found, kinds)}
    assert (told["count"].value, told["count"].questions) == (0.5, 30)
    assert told["count"].low < 0.4
    assert told["count"].high > 0.6
    assert (told["<place>"].value, told["<place>"].low) == pytest.approx((1.0, 0.025 ** (1 / 10)))
    shown = kind_findings(found, kinds)
    assert len(shown.sentences) == 2
    assert "50.0%" in shown.sentences[1].en
    assert "完全答对" in shown.sentences[1].zh
    drawn = shown.pictures["kinds"]
    assert drawn.en.count("<rect") == 3
    assert "&lt;place&gt;" in drawn.zh
    assert kind_findings(found, [""] * 41).pictures == {}
