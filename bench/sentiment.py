"""Sentiment of Chinese hotel reviews (ChnSentiCorp), from scratch, beside a linear model on character n-grams in the same run.

    python -m bench.sentiment                      # the default recipe, three seeds
    python -m bench.sentiment --try plain long     # some of what was tried
    python -m bench.sentiment --seeds 1 --threads 1

Data: classification/chnsenticorp-hotel-zh in $LODESTAR_DATA, with the splits of its own: 5,429 reviews to train on, 560 to choose by, 854
to judge. Every try goes the product's way: prepare, train, evaluate. Shown is the test accuracy with its bootstrap interval, the linear
model's, and the paired difference of the two on the same reviews; below several seeds, that of their mean probabilities.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lodestar import tasks
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.settings import DataSettings, EvaluateSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.metrics import ACCURACY, log_loss
from lodestar.evaluate.scorecard import evaluate, read_measurements
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.train.loop import train

CLASSIFICATION = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[2] / "shared" / "data")) / "classification"
DATA, MORE = CLASSIFICATION / "chnsenticorp-hotel-zh", CLASSIFICATION / "waimai-zh"
ROWS, CONTEXT = 32, 256
SHAPE: Mapping[str, Any] = {"depth": 2, "width": 128, "heads": 2}


@dataclass(frozen=True)
class Try:
    """One recipe; what it leaves out is the default."""

    words: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: int = 4000
    passes: int = 6
    more: bool = False
    """Whether both methods also learn from the 8,455 food delivery reviews of waimai-zh."""


TRIES: Mapping[str, Try] = {
    "default": Try("15 % of the tokens hidden, and learnt beside the label"),
    "plain": Try("the label alone", options={"masking": 0.0}),
    "long": Try("30 % hidden, 16 passes, dropout 0.2", options={"masking": 0.3}, model={"dropout": 0.2}, passes=16),
    "slow": Try(
        "learning rate 0.002, dropout 0.3, a moving average of the weights",
        model={"dropout": 0.3},
        train={"learning_rate": 0.002, "ema": 0.995},
        passes=8,
    ),
    "characters": Try("a vocabulary that is hardly more than characters", vocabulary=2800),
    "more": Try("labelled reviews of another kind besides", more=True, passes=4),
    "both": Try(
        "`more`, `slow` and `characters` together",
        model={"dropout": 0.3},
        train={"learning_rate": 0.002, "ema": 0.995},
        vocabulary=3200,
        passes=8,
        more=True,
    ),
    "shallow": Try("one layer, width 256", model={"depth": 1, "width": 256, "heads": 4}),
    "deep": Try("four layers, width 256: the size `tiny`", model={"depth": 4, "width": 256, "heads": 4}),
}


@dataclass(frozen=True)
class Result:
    """Validation accuracy, and the test columns of both methods."""

    validation: float
    ours: Mapping[str, np.ndarray]
    theirs: Mapping[str, np.ndarray]


def run(recipe: Try, seed: int, folder: Path) -> Result:
    """Prepare, train and evaluate once."""
    task = tasks.find("classification")(recipe.options)
    sources = [str(place / "train.csv.gz") for place in ([DATA, MORE] if recipe.more else [DATA])]
    splits: dict[Any, list[str]] = {"train": sources, "validation": [str(DATA / "val.csv.gz")], "test": [str(DATA / "test.csv.gz")]}
    prepared = folder / "data"
    prepare(task, DataSettings(sources=sources, splits=splits, vocabulary=recipe.vocabulary), folder, prepared, context=CONTEXT)
    tokenizer, split = Tokenizer.load(prepared), open_split(prepared, "train")
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides={**SHAPE, **recipe.model})
    config = derive(settings, task.architecture(), tokenizer.vocabulary_size).config
    steps_a_pass = -(-split.records // ROWS)
    batch_tokens = int(ROWS * split.lengths.clip(max=CONTEXT).mean())
    given: dict[str, Any] = {"learning_rate": 0.006, "seed": seed, "evaluate_every": steps_a_pass, **recipe.train}
    plan = TrainSettings(batch_tokens=batch_tokens, tokens=recipe.passes * steps_a_pass * batch_tokens, **given)
    torch.manual_seed(derive_seed(seed, "model"))

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, config, tokenizer, task.describe()))

    shape: dict[str, Any] = {"rows": ROWS, "context": CONTEXT, "pad": tokenizer.pad}
    validation = Sequential(open_split(prepared, "validation"), task.batching, **shape)
    loader, out = make_loader(split, task.batching, seed=seed, **shape), folder / f"train-{seed}"
    train(task, task.build(config), loader, lambda: validation, plan, out, save=save)
    trained = load_bundle(out / "model", lambda _, config: task.build(config)).model
    checked = ACCURACY.compute(task.measure(trained, tokenizer, open_split(prepared, "validation").examples(task)))
    judged, learnt_from = open_split(prepared, "test").examples(task), split.examples(task)
    evaluate(task, trained, tokenizer, judged, learnt_from, EvaluateSettings(seed=seed), folder / f"evaluate-{seed}")
    _, tables = read_measurements(folder / f"evaluate-{seed}")
    return Result(checked, tables["model"], tables["baseline"])


def row(name: str, seed: str, validation: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> str:
    """One line of the table."""
    cells = [name, seed, validation]
    for columns in (ours, theirs):
        (found,) = scores([ACCURACY], columns, resamples=2000, confidence=0.95, seed=0)
        cells.append(f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]")
    losses = [f"{log_loss(columns):.3f}" for columns in (ours, theirs)]
    paired = paired_difference(ACCURACY, theirs, ours, resamples=2000, confidence=0.95, seed=0)
    cells.append(f"{paired.value:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]")
    return "| " + " | ".join([*cells, *losses]) + " |"


def together(found: list[Result]) -> dict[str, np.ndarray]:
    """The columns of the seeds' mean probability; there are two labels, so the right one is chosen where it has more than half."""
    label = found[0].ours["label"]
    mean = np.mean([np.exp(each.ours["log_probability"]) for each in found], axis=0)
    return {"label": label, "predicted": np.where(mean > 0.5, label, 1 - label), "log_probability": np.log(mean)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--try", nargs="+", dest="tries", choices=TRIES, default=["default"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if not DATA.is_dir():
        sys.exit(f"no data at {DATA}; set LODESTAR_DATA to the folder that holds it")
    print("| try | seed | validation | test, ours | test, linear | paired difference | log loss, ours | linear |")
    print("|---|---|---|---|---|---|---|---|")
    for name in chosen.tries:
        begin, found = seconds(), list[Result]()
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(chosen.seeds):
                last = run(TRIES[name], seed, Path(folder))
                found.append(last)
                print(row(name, str(seed), f"{last.validation:.4f}", last.ours, last.theirs), flush=True)
        if len(found) > 1:
            print(row(name, "all", "", together(found), found[0].theirs), flush=True)
        print(f"{name}: {(seconds() - begin) / len(found):.0f} s a seed", file=sys.stderr)


if __name__ == "__main__":
    main()
