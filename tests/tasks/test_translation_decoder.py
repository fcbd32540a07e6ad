"""A language model that translates: source and target in one sequence, of which the target is learnt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lodestar import tasks
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.task import IGNORE, Task
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.prepare import make_loader, open_split, prepare
from lodestar.tasks.translation import Pair
from lodestar.train.loop import train

CONTEXT, BATCH_TOKENS, STEPS = 96, 960, 110


@dataclass
class Trained:
    """What learnt the pairs by heart."""

    task: Task
    model: nn.Module
    tokenizer: Tokenizer
    pairs: list[Pair]
    folder: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("decoder")
    task = tasks.find("translation")({"architecture": "decoder", "beams": 1})
    sample = list(task.sample())
    # Ten of the sample's pairs, in both directions.
    pairs = [one for one in sample if isinstance(one, Pair) and {one.source, one.target} & {pair.source for pair in sample[:10]}]  # type: ignore[attr-defined]
    (folder / "pairs.jsonl").write_text("".join(pair.model_dump_json() + "\n" for pair in pairs), "utf-8")
    data = DataSettings(sources=["pairs.jsonl"], validation=0, test=0, vocabulary=320)
    prepare(task, data, folder, folder / "data", context=CONTEXT)
    tokenizer, split = Tokenizer.load(folder / "data"), open_split(folder / "data", "train")
    size = ModelSettings(size="tiny", context=CONTEXT, overrides={"depth": 2, "width": 64, "heads": 2, "dropout": 0.0})
    config = derive(size, task.architecture(), tokenizer.vocabulary_size).config
    torch.manual_seed(0)
    model = task.build(config)
    recipe = TrainSettings(batch_tokens=BATCH_TOKENS, tokens=STEPS * BATCH_TOKENS, learning_rate=0.01, precision="fp32", weight_decay=0.0)

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, config, tokenizer, task.describe()))

    shape: dict[str, Any] = {"rows": BATCH_TOKENS // CONTEXT, "context": CONTEXT, "pad": tokenizer.pad}
    train(task, model, make_loader(split, task.batching, seed=0, **shape), list, recipe, folder / "train", save=save)
    return Trained(task, model.eval(), tokenizer, pairs, folder)


def test_it_learns_its_pairs_in_both_directions(trained: Trained) -> None:
    rows = [json.loads(line) for line in (trained.folder / "train" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] > 5
    assert rows[-1]["loss"] < 0.1
    assert len(trained.pairs) == 20
    table = trained.task.measure(trained.model, trained.tokenizer, trained.pairs)
    assert trained.task.metrics[1].compute(table) == pytest.approx(100)
    for pair in trained.pairs[::5]:
        answer = trained.task.answer(trained.model, trained.tokenizer, trained.task.request(pair))
        assert (answer["text"], answer["source"], answer["target"]) == (pair.target, pair.source_language, pair.target_language)


def test_only_the_target_and_its_end_are_learnt(trained: Trained) -> None:
    split = open_split(trained.folder / "data", "train")
    tokens, targets = split.tokens, split.sequences["targets"]
    for place, pair in enumerate(split.examples(trained.task)):
        row = slice(split.offsets[place], split.offsets[place + 1])
        learnt = [int(one) for one in targets[row] if one != IGNORE]
        assert trained.tokenizer.decode(learnt[:-1]) == f" {pair.target}"
        assert learnt[-1] == trained.tokenizer.end_of_text
        assert pair.source in trained.tokenizer.decode(tokens[row].tolist())


def test_what_is_saved_answers_alike_and_what_is_too_long_goes_sentence_by_sentence(trained: Trained) -> None:
    bundle = load_bundle(trained.folder / "train" / "model", lambda description, config: tasks.load(description).build(config))
    again = tasks.load(bundle.task)
    first, second = (pair for pair in trained.pairs[:2])
    asked = {"input": first.source, "source": first.source_language, "target": first.target_language}
    assert again.answer(bundle.model, bundle.tokenizer, asked) == trained.task.answer(trained.model, trained.tokenizer, asked)
    long = " ".join([first.source, second.source] * 4)
    answer = again.answer(bundle.model, bundle.tokenizer, asked | {"input": long})
    assert answer["text"].count(first.target) == answer["text"].count(second.target) == 4


@settings(max_examples=12)
@given(st.lists(st.text(st.sampled_from("aé字。．한 \n\t👩‍👧🏽\u200b\u202e\ufeffשלום؟,.!"), max_size=120), min_size=1, max_size=4))
def test_any_texts_are_answered_together(trained: Trained, texts: list[str]) -> None:
    """Of any lengths beside each other, up to those that are longer than the context."""
    asked = {"input": texts, "source": "en", "target": "zh"}
    results = trained.task.answer(trained.model, trained.tokenizer, asked)["results"]
    assert len(results) == len(texts)
    json.dumps(results, ensure_ascii=False).encode()
    for text, result in zip(texts, results, strict=True):
        assert text.strip() or result["text"] == text


def test_a_decoder_must_be_told_what_it_reads_where_it_reads_several(trained: Trained) -> None:
    with pytest.raises(UserError, match="the model writes several languages; send target: one of en, zh"):
        trained.task.answer(trained.model, trained.tokenizer, {"input": "a"})
