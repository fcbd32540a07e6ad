"""The nearest of several texts explained: its probability is the softmax of similarities that the encoder was trained with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lodestar.build.embed import TextEncoder, embed
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.explain.explanation import explain
from lodestar.explain.steps import finish
from lodestar.explain.subject import subject_of
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.retrieval import Retrieval

TEXTS = ["When does the pool close?", "The pool closes at nine.", "可以带狗。", "Dogs are welcome for eight euros a night."]


@pytest.fixture(scope="module", params=["rotary", "learned"])
def ready(request: pytest.FixtureRequest) -> tuple[Retrieval, Tokenizer, TextEncoder]:
    task = Retrieval({"temperature": 0.2})
    tokenizer = train_tokenizer([text for example in task.sample() for text in task.texts(example)], 320)
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 32, "depth": 2, "heads": 2, "context": 48, "initial_std": 0.4, "position": request.param}
    model = task.build(ModelConfig(tokenizer.vocabulary_size, **shape | dict(task.architecture()))).eval()
    assert isinstance(model, TextEncoder)
    return task, tokenizer, model


def softmax_of_similarities(model: TextEncoder, tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    vectors = embed(model, tokenizer, texts).astype(np.float64)
    weights = np.exp(vectors[1:] @ vectors[0] / 0.2)
    found: np.ndarray = weights / weights.sum()
    return found


def test_the_probability_is_the_softmax_of_similarities(ready: tuple[Retrieval, Tokenizer, TextEncoder]) -> None:
    task, tokenizer, model = ready
    wanted = softmax_of_similarities(model, tokenizer, TEXTS)
    own = finish(explain(model, tokenizer, task.reading(model, tokenizer, {"input": TEXTS}), orders=3))
    assert own.answer == TEXTS[1 + int(wanted.argmax())]
    assert own.probability == pytest.approx(wanted.max(), abs=1e-5)
    assert own.attribution.complete
    for text, share in zip(TEXTS[1:], wanted, strict=True):
        reading = task.reading(model, tokenizer, {"input": TEXTS}, text)
        found = finish(explain(model, tokenizer, reading, orders=3))
        assert found.probability == pytest.approx(share, abs=1e-5)
        shown = "".join(word.text for word in found.words if not word.special)
        assert shown == TEXTS[0] + text


def test_a_text_without_some_words_is_read_as_that_text(ready: tuple[Retrieval, Tokenizer, TextEncoder]) -> None:
    task, tokenizer, model = ready
    reading = task.reading(model, tokenizer, {"input": TEXTS}, TEXTS[1])
    subject = subject_of(model, reading, tokenizer.pad)
    shorter = [TEXTS[0], "The pool closes", *TEXTS[2:]]
    kept = len(tokenizer.encode(TEXTS[0])) + 1 + len(tokenizer.encode("The pool closes"))
    assert tokenizer.encode(TEXTS[1])[: len(tokenizer.encode("The pool closes"))] == tokenizer.encode("The pool closes")
    row = [*range(kept), len(reading.tokens) - 1]
    found = finish(subject.log_probabilities([row, list(range(len(reading.tokens)))]))
    assert np.exp(found[0]) == pytest.approx(softmax_of_similarities(model, tokenizer, shorter)[0], abs=1e-5)
    assert np.exp(found[1]) == pytest.approx(softmax_of_similarities(model, tokenizer, TEXTS)[0], abs=1e-5)


def test_neither_text_attends_to_the_other(ready: tuple[Retrieval, Tokenizer, TextEncoder]) -> None:
    task, tokenizer, model = ready
    reading = task.reading(model, tokenizer, {"input": TEXTS})
    border = reading.asked.start  # type: ignore[union-attr] # is Nearest
    subject = subject_of(model, reading, tokenizer.pad)
    for weights in subject.read().encoder:
        assert float(weights[..., :border, border:].abs().max()) == 0
        assert float(weights[..., border:, :border].abs().max()) == 0
    assert float(subject.readers().sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("texts", "output", "sentence"),
    [
        ("one", None, "no two to choose from; send as input a question and at least two other texts"),
        ([], None, "no two to choose from"),
        (["a", "b", "b"], None, "no two to choose from"),
        (["a", "b", "c"], "d", "the output is none of the texts"),
        (["a " * 60, "b", "c"], None, "and the model reads 48 at once"),
    ],
)
def test_what_cannot_be_explained_is_said(
    ready: tuple[Retrieval, Tokenizer, TextEncoder], texts: Any, output: str | None, sentence: str
) -> None:
    task, tokenizer, model = ready
    with pytest.raises(UserError, match=sentence):
        task.reading(model, tokenizer, {"input": texts}, output)
