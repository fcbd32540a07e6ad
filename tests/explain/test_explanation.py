"""Explanations of a model whose reason is known, and of each kind of model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lodestar.build.heads import SequenceClassifier, TokenClassifier
from lodestar.build.quantize import quantize
from lodestar.contracts.errors import UserError
from lodestar.contracts.reading import Label, Reading, Span, Written
from lodestar.explain.explanation import METHODS, MOST_TOKENS, Explanation, explain, to_json
from lodestar.explain.faithfulness import judge
from lodestar.explain.steps import Steps, finish
from lodestar.explain.subject import subject_of
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer

SIZE: dict[str, Any] = {"width": 32, "depth": 2, "heads": 2, "context": 64}


@pytest.fixture(scope="module")
def stormy(weather: Any) -> Explanation:
    return finish(explain(weather.model, weather.tokenizer, weather.read(weather.text(1))))


def test_the_word_that_decides_is_found_and_believed(weather: Any, stormy: Explanation) -> None:
    assert stormy.answer == "storm"
    assert stormy.probability > 0.9
    place = [word.label for word in stormy.words].index(weather.deciding[1])
    assert int(stormy.importance["gradients"].argmax()) == place
    assert stormy.verdicts["gradients"].wins
    assert stormy.attribution.complete


def test_a_random_explanation_loses(weather: Any, stormy: Explanation) -> None:
    subject = subject_of(weather.model, weather.read(weather.text(1)), weather.tokenizer.pad)
    end = len(stormy.words) - 1

    def answering(rows: Sequence[Sequence[int]]) -> Steps[np.ndarray]:
        found = yield from subject.log_probabilities([[*sorted(row), end] for row in rows])
        return np.exp(found)

    draws = np.random.default_rng(0)
    won = [finish(judge(answering, draws.random(len(stormy.tried)), stormy.chance)).wins for _ in range(20)]
    assert sum(won) <= 3  # at a level of 1 in 20, one is expected
    worst = -np.abs(stormy.importance["gradients"][stormy.tried])
    assert not finish(judge(answering, worst, stormy.chance)).wins


def test_another_label_is_explained_where_it_is_asked_for(weather: Any) -> None:
    reading = weather.read(weather.text(1), "calm")
    found = finish(explain(weather.model, weather.tokenizer, reading, orders=3))
    assert found.answer == "calm"
    assert found.probability < 0.1
    place = [word.label for word in found.words].index(weather.deciding[1])
    assert int(found.importance["gradients"].argmin()) == place  # it speaks against the label


def test_equal_seeds_give_equal_explanations_and_json_holds_all(weather: Any, stormy: Explanation) -> None:
    told = to_json(stormy)
    again = finish(explain(weather.model, weather.tokenizer, weather.read(weather.text(1))))
    assert json.loads(json.dumps(told, allow_nan=False)) == to_json(again)
    assert set(told["faithfulness"]) == set(METHODS)
    assert len(told["attention"]) == len(told["rows"]) == len(told["words"])
    assert (told["layers"], told["heads"]) == (2, 2)


def test_layer_and_head_choose_the_map(weather: Any, stormy: Explanation) -> None:
    found = finish(explain(weather.model, weather.tokenizer, weather.read(weather.text(1)), layer=1, head=0, orders=3))
    torch.testing.assert_close(found.chosen, stormy.maps[1][0])
    torch.testing.assert_close(stormy.chosen, torch.stack(stormy.maps).mean((0, 1)))
    wrong: list[dict[str, Any]] = [{"layer": 2}, {"head": 7}, {"layer": -1}]
    for asked in wrong:
        with pytest.raises(UserError, match=f"there is no {next(iter(asked))}"):
            finish(explain(weather.model, weather.tokenizer, weather.read("word1"), **asked))


def test_works_in_inference_mode_and_leaves_the_model_as_it_was(weather: Any, stormy: Explanation) -> None:
    weather.model.train()
    with torch.inference_mode():
        found = finish(explain(weather.model, weather.tokenizer, weather.read(weather.text(1))))
    assert weather.model.training
    weather.model.eval()
    np.testing.assert_allclose(found.importance["gradients"], stormy.importance["gradients"])
    assert all(parameter.grad is None for parameter in weather.model.parameters())


@pytest.fixture(scope="module")
def kinds(weather: Any) -> dict[str, tuple[nn.Module, Reading, float]]:
    """A model of each kind, a reading, and the answer's mean log-probability, worked out by the model's own forward."""
    ids = [int(one) for one in weather.tokenizer.encode(weather.text(0, length=9))]
    end, size = weather.tokenizer.end_of_text, {**SIZE, "vocabulary_size": weather.tokenizer.vocabulary_size}
    torch.manual_seed(3)

    def wild(model: nn.Module) -> nn.Module:
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.25)
        return model.eval()

    models = {
        "label": wild(SequenceClassifier(ModelConfig(architecture="encoder", **size), 3)),
        "labels": wild(SequenceClassifier(ModelConfig(architecture="encoder", scaled_embeddings=True, **size), 3)),
        "span": wild(TokenClassifier(ModelConfig(architecture="encoder", token_types=2, position="learned", **size), 2)),
        "written": wild(Transformer(ModelConfig(architecture="decoder", **size))),
        "translated": wild(Transformer(ModelConfig(architecture="encoder-decoder", position="sinusoidal", **size))),
    }
    row = torch.tensor([[*ids, end]])
    with torch.no_grad():
        types = torch.tensor([[0] * 4 + [1] * 6])
        ends = models["span"](row, None, types)[0].log_softmax(0)
        written = models["written"](torch.tensor([[end, *ids]]))[0].log_softmax(-1)
        translated = models["translated"](torch.tensor([[end, 5, 6, 7]]), source_tokens=row)[0].log_softmax(-1)
        wanted = {
            "label": models["label"](row)[0].log_softmax(-1)[2],
            "labels": F.logsigmoid(models["labels"](row)[0, 1]),
            "span": (ends[5, 0] + ends[6, 1]) / 2,
            "written": (written[7, ids[7]] + written[8, ids[8]]) / 2,
            "translated": (translated[0, 5] + translated[1, 6] + translated[2, 7] + translated[3, end]) / 4,
        }
    readings = {
        "label": Reading([*ids, end], Label(2, ["a", "b", "c"]), "c"),
        "labels": Reading([*ids, end], Label(1, ["a", "b", "c"], exclusive=False), "b"),
        "span": Reading([*ids, end], Span(5, 7), "", token_types=types[0].tolist()),
        "written": Reading([end, *ids], Written(8), ""),
        "translated": Reading([end, 5, 6, 7, end], Written(1), "", source=[*ids, end]),
    }
    return {name: (model, readings[name], float(wanted[name])) for name, model in models.items()}


KINDS = ["label", "labels", "span", "written", "translated"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_explained_is_what_the_model_answers(kind: str, kinds: dict[str, Any], weather: Any) -> None:
    model, reading, wanted = kinds[kind]
    subject = subject_of(model, reading, weather.tokenizer.pad)
    everything, count = list(range(len(subject.tokens))), len(subject.tokens)
    found = finish(subject.log_probabilities([everything, [0, *everything[2:]], everything[:1] + everything[3:]]))
    assert found[0] == pytest.approx(wanted, abs=1e-4)
    # A row's company and its filling change nothing.
    assert finish(subject.log_probabilities([[0, *everything[2:]]]))[0] == pytest.approx(found[1], abs=1e-4)
    assert float(subject.readers().sum()) == pytest.approx(1)
    assert len(subject.readers()) in (count, len(reading.tokens) - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained(kind: str, kinds: dict[str, Any], weather: Any) -> None:
    model, reading, wanted = kinds[kind]
    found = finish(explain(model, weather.tokenizer, reading, orders=5))
    assert found.probability == pytest.approx(np.exp(wanted), abs=1e-4)
    assert found.attribution.complete
    for weights in (found.chosen, *found.maps[0]):
        torch.testing.assert_close(weights.sum(-1), torch.ones(len(found.rows), dtype=torch.float64), rtol=0, atol=1e-5)
    shares = 1 if kind != "translated" else float(found.flow.sum(-1).max())
    assert float(found.flow.sum(-1).max()) == pytest.approx(shares)
    still = [number for number in range(len(found.words)) if number not in found.tried]
    assert found.importance["gradients"][still] == pytest.approx(0)
    assert (found.aligned is not None) == (kind == "translated")
    if found.aligned is not None:
        assert found.aligned.shape == (len(found.output), len(found.words))
        assert [word.label for word in found.output[:3]] == [weather.tokenizer.backend.id_to_token(one) for one in (5, 6, 7)]


def test_what_cannot_be_explained_is_said_in_one_sentence(kinds: dict[str, Any], weather: Any) -> None:
    model, reading, _ = kinds["label"]
    with pytest.raises(UserError, match=rf"tokens, and at most {MOST_TOKENS} are explained at once"):
        finish(explain(model, weather.tokenizer, Reading([3] * (MOST_TOKENS + 1), Label(0, ["a"]), "a")))
    with pytest.raises(UserError, match="the answers of a SequenceClassifier cannot be explained"):
        finish(explain(model, weather.tokenizer, Reading(reading.tokens, Written(1), "")))
    coded = SequenceClassifier(ModelConfig(architecture="encoder", vocabulary_size=40, **SIZE), 2)
    quantize(coded, bits=8)
    with pytest.raises(UserError, match="have no gradients"):
        finish(explain(coded, weather.tokenizer, reading))
    with pytest.raises(UserError, match="unknown label 'strom'; did you mean 'storm'"):
        weather.read("word1", "strom")
    with pytest.raises(UserError, match="the context has 64 tokens, and the text takes 71"):
        weather.read(" ".join(["word1"] * 70))
