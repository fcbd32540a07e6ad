"""Labels in another model's words: what it named, as words of their own, and nothing read into the rest."""

from __future__ import annotations

import numpy as np
import pytest

from lodestar.evaluate.stated import stated_logits
from lodestar.tasks.classification import Classification, LabelledText

LABELS = ["positive", "very positive", "negative", "中性"]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("positive", "positive"), ("Label: Negative.", "negative"), ("It is very positive!", "very positive"), ("这是中性。", "中性"),
        ("“中性”", "中性"), ("positive or negative", None), ("positively so", None), ("", None), ("unsure", None),
    ],
)  # fmt: skip
def test_the_label_that_was_named_is_the_answer_and_an_unclear_answer_is_wrong_whatever_is_right(answer, label):
    for truth in range(len(LABELS)):
        chosen = int(stated_logits([answer], LABELS, np.array([truth])).argmax())
        assert chosen == LABELS.index(label) if label is not None else chosen != truth


def test_of_several_labels_each_one_named_is_given():
    found = stated_logits(["negative, 中性", "none"], LABELS, np.zeros((2, 4), np.int8)) > 0
    assert found.tolist() == [[False, False, True, True], [False] * 4]


def test_a_task_measures_answers_in_words_as_its_own():
    task = Classification(state={"labels": ["bad", "good"]})
    examples = [LabelledText(text=text, label=label) for text, label in [("a", "good"), ("b", "bad"), ("c", "good"), ("d", "bad")]]
    assert "bad, good" in task.instruction(examples[0])
    assert task.instruction(examples[0]).endswith("\n\na")
    columns = task.answered(["good", "Bad.", "bad", "?"], examples)
    assert next(metric for metric in task.metrics if metric.name == "accuracy").compute(columns) == 0.5
