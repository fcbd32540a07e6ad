"""What classification learns from its records, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer
from lodestar.prepare.readers import Raw
from lodestar.prepare.records import Validator
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


# Records in their several forms


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ({"label": "good"}, ["good"]),
        ({"label": 3}, ["3"]),
        ({"label": 3.0}, ["3"]),
        ({"label": True}, ["true"]),
        ({"label": ["a", "b"]}, ["a", "b"]),
        ({"labels": ["a", 2]}, ["a", "2"]),
        ({"labels": "a| b"}, ["a", "b"]),
        ({"labels": "a;b,a"}, ["a", "b"]),
        ({"labels": "甲、乙；丙"}, ["甲", "乙", "丙"]),
        ({"labels": '["one, two", "three"]'}, ["one, two", "three"]),
        ({"labels": ""}, []),
        ({"labels": []}, []),
    ],
)
def test_labels_are_read_in_the_forms_that_files_have(record: dict[str, object], names: list[str]) -> None:
    assert Validator(LabelledText, {}).example(Raw({"text": "x", **record}, "a.jsonl:1")).names == names


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"lable": "a"}, "a.jsonl:1: no column 'label' or 'labels'; the columns found are text, lable; set data.columns: {label: lable}"),
        ({"label": None}, "a record needs exactly one of label and labels"),
        ({"label": "a", "labels": ["b"]}, "a record needs exactly one of label and labels"),
        ({"labels": [["a"]]}, "valid string"),
        ({"label": 1.5}, "valid string"),
    ],
)
def test_records_without_a_usable_label_are_refused_with_their_line(record: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        Validator(LabelledText, {}).example(Raw({"text": "x", **record}, "a.jsonl:1"))


def test_several_labels_need_the_option_and_are_told_so(tokenizer: Tokenizer) -> None:
    records = [LabelledText(text="x", labels=["a", "b"]), LabelledText(text="y", labels=["a"])]
    with pytest.raises(UserError, match=r"a record has 2 labels: 'x'; set options: \{multi_label: true\}"):
        Classification().fit(records)
    with pytest.raises(UserError, match="have no labels"):
        Classification({"multi_label": True}).fit([LabelledText(text="x", labels=[])])
    task = Classification({"multi_label": True})
    task.fit([*records, LabelledText(text="z", label="c")])
    assert task.labels == ["a", "b", "c"]
    assert task.encode(records[0], tokenizer)["labels_0"] == 0b011


# Several labels, and n-grams, the whole way


@pytest.mark.parametrize("options", [{"multi_label": True}, {"multi_label": True, "precision": 0.6, "ngrams": True}, {"ngrams": True}])
def test_a_task_with_options_learns_calibrates_and_is_saved(options: dict[str, object], tmp_path: Path) -> None:
    kind = "tags" if "multi_label" in options else "topic"
    task, examples = Classification(options), list(Classification.sample(kind))
    task.fit(examples)
    tokenizer = train_tokenizer([example.text for example in examples], 400, single_characters=True)
    config = ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **{**task.architecture(), "dropout": 0.0})
    torch.manual_seed(0)
    model = task.build(config)
    task.begin(model, tokenizer, examples)
    learn(task, model, tokenizer, examples)
    task.calibrate(model, tokenizer, examples)
    columns = task.measure(model, tokenizer, examples)
    measured = {metric.name: metric.compute(columns) for metric in task.metrics}
    assert not any(np.isnan(value) for value in measured.values())
    assert measured[task.metrics[0].name] > 0.8, "its own sample, nearly by heart"
    _, baseline = task.baseline(examples, examples)
    assert (columns.keys() - baseline.keys()) <= {"answered"}
    findings = task.findings(columns, examples, [])
    assert findings.pictures.keys() == findings.titles.keys()

    save_bundle(tmp_path / "model", Bundle(model, config, tokenizer, task.describe()))
    loaded = load_bundle(
        tmp_path / "model", lambda description, config: Classification(description["options"], description["state"]).build(config)
    )
    again = Classification(loaded.task["options"], loaded.task["state"])
    assert again.calibration == task.calibration
    request = {"input": [example.text for example in examples[:9]]}
    answer = task.answer(model, tokenizer, request)
    assert again.answer(loaded.model, loaded.tokenizer, request) == answer
    for result in answer["results"]:
        if "labels" in result:
            reached = [label for label, share in result["probabilities"].items() if share >= result["thresholds"][label]]
            assert result["labels"] == reached
        else:
            assert sum(result["probabilities"].values()) == pytest.approx(1)


def learn(task: Classification, model: torch.nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledText], steps: int = 150) -> None:
    """A few passes over all examples in one batch."""
    encoded: list[Any] = [task.encode(example, tokenizer) for example in examples]
    rows = [each.pop("tokens") for each in map(dict, encoded)]
    longest = max(map(len, rows))
    batch = {
        "tokens": torch.tensor([[*row, *[tokenizer.pad] * (longest - len(row))] for row in rows]),
        "attention_mask": torch.arange(longest) < torch.tensor([[len(row)] for row in rows]),
    }
    batch |= {name: torch.tensor([each[name] for each in encoded]) for name in encoded[0] if name != "tokens"}
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(steps):
        loss, terms = task.loss(model.train(), batch)
        optimizer.zero_grad()
        (loss / terms).backward()
        optimizer.step()
    model.eval()


def test_a_label_is_left_out_where_the_stated_precision_cannot_be_known(tokenizer: Tokenizer) -> None:
    task = Classification({"precision": 0.95})
    examples = [LabelledText(text=f"text {number}", label="ab"[number % 2]) for number in range(20)]
    task.fit(examples)
    model = task.build(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **task.architecture())).eval()
    assert task.answer(model, tokenizer, {"input": "x"})["label"] in ("a", "b"), "before anything is fitted, every text is answered"
    task.calibrate(model, tokenizer, examples)
    answer = task.answer(model, tokenizer, {"input": "x"})
    assert (answer["label"], answer["abstained"]) == (None, True)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_what_to_label_next_names_each_text_once_with_a_reason_in_both_languages(tokenizer: Tokenizer) -> None:
    for task, sample in ((fitted("a", "b"), "sentiment"), (Classification({"multi_label": True}, {"labels": ["a", "b"]}), "tags")):
        model = task.build(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **task.architecture())).eval()
        texts = [example.text for example in Classification.sample(sample)]
        rows = task.next_labels(model, tokenizer, texts, 10)
        assert len({row["text"] for row in rows}) == 10
        assert {row["text"] for row in rows} <= set(texts)
        for row in rows:
            assert row["reason"].en != row["reason"].zh
            assert 0 <= row["confidence"] <= 1


STRANGE = [
    "",
    " ",
    "\u200b\u200d\ufeff",
    "שלום עולם",
    "مرحبا hello 你好 👩\u200d👩\u200d👧 <|endoftext|>",
    "字" * 100_000,
    "\x00\u202e",
    "𝕏" * 50,
]


@given(st.lists(st.one_of(st.sampled_from(STRANGE), st.text(max_size=60)), min_size=1, max_size=4))
@settings(max_examples=30)
def test_any_text_is_answered_and_what_was_not_read_is_said(tokenizer: Tokenizer, texts: list[str]) -> None:
    task = fitted("a", "b")
    model = task.build(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **task.architecture())).eval()
    for text, result in zip(texts, task.answer(model, tokenizer, {"input": texts})["results"], strict=True):
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        assert result.get("truncated", False) == (len(tokenizer.encode(text)) + 1 > 64)


@pytest.mark.parametrize("kind", ["sentiment", "topic", "intent", "tags"])
def test_samples_are_in_both_languages_and_none_of_their_texts_stands_twice(kind: str) -> None:
    texts = [example.text for example in Classification.sample(kind)]
    assert len(set(texts)) == len(texts) > 40
    chinese = sum(any("\u4e00" <= sign <= "\u9fff" for sign in text) for text in texts)
    assert 0.4 < chinese / len(texts) < 0.6
