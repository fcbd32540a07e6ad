"""The cross-entropy of documents and completions, against the model asked one token at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lodestar.build.completion import CompletionRequest, complete, complete_all, prompt_tokens
from lodestar.build.language import document_columns, document_nats, document_tokens, next_token_loss
from lodestar.build.measuring import batches_by_length, evaluating
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare import train_tokenizer

TEXTS = ["", "a", "the lamp burns", "灯塔不问船从哪里来", "the pier " * 40]
CONTEXT = 16


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 280)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    torch.manual_seed(0)
    built = Transformer(ModelConfig(tokenizer.vocabulary_size, 32, 2, 2, CONTEXT, dropout=0.5, initial_std=0.3))
    return built.train()


def test_nats_are_those_of_each_token_predicted_alone_from_the_window_it_is_in(model: Transformer, tokenizer: Tokenizer) -> None:
    documents = [document_tokens(text, tokenizer) for text in TEXTS]
    found = document_nats(model, documents)
    assert model.training  # as it was before
    with evaluating(model):
        for document, nats in zip(documents, found, strict=True):
            expected, seen = 0.0, []
            for place in range(1, len(document)):
                # The first window holds CONTEXT predictions; each later one adds half a context of them behind as many that it rereads.
                ends = CONTEXT + math.ceil(max(0, place - CONTEXT) / (CONTEXT // 2)) * (CONTEXT // 2)
                start = max(0, min(ends, len(document) - 1) - CONTEXT)
                logits = model(torch.tensor([document[start:place]]))[0, -1]
                expected += float(F.cross_entropy(logits, torch.tensor(document[place])))
                seen.append(place - start)
            assert nats == pytest.approx(expected, rel=1e-5)
            assert min(seen[CONTEXT:], default=CONTEXT) > CONTEXT // 2


def test_columns_count_the_end_as_a_token_but_not_as_a_byte(model: Transformer, tokenizer: Tokenizer) -> None:
    columns = document_columns(model, tokenizer, TEXTS)
    assert columns["bytes"].tolist() == [len(text.encode()) for text in TEXTS]
    assert columns["tokens"].tolist() == [len(tokenizer.encode(text)) + 1 for text in TEXTS]


def test_a_uniform_model_has_the_entropy_of_its_vocabulary(model: Transformer, tokenizer: Tokenizer) -> None:
    uniform = Transformer(model.config)
    assert uniform.embedding is not None
    torch.nn.init.zeros_(uniform.embedding.weight)
    columns = document_columns(uniform, tokenizer, TEXTS)
    np.testing.assert_allclose(columns["nats"], columns["tokens"] * math.log(tokenizer.vocabulary_size), rtol=1e-5)


def test_loss_skips_what_is_not_to_be_learnt(model: Transformer) -> None:
    tokens, targets = torch.tensor([[2, 3, 4], [5, 6, 7]]), torch.tensor([[3, 4, -100], [6, -100, -100]])
    with evaluating(model):
        loss, terms = next_token_loss(model, {"tokens": tokens, "targets": targets})
        logits = model(tokens)
    assert int(terms) == 3
    expected = F.cross_entropy(logits[0, :2], targets[0, :2], reduction="sum") + F.cross_entropy(logits[1, :1], targets[1, :1])
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_many_completions_at_once_are_those_of_each_alone(model: Transformer, tokenizer: Tokenizer) -> None:
    model.eval()
    together = complete_all(model, tokenizer, TEXTS, CONTEXT // 2)
    short = [text for text in TEXTS if len(tokenizer.encode(text)) < CONTEXT // 2]
    assert len(short) < len(TEXTS)
    alone = {text: complete(model, tokenizer, CompletionRequest(prompt=text, max_tokens=CONTEXT // 2))["text"] for text in short}
    assert {text: completion for text, completion in zip(TEXTS, together, strict=True) if text in short} == alone
    assert complete_all(model, tokenizer, TEXTS[:1], 1000) == complete_all(model, tokenizer, TEXTS[:1], CONTEXT // 2)


def test_a_prompt_that_does_not_fit_is_refused_and_not_cut(model: Transformer, tokenizer: Tokenizer) -> None:
    assert prompt_tokens(model, tokenizer, CompletionRequest(prompt="a", max_tokens=6)) == [tokenizer.end_of_text, *tokenizer.encode("a")]
    with pytest.raises(UserError, match=rf"the context has {CONTEXT} tokens, and .* were asked for .*; shorten the prompt, or lower"):
        complete(model, tokenizer, CompletionRequest(prompt="lamp " * 100, max_tokens=4))
    with pytest.raises(UserError, match=r"17 were asked for \(1 in the prompt, 16 in the completion\)"):
        complete(model, tokenizer, CompletionRequest(max_tokens=16))


def test_a_completion_ends_before_the_first_stop_string_wherever_tokens_end(model: Transformer, tokenizer: Tokenizer) -> None:
    model.eval()
    whole = complete(model, tokenizer, CompletionRequest(prompt="the lamp", max_tokens=10, temperature=1, seed=1))
    assert whole["usage"]["completion_tokens"] == 10
    assert whole["finish_reason"] == "length"
    stop = whole["text"][3:5]
    cut = complete(model, tokenizer, CompletionRequest(prompt="the lamp", max_tokens=10, temperature=1, seed=1, stop=["\x00", stop]))
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert cut["finish_reason"] == "stop"
    assert cut["usage"]["completion_tokens"] < 10


def test_equal_seeds_draw_equally(model: Transformer, tokenizer: Tokenizer) -> None:
    model.eval()
    first, again, other = (
        complete(model, tokenizer, CompletionRequest(prompt="a", max_tokens=12, temperature=1.5, seed=seed))["text"] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_batches_hold_like_lengths_within_the_budget_and_every_row_once() -> None:
    lengths = [5, 100, 3, 7, 5, 1]
    batches = batches_by_length(lengths, 15)
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch[-1]] <= 15
        assert max(lengths[index] for index in batch) == lengths[batch[-1]]
    assert batches[-1] == [1]  # longer than the budget, and alone
