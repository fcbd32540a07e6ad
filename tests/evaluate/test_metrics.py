"""The formulas, against scikit-learn and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from lodestar.evaluate import metrics

labels = st.integers(1, 60).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 5), min_size=n, max_size=n) for _ in range(2)]))


@given(labels)
def test_classification_metrics_are_those_of_scikit_learn(drawn: tuple[list[int], list[int]]) -> None:
    label, predicted = map(np.array, drawn)
    columns = {"label": label, "predicted": predicted}
    macro = {"average": "macro", "zero_division": 0}
    assert metrics.accuracy(columns) == pytest.approx(sklearn_metrics.accuracy_score(label, predicted), abs=1e-12)
    assert metrics.precision(columns) == pytest.approx(sklearn_metrics.precision_score(label, predicted, **macro), abs=1e-12)
    assert metrics.recall(columns) == pytest.approx(sklearn_metrics.recall_score(label, predicted, **macro), abs=1e-12)
    assert metrics.f1(columns) == pytest.approx(sklearn_metrics.f1_score(label, predicted, **macro), abs=1e-12)


def test_log_loss_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    probabilities, label = random.dirichlet([1, 1, 1], 40), random.integers(0, 3, 40)
    ours = metrics.log_loss({"log_probability": np.log(probabilities[np.arange(40), label])})
    assert ours == pytest.approx(sklearn_metrics.log_loss(label, probabilities, labels=[0, 1, 2]), abs=1e-12)


def test_bits_per_byte_of_uniform_bytes_is_eight() -> None:
    sizes = np.array([3, 10, 0])
    assert metrics.bits_per_byte({"nats": sizes * math.log(256), "bytes": sizes}) == pytest.approx(8)


def test_perplexity_of_a_uniform_choice_is_the_number_of_choices() -> None:
    tokens = np.array([4, 1])
    assert metrics.perplexity({"nats": tokens * math.log(37), "tokens": tokens}) == pytest.approx(37)


def test_what_the_rows_cannot_give_is_nan() -> None:
    assert math.isnan(metrics.perplexity({"nats": np.ones(2), "bytes": np.ones(2)}))
    assert math.isnan(metrics.bits_per_byte({"nats": np.ones(2), "bytes": np.zeros(2)}))
    assert math.isnan(metrics.syntax_valid({"syntax_valid": np.array([-1, -1])}))


def test_syntax_valid_leaves_out_what_was_not_asked() -> None:
    assert metrics.syntax_valid({"syntax_valid": np.array([1, 0, -1, 1, 1])}) == 0.75
