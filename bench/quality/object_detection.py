"""Boxes from scratch: our detector on blood cells, beside windows that slide over oriented gradients.

    python -m bench.quality.object_detection                        # BCCD, three seeds of 45 minutes on two cores
    python -m bench.quality.object_detection --minutes 5 --seeds 1
    python -m bench.quality.object_detection --recipe gpu           # the larger picture and model, for a GPU

Data: object-detection/bccd in $LODESTAR_DATA, in Pascal VOC's form with its own lists: trainval, 292 pictures, to learn from, and test, 27,
to judge on. To choose a recipe, `--held-out` learns from train alone, 205, and judges on val, 87, too. Ours goes the product's way:
prepare, train, measure; `--minutes` is the training of one seed.

Shown are mAP@50 and mAP@50:95 as pycocotools computes them, with bootstrap intervals over pictures, the average precision of each label,
and of seeds the mean with Student's interval.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t
from torch import nn

from bench.rounds import machine
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.device import best_device
from lodestar.build.sizes import derive
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.detection import MAP_50, MAP_50_95, average_precisions
from lodestar.prepare import Sequential, make_loader, open_split, prepare, special_tokenizer
from lodestar.tasks.object_detection import BoxedPicture, ObjectDetection
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "object-detection"
LISTS = "bccd/ImageSets/Main"
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How the pictures are learnt."""

    options: Mapping[str, Any]
    model: Mapping[str, Any]
    learning_rate: float
    rows: int = 16
    """Pictures in a step."""
    train: Mapping[str, Any] = field(default_factory=dict)


# Cells have no right way up, and the pictures are all of 640 × 480 pixels.
CELLS = {"fit": "stretch", "patch": 16, "flip": "both"}
ADAMW = {"optimizer": "adamw", "betas": (0.9, 0.99)}
RECIPES = {
    # measured 2026-12: the optimiser, on 256 × 192 pixels (bench/RESULTS.d/object_detection.md); assumed: the larger picture, for platelets
    "cpu": Recipe({**CELLS, "width": 320, "height": 240}, {"depth": 4, "width": 128, "heads": 4}, 0.0015, train={**ADAMW, "ema": 0.998}),
    # assumed
    "gpu": Recipe({**CELLS, "width": 512, "height": 384}, {"depth": 6, "width": 256, "heads": 4}, 0.001, train={**ADAMW, "ema": 0.9995}),
}


def measured(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Prepare the set, train and judge both methods, and print a line for each."""
    splits = {"test": [f"{LISTS}/test.txt"], **({"validation": [f"{LISTS}/val.txt"]} if arguments.held_out else {})}
    data = DataSettings(sources=[f"{LISTS}/{'train' if arguments.held_out else 'trainval'}.txt"], splits=splits, validation=0)
    with tempfile.TemporaryDirectory() as place:
        folder, task, begin = Path(place), ObjectDetection(recipe.options), seconds()
        prepare(task, data, DATA, folder / "data", context=task.shape.tokens)
        known = ("train", "validation", "test") if arguments.held_out else ("train", "test")
        examples = {split: list(open_split(folder / "data", split).examples(task)) for split in known}
        counts = ", ".join(f"{len(each):,} {split}" for split, each in examples.items())
        print(f"\nbccd: {counts}; labels {', '.join(task.labels)}; prepared in {seconds() - begin:.0f} s\n")
        print("| method | seed | validation | mAP@50 | mAP@50:95 | AP@50 of each label | parameters | pictures seen | minutes |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        if not arguments.no_baseline:
            begin = seconds()
            name, simple = task.baseline(examples["train"], examples["test"])
            row(task, name, "", "", simple, "", "", seconds() - begin)
        found = []
        for seed in range(arguments.seeds):
            begin = seconds()
            checked, columns, facts = one_seed(task, folder, examples, recipe, arguments.minutes, seed)
            row(task, "ours", str(seed), checked, columns, f"{facts['parameters']:,}", f"{facts['pictures']:,}", seconds() - begin)
            found.append((MAP_50.compute(columns), MAP_50_95.compute(columns)))
        if len(found) > 1:
            mean, spread = np.mean(found, 0), np.std(found, 0, ddof=1) / len(found) ** 0.5
            wide = t.ppf(0.975, len(found) - 1) * spread
            print(f"\nours, mean of {len(found)} seeds: {mean[0]:.4f} ± {wide[0]:.4f} and {mean[1]:.4f} ± {wide[1]:.4f}")


def one_seed(
    task: ObjectDetection, folder: Path, examples: Mapping[str, Sequence[BoxedPicture]], recipe: Recipe, minutes: float, seed: int
) -> tuple[str, Columns, dict[str, int]]:
    """mAP@50 of validation, test columns and what the training came to."""
    tokenizer = special_tokenizer()
    config = derive(ModelSettings(size="tiny", overrides=dict(recipe.model)), task.architecture(), tokenizer.vocabulary_size).config
    context = config.context
    plan = TrainSettings(
        batch_tokens=recipe.rows * context, micro_batch_tokens=recipe.rows * context, minutes=minutes, learning_rate=recipe.learning_rate,
        seed=seed, **recipe.train,
    )  # fmt: skip
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config).to(best_device())
    shape: dict[str, Any] = {"rows": recipe.rows, "context": context, "pad": tokenizer.pad}
    held_out = "validation" in examples
    validation = Sequential(open_split(folder / "data", "validation"), task.batching, **shape) if held_out else ()
    measured: list[tuple[str, Columns]] = []

    def save(trained: nn.Module, place: Path) -> None:
        # The weights are the average's here alone.
        checked = f"{MAP_50.compute(task.measure(trained, tokenizer, examples['validation'])):.4f}" if held_out else ""
        measured.append((checked, task.measure(trained, tokenizer, examples["test"])))
        save_bundle(place, Bundle(trained, config, tokenizer, task.describe()))

    loader = make_loader(open_split(folder / "data", "train"), task.batching, seed=seed, **shape)
    record = train(task, model, loader, lambda: validation, plan, folder / f"train-{seed}", save=save)
    facts = {"parameters": int(record.facts["parameters"]), "pictures": int(record.facts["tokens"]) // context}
    return *measured[0], facts


def row(
    task: ObjectDetection, name: str, seed: str, validation: str, columns: Columns, parameters: str, pictures: str, spent: float
) -> None:  # fmt: skip
    """Print one line of the table."""
    found = scores([MAP_50, MAP_50_95], columns, resamples=2000, confidence=0.95, seed=0)
    figures = [f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]" for score in found]
    each = average_precisions(columns, slice(0, 1))[:, 0]
    labels = ", ".join(f"{label} {value:.3f}" for label, value in zip(task.labels, each, strict=True))
    print("| " + " | ".join([name, seed, validation, *figures, labels, parameters, pictures, f"{spent / 60:.1f}"]) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=45, help="of training a seed")
    parser.add_argument("--held-out", action="store_true", help="keep the validation pictures apart, and judge on them, too")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(machine({"torch": version("torch")}, seed=0), f"{arguments.threads} threads", f"seeds 0 to {arguments.seeds - 1}", sep="; ")
    measured(RECIPES[arguments.recipe], arguments)


if __name__ == "__main__":
    main()
