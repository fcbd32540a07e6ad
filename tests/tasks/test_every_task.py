"""What every task must do, on its own sample: one module for all of them, found as the command line finds them.

Each task goes the whole way here with the real parts: prepare, train, evaluate, save, load, serve.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lodestar import tasks
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.record import Scorecard
from lodestar.contracts.settings import DataSettings, EvaluateSettings, ModelSettings, TrainSettings
from lodestar.contracts.task import Example, Task
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.scorecard import evaluate
from lodestar.model.transformer import Transformer
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.store.files import read_json
from lodestar.train.loop import train

CONTEXT, BATCH_TOKENS, STEPS = 128, 2048, 120
BY_HEART: dict[str, dict[str, Any]] = {
    "image-classification": {"size": 24, "flip": False, "crop": 0, "label_smoothing": 0.0},
    "image-generation": {"size": 12, "patch": 4, "flip": False, "sampling": {"steps": 8}},
    "object-detection": {"width": 48, "height": 48, "patch": 8, "flip": "no", "zoom": 1.0, "colour": 0.0, "mosaic": 0.0},
}
"""The options of a task whose own would keep it from learning its sample by heart, as dropout would."""


@dataclass
class Trained:
    """A task that has learnt its sample by heart."""

    task: Task
    model: nn.Module
    tokenizer: Tokenizer
    examples: Sequence[Example]
    card: Scorecard
    folder: Path


@pytest.fixture(scope="module", params=tasks.names())
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp(request.param)
    task = tasks.find(request.param)(BY_HEART.get(request.param))
    # No split but train: the model is to learn all of it by heart.
    data = DataSettings(sources=["builtin:sample"], validation=0, test=0, vocabulary=400)
    prepare(task, data, folder, folder / "data", context=CONTEXT)
    split = open_split(folder / "data", "train")
    tokenizer = Tokenizer.load(folder / "data")
    decided = {**task.architecture(), "dropout": 0.0}
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides={"depth": 2, "width": 64, "heads": 2})
    config = derive(settings, decided, tokenizer.vocabulary_size).config
    torch.manual_seed(0)
    model = task.build(config)
    shape: dict[str, Any] = {"rows": BATCH_TOKENS // CONTEXT, "context": CONTEXT, "pad": tokenizer.pad}
    recipe = TrainSettings(
        batch_tokens=BATCH_TOKENS, tokens=STEPS * BATCH_TOKENS, learning_rate=0.01, precision="fp32", weight_decay=0.0, evaluate_every=STEPS
    )  # fmt: skip

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, config, tokenizer, task.describe()))

    validation = Sequential(split, task.batching, **shape)
    train(task, model, make_loader(split, task.batching, seed=0, **shape), lambda: validation, recipe, folder / "train", save=save)
    model.eval()
    examples = list(split.examples(task))
    card = evaluate(task, model, tokenizer, examples, examples, EvaluateSettings(resamples=200), folder / "evaluate")
    return Trained(task, model, tokenizer, examples, card, folder)


def test_learns_its_sample_by_heart_and_beats_its_baseline(trained: Trained) -> None:
    if trained.task.draws:
        pytest.skip("what it makes is not the record that it is asked with; its own tests show what it learns by heart")
    headline = trained.task.metrics[0]
    ours, baseline = trained.card.score(headline.name), {score.metric: score for score in trained.card.baseline}[headline.name]
    assert ours is not None
    if headline.better == "lower":
        assert ours.value < 0.5 * baseline.value or ours.value < 0.2
    else:
        # A linear model, too, can know a small sample by heart.
        assert ours.value >= baseline.value
        # BLEU and chrF go to 100.
        assert ours.value == 1.0 or ours.value == pytest.approx(100)


def test_learns_by_heart_whatever_the_headline_says(trained: Trained) -> None:
    rows = [json.loads(line) for line in (trained.folder / "train" / "metrics.jsonl").read_text().splitlines()]
    first, *_, last = [row["validation_loss"] for row in rows if "validation_loss" in row]
    # Each time that a record is drawn with other noise it has to be learnt anew: two hundred passes, where others take a few.
    assert last < (0.75 * first if trained.task.draws else 0.3)


def test_saved_and_loaded_gives_equal_output(trained: Trained) -> None:
    bundle = load_bundle(trained.folder / "train" / "model", lambda description, config: tasks.load(description).build(config))
    task = tasks.load(bundle.task)
    for example in trained.examples[:3]:
        request = task.request(example)
        assert task.answer(bundle.model, bundle.tokenizer, request) == trained.task.answer(trained.model, trained.tokenizer, request)
    few = trained.examples[:5]
    before, after = trained.task.measure(trained.model, trained.tokenizer, few), task.measure(bundle.model, bundle.tokenizer, few)
    for name in before:
        assert np.array_equal(before[name], after[name]), name


def test_padding_and_company_change_no_measurement(trained: Trained) -> None:
    """One at a time, and all at once in padded batches: the same, up to the rounding of a different order of sums."""
    together = trained.task.measure(trained.model, trained.tokenizer, trained.examples)
    for place in range(0, len(trained.examples), 7):
        alone = trained.task.measure(trained.model, trained.tokenizer, trained.examples[place : place + 1])
        for name in alone.keys() - set(trained.task.among_others):
            column = alone[name]
            np.testing.assert_allclose(column[0], together[name][place], rtol=1e-4, atol=1e-4, err_msg=name)


def test_loss_is_a_sum_over_rows_whatever_else_is_in_the_batch(trained: Trained) -> None:
    if trained.task.compares_rows:
        pytest.skip("learns by comparing the rows of a batch")
    split = open_split(trained.folder / "data", "train")
    shape: dict[str, Any] = {"context": CONTEXT, "pad": trained.tokenizer.pad}
    with torch.inference_mode():
        sums = []
        for rows in (1, 8):
            losses = [trained.task.loss(trained.model, batch) for batch in Sequential(split, trained.task.batching, rows=rows, **shape)]
            sums.append((sum(float(loss) for loss, _ in losses), sum(int(terms) for _, terms in losses)))
    assert sums[0][1] == sums[1][1]
    assert sums[0][0] == pytest.approx(sums[1][0], rel=1e-3, abs=1e-3)


def test_cached_decoding_equals_decoding_without_a_cache(trained: Trained) -> None:
    if trained.task.endpoint != "completions":
        pytest.skip("does not decode")
    model, tokenizer = trained.model, trained.tokenizer
    assert isinstance(model, Transformer)
    for example in trained.examples[::10]:
        request = trained.task.request(example)
        tokens, written = [tokenizer.end_of_text, *tokenizer.encode(request["prompt"])], list[int]()
        with torch.inference_mode():
            while len(written) < request["max_tokens"]:
                token = int(model(torch.tensor([tokens + written]))[0, -1].argmax())
                if token == tokenizer.end_of_text:
                    break
                written.append(token)
        assert trained.task.answer(model, tokenizer, request)["text"] == tokenizer.decode(written)


def test_scorecard_has_every_metric_with_an_interval(trained: Trained) -> None:
    card = Scorecard.parse(read_json(trained.folder / "evaluate" / "scorecard.json"), where="scorecard.json")
    assert card == trained.card
    assert {metric.name for metric in trained.task.metrics} <= {score.metric for score in card.scores}
    assert {"latency_ms_p50", "latency_ms_p95", "memory_bytes", "model_bytes"} <= {score.metric for score in card.scores}
    for score in [*card.scores, *card.baseline]:
        assert score.low <= score.value <= score.high
    assert (trained.folder / "evaluate" / "scorecard.png").read_bytes().startswith(b"\x89PNG")


def test_sample_is_in_english_and_chinese(trained: Trained) -> None:
    texts = [text for example in trained.task.sample() for text in trained.task.texts(example)]
    chinese = [text for text in texts if any("\u4e00" <= sign <= "\u9fff" for sign in text)]
    assert 0.2 < len(chinese) / len(texts) < 0.8


def test_command_line_lists_it(trained: Trained) -> None:
    from click.testing import CliRunner

    from lodestar.cli.tasks import command

    listed = CliRunner().invoke(command, [])
    assert trained.task.name in listed.output
    assert str(trained.task.words) in listed.output
