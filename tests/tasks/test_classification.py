"""What classification learns from its records, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer
from lodestar.tasks.classification import Classification, LabelledText


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([example.text for example in Classification.sample()], 320)


def fitted(*labels: str) -> Classification:
    task = Classification()
    task.fit(LabelledText(text="x", label=label) for label in labels)
    return task


def test_labels_are_learnt_in_an_order_that_the_data_do_not_decide() -> None:
    assert fitted("b", "a", "b", "c").labels == fitted("c", "b", "a").labels == ["a", "b", "c"]


def test_one_label_cannot_be_trained_on() -> None:
    with pytest.raises(UserError, match="one label alone, 'a'; give records of at least two labels"):
        fitted("a", "a")
    with pytest.raises(UserError, match="no records"):
        fitted()


def test_a_column_that_is_no_label_is_refused() -> None:
    with pytest.raises(UserError, match=r"2000 different labels; set data\.columns"):
        fitted(*map(str, range(2000)))


def test_a_label_that_was_never_trained_is_refused_with_the_nearest_one(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="'positiv' stands in no training record; did you mean 'positive'"):
        fitted("positive", "negative").encode(LabelledText(text="x", label="positiv"), tokenizer)


def test_the_baseline_of_a_rare_label_is_measured_over_all_labels() -> None:
    task = fitted("a", "b", "c")
    train = [LabelledText(text=text, label=label) for text, label in (("good fine", "a"), ("bad poor", "b"), ("so so", "c"))] * 3
    name, columns = task.baseline(train, [LabelledText(text="good", label="a"), LabelledText(text="poor", label="b")])
    assert name == "logistic regression on character n-grams"
    assert columns["predicted"].tolist() == [0, 1]
    assert (columns["log_probability"] < 0).all()


def test_a_list_is_answered_as_its_texts_are_alone_and_an_empty_text_is_a_text(tokenizer: Tokenizer) -> None:
    task = fitted("a", "b")
    torch.manual_seed(0)
    model = task.build(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **task.architecture()))
    texts = ["", "很好", "a much longer text than the others, to be padded for"]
    together = task.answer(model, tokenizer, {"input": texts})["results"]
    for text, result in zip(texts, together, strict=True):
        alone = task.answer(model, tokenizer, {"input": text})
        assert alone["label"] == result["label"]
        assert list(alone["probabilities"].values()) == pytest.approx(list(result["probabilities"].values()), abs=1e-6)
        assert sum(alone["probabilities"].values()) == pytest.approx(1)
        assert alone["label"] == max(alone["probabilities"], key=alone["probabilities"].__getitem__)


def test_a_text_longer_than_the_context_loses_its_end(tokenizer: Tokenizer) -> None:
    task = fitted("a", "b")
    model = task.build(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 16, **task.architecture()))
    examples = [LabelledText(text="a b c d e f g h i j k l m n " * repeats, label="a") for repeats in (5, 9)]
    columns = task.measure(model, tokenizer, examples)
    assert np.ptp(columns["log_probability"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("request_", "message"),
    [({}, "the field 'input' is missing"), ({"input": []}, "the list of inputs is empty"), ({"inputs": "x"}, "did you mean 'input'")],
)
def test_requests_that_ask_nothing_are_refused(tokenizer: Tokenizer, request_: dict[str, object], message: str) -> None:
    task = fitted("a", "b")
    model = task.build(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 16, **task.architecture()))
    with pytest.raises(UserError, match=message):
        task.answer(model, tokenizer, request_)
