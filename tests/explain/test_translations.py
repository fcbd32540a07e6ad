"""Translations explained: what is read is what training reads, and the probability is that of the pair."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from lodestar.contracts.errors import UserError
from lodestar.contracts.task import IGNORE
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.explain.explanation import explain
from lodestar.explain.steps import finish
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.translation import Pair, Translation

FORMS = ["encoder-decoder", "decoder", "two vocabularies"]


@pytest.fixture(scope="module", params=FORMS)
def ready(request: pytest.FixtureRequest) -> tuple[Translation, Tokenizer, Any]:
    two = request.param == "two vocabularies"
    task = Translation({"architecture": "decoder" if request.param == "decoder" else "encoder-decoder", "beams": 2})
    sample = task.sample()
    task.fit(sample)
    texts = [text for pair in sample for text in task.texts(pair)]
    tokenizer = train_tokenizer(texts, 320, task.special_tokens)
    if two:  # a smaller one is read, in which the other's numbers are other tokens, or none
        tokenizer = Tokenizer(tokenizer.backend, source=train_tokenizer(texts[:40], 300, task.special_tokens))
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 32, "depth": 2, "heads": 2, "context": 192, "initial_std": 0.3, **task.architecture()}
    shape["source_vocabulary_size"] = tokenizer.source_vocabulary_size
    return task, tokenizer, task.build(ModelConfig(tokenizer.vocabulary_size, **shape)).eval()


def test_the_probability_is_that_of_the_pair(ready: tuple[Translation, Tokenizer, Any]) -> None:
    task, tokenizer, model = ready
    pair = Pair(source="Who has the key?", target="谁有钥匙？", source_language="en", target_language="zh")
    asked = {"input": pair.source, "source": "en", "target": "zh"}
    found = finish(explain(model, tokenizer, task.reading(model, tokenizer, asked, pair.target), orders=3))
    row = {name: torch.tensor([list(ids)]) for name, ids in task.encode(pair, tokenizer).items()}  # type: ignore[arg-type] # sequences
    targets = row["targets"][0].tolist()
    end = max(place for place, one in enumerate(targets) if one == tokenizer.end_of_text)  # is learnt, and not asked about
    targets[end] = IGNORE
    with torch.no_grad():
        logits = model(row["tokens"], source_tokens=row.get("source"))[0]
    loss = F.cross_entropy(logits, torch.tensor(targets), ignore_index=IGNORE)
    assert found.probability == pytest.approx(float((-loss).exp()), rel=1e-4)
    assert found.answer == pair.target
    assert {"Who", "key"} <= {word.label for number, word in enumerate(found.words) if number in found.tried}
    if task.pair_form.kind == "own":
        assert found.aligned is not None
        assert "".join(word.text for word in found.output) == pair.target
        assert not any("zh" in found.words[number].text for number in found.tried)  # the tag of the language stays


def test_the_model_s_own_translation_is_what_it_answers(ready: tuple[Translation, Tokenizer, Any]) -> None:
    task, tokenizer, model = ready
    asked = {"input": "A dog.", "source": "en", "target": "zh"}
    assert task.reading(model, tokenizer, asked).answer == task.answer(model, tokenizer, asked)["text"]


@pytest.mark.parametrize(
    ("asked", "output", "sentence"),
    [
        ({"input": ["A dog.", "A cat."], "target": "zh"}, None, "several texts were sent, and one text is explained at a time"),
        ({"input": "A dog.", "target": "zh", "document": True}, None, "a document was sent"),
        ({"input": " ", "source": "en", "target": "zh"}, None, "the input has no text; send a sentence"),
        (
            {"input": "A dog. " * 120, "source": "en", "target": "zh"},
            None,
            "longer than what the model reads at once",
        ),
        ({"input": "A dog.", "source": "en", "target": "zh"}, "狗" * 200, "the output is longer than what the model writes"),
        ({"input": "A dog.", "source": "en", "target": "zh"}, " ", "the output to explain is empty"),
        ({"input": "A dog.", "source": "en", "target": "ja"}, None, "was not trained from en to ja"),
    ],
)
def test_what_cannot_be_explained_is_said(
    ready: tuple[Translation, Tokenizer, Any], asked: dict[str, Any], output: str | None, sentence: str
) -> None:
    task, tokenizer, model = ready
    with pytest.raises(UserError, match=sentence):
        task.reading(model, tokenizer, asked, output)
