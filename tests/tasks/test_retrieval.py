"""What retrieval takes and refuses, and its vectors as OpenAI's client reads them."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lodestar.build.base import begin_from, derive_from, find_base
from lodestar.build.embed import embed
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import ModelSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer
from lodestar.tasks.retrieval import QuestionAndPassage, Retrieval


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([text for example in Retrieval.sample() for text in (example.question, example.passage)], 320)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> nn.Module:
    torch.manual_seed(0)
    task = Retrieval()
    return task.build(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **task.architecture())).eval()


def test_a_record_is_one_row_of_marked_parts(tokenizer: Tokenizer) -> None:
    example = QuestionAndPassage(question="Where?", passage="Here.", negatives=["There.", ""])
    row = Retrieval().encode(example, tokenizer)
    parts = row["part"]
    assert isinstance(parts, list)
    assert sorted(set(parts)) == [1, 2, 3, 4]
    assert parts == sorted(parts)
    assert parts.count(4) == 1  # an empty text is its end alone


def test_records_of_one_passage_stay_in_one_split() -> None:
    one, other = (QuestionAndPassage(question=question, passage=" The pool is open. ") for question in ("Open?", "What is open?"))
    assert one.kinship() == other.kinship() == "The pool is open."


def test_ranks_are_among_all_passages_of_the_examples_each_counted_once(model: nn.Module, tokenizer: Tokenizer) -> None:
    examples = [
        QuestionAndPassage(question="pool", passage="the pool closes at nine", negatives=["the pool is warm", "the pool is warm"]),
        QuestionAndPassage(question="closes", passage="the pool closes at nine "),
    ]
    name, columns = Retrieval().baseline([], examples)
    assert name == "BM25"
    assert columns["rank"].tolist() == [2, 1]  # the shorter passage with the term comes first
    assert set(Retrieval().measure(model, tokenizer, examples)["rank"]) <= {1, 2}


def test_base64_holds_the_same_numbers(model: nn.Module, tokenizer: Tokenizer) -> None:
    task = Retrieval()
    plain = task.answer(model, tokenizer, {"input": ["泳池", "pool"]})
    coded = task.answer(model, tokenizer, {"input": ["泳池", "pool"], "encoding_format": "base64", "user": "x"})
    assert plain["usage"] == coded["usage"]
    assert plain["usage"]["prompt_tokens"] > 0
    for one, other in zip(plain["data"], coded["data"], strict=True):
        assert one["index"] == other["index"]
        numbers = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        np.testing.assert_array_equal(np.array(one["embedding"], np.float32), numbers)
        assert np.linalg.norm(numbers) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "the field 'input' is missing"),
        ({"input": []}, "the list of inputs is empty"),
        ({"inputs": "x"}, "did you mean 'input'"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "x", "dimensions": 8}, "unknown field 'dimensions'"),
    ],
)
def test_requests_that_ask_nothing_are_refused(model: nn.Module, tokenizer: Tokenizer, asked: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Retrieval().answer(model, tokenizer, asked)


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300), times=st.sampled_from([1, 40]))
def test_any_text_has_a_vector(model: nn.Module, tokenizer: Tokenizer, text: str, times: int) -> None:
    (found,) = Retrieval().answer(model, tokenizer, {"input": text * times})["data"]
    assert np.linalg.norm(found["embedding"]) == pytest.approx(1, abs=1e-4)


def test_a_text_of_100_000_characters_is_read_whole(model: nn.Module, tokenizer: Tokenizer) -> None:
    answer = Retrieval().answer(model, tokenizer, {"input": ["泳池晚上九点关门。 " * 10_000, "x"]})
    assert answer["usage"]["prompt_tokens"] > 50_000
    assert np.isfinite(answer["data"][0]["embedding"]).all()


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temprature": 1}, {"both": "maybe"}])
def test_options_that_are_none_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match="options"):
        Retrieval(options)


def test_an_open_encoder_gives_the_vectors_that_transformers_gives(tmp_path: Path) -> None:
    """The mean of BERT's states over a text with its marks, as sentence-transformers pools it; then it is trained from there."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "pool", "closes", "at", "nine", "dogs", "are", "welcome", "泳", "池"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    theirs = transformers.BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt"))
    torch.manual_seed(0)
    shape = transformers.BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64
    )
    bert = transformers.BertModel(shape).eval()
    bert.save_pretrained(tmp_path / "bert")
    theirs.save_pretrained(tmp_path / "bert")
    texts = ["the pool closes at nine", "泳池", "dogs"]
    padded = theirs(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden, mask = bert(**padded).last_hidden_state, padded["attention_mask"][..., None]
        expected = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).numpy()

    base, task = find_base(str(tmp_path / "bert"), tmp_path), Retrieval()
    config = derive_from(base, ModelSettings(base="bert"), task.architecture(), None).config
    model = begin_from(base, task, config, None)
    np.testing.assert_allclose(embed(model, base.tokenizer, texts), expected, atol=1e-5)
    row = task.encode(QuestionAndPassage(question=texts[2], passage=texts[0]), base.tokenizer)
    tokens, part = torch.tensor([row["tokens"]]), torch.tensor([row["part"]])
    assert tokens[part == 1].tolist() == theirs(texts[2])["input_ids"]
    loss, terms = task.loss(model, {"tokens": tokens.repeat(2, 1), "part": part.repeat(2, 1), "attention_mask": (part > 0).repeat(2, 1)})
    assert (loss.item(), terms.item()) == (0.0, 2)  # the same pair twice: nothing is wrong for it
