"""Pictures from scratch: our Transformer beside a support vector machine on oriented gradients, trained in the same run.

    python -m bench.quality.image_classification                       # CIFAR-10, three seeds of 40 minutes on two cores
    python -m bench.quality.image_classification --minutes 2 --seeds 1
    python -m bench.quality.image_classification --data digits         # scikit-learn's digits, three seeds of 1.5 minutes

Data: image-classification/cifar10 in $LODESTAR_DATA: 20,000 pictures to learn from, of which a twentieth is held out to calibrate on,
and its own 7,981 to judge on. Digits come with scikit-learn; a fifth of them, by a hash of the picture, is to judge on, the same for
all. Ours goes the product's way: prepare, train, calibrate, measure; `--minutes` is the training of one seed. The peer is the usual one:
scikit-image's HOG and scikit-learn's SVC with a radial kernel, its penalty chosen on the held-out part.

Shown are accuracies with bootstrap intervals, and the paired difference to the peer on the same pictures with its interval and the exact
McNemar test's p (two-sided); in the end the mean of the seeds with Student's interval.
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
from scipy.stats import binomtest, t
from torch import nn

from bench.rounds import machine
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.calibration import CALIBRATION_ERROR
from lodestar.evaluate.metrics import ACCURACY, LOG_LOSS, TOP_5
from lodestar.prepare import Sequential, make_loader, open_split, prepare, special_tokenizer
from lodestar.tasks.image_classification import ImageClassification, LabelledPicture
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "image-classification"
PENALTIES = (1.0, 10.0)
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """A data set, and how it is learnt."""

    data: DataSettings
    options: Mapping[str, Any]
    model: Mapping[str, Any]
    minutes: float
    rows: int = 64
    """Pictures in a step."""
    learning_rate: float = 0.01
    train: Mapping[str, Any] = field(default_factory=dict)


RECIPES = {
    "cifar10": Recipe(
        DataSettings(sources=["cifar10/train.tar"], splits={"test": ["cifar10/test.tar"]}, validation=0.05),
        {"size": 32, "patch": 4},
        # Some twenty passes in the time, where 6 layers make fifteen. measured: pictures a second of one core; assumed: which learns more
        {"depth": 4, "width": 192, "heads": 3},
        40,
        train={"ema": 0.999},
    ),
    "digits": Recipe(
        DataSettings(sources=["builtin:digits"], validation=0.1, test=0.2),
        {"size": 16, "patch": 2, "flip": False, "crop": 2},
        {"depth": 3, "width": 96, "heads": 3},
        1.5,
        train={"ema": 0.99},
    ),
}


def one_set(name: str, arguments: argparse.Namespace) -> None:
    """Prepare a set, train and judge both methods, and print a line for each."""
    recipe = RECIPES[name]
    minutes = arguments.minutes or recipe.minutes
    with tempfile.TemporaryDirectory() as place:
        folder, task = Path(place), ImageClassification(recipe.options)
        begin = seconds()
        prepare(task, recipe.data, DATA, folder / "data", context=task.shape.tokens)
        examples = {split: list(open_split(folder / "data", split).examples(task)) for split in ("train", "validation", "test")}
        counts = ", ".join(f"{len(each):,} {split}" for split, each in examples.items())
        print(f"\n{name}: {counts}; prepared in {seconds() - begin:.0f} s\n")
        print(
            "| method | seed | validation | accuracy | less the peer | p | top 5 | log loss | ECE | parameters | pictures seen | minutes |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|---|")
        checked, peer, spent = peer_columns(task, examples)
        row("HOG + SVM", "", checked, peer, peer, "", "", spent)
        found = []
        for seed in range(arguments.seeds):
            begin = seconds()
            checked, columns, facts = one_seed(task, folder, examples, recipe, minutes, seed)
            row("ours", str(seed), checked, columns, peer, f"{facts['parameters']:,}", f"{facts['pictures']:,}", seconds() - begin)
            found.append(ACCURACY.compute(columns))
        if len(found) > 1:
            wide = t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / len(found) ** 0.5
            print(f"\nours, mean of {len(found)} seeds: {np.mean(found):.4f} ± {wide:.4f}; HOG + SVM: {ACCURACY.compute(peer):.4f}")


def one_seed(
    task: ImageClassification, folder: Path, examples: Mapping[str, Sequence[LabelledPicture]], recipe: Recipe, minutes: float, seed: int
) -> tuple[float, Columns, dict[str, int]]:
    """Validation accuracy, test columns and what the training came to."""
    tokenizer = special_tokenizer()
    config = derive(ModelSettings(size="tiny", overrides=dict(recipe.model)), task.architecture(), tokenizer.vocabulary_size).config
    context = config.context
    plan = TrainSettings(
        batch_tokens=recipe.rows * context, micro_batch_tokens=recipe.rows * context, minutes=minutes, learning_rate=recipe.learning_rate,
        seed=seed, **recipe.train,
    )  # fmt: skip
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config)
    shape: dict[str, Any] = {"rows": recipe.rows, "context": context, "pad": tokenizer.pad}
    validation = Sequential(open_split(folder / "data", "validation"), task.batching, **shape)
    fitted = ImageClassification(task.options, task.state)
    measured: list[tuple[float, Columns]] = []

    def save(trained: nn.Module, place: Path) -> None:
        # The weights are the average's here alone.
        fitted.calibrate(trained, tokenizer, examples["validation"])
        checked, judged = (fitted.measure(trained, tokenizer, examples[each]) for each in ("validation", "test"))
        measured.append((ACCURACY.compute(checked), judged))
        save_bundle(place, Bundle(trained, config, tokenizer, fitted.describe()))

    loader = make_loader(open_split(folder / "data", "train"), task.batching, seed=seed, **shape)
    record = train(task, model, loader, lambda: validation, plan, folder / f"train-{seed}", save=save)
    facts = {"parameters": int(record.facts["parameters"]), "pictures": int(record.facts["tokens"]) // context}
    return *measured[0], facts


def peer_columns(task: ImageClassification, examples: Mapping[str, Sequence[LabelledPicture]]) -> tuple[float, Columns, float]:
    """The peer's validation accuracy and test columns, at the penalty that is best on validation; and the seconds that it took."""
    from skimage.feature import hog
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    begin, cell = seconds(), max(2, task.chosen.size // 8)
    features, truth = {}, {}
    for split, each in examples.items():
        features[split] = np.stack([
            hog(task._pixels(example).transpose(1, 2, 0), 9, (cell, cell), (2, 2), channel_axis=-1).astype(np.float32) for example in each
        ])  # fmt: skip
        truth[split] = task._truth(each)
    best: tuple[float, Any] | None = None
    for penalty in PENALTIES:
        model = make_pipeline(StandardScaler(), SVC(C=penalty, cache_size=1000)).fit(features["train"], truth["train"])
        accuracy = float(model.score(features["validation"], truth["validation"]))
        if best is None or accuracy > best[0]:
            best = accuracy, model
    assert best is not None
    margins = best[1].decision_function(features["test"])
    return best[0], task._columns(margins, examples["test"], None), seconds() - begin


def row(
    name: str, seed: str, validation: float, ours: Columns, peer: Columns, parameters: str, pictures: str, spent: float
) -> None:  # fmt: skip
    """Print one line of the table."""
    (found,) = scores([ACCURACY], ours, resamples=2000, confidence=0.95, seed=0)
    compared = ["", ""]
    if ours is not peer:
        paired = paired_difference(ACCURACY, peer, ours, resamples=2000, confidence=0.95, seed=0)
        right, other = (each["label"] == each["predicted"] for each in (ours, peer))
        gained, lost = int((right & ~other).sum()), int((~right & other).sum())
        p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        compared = [f"{paired.value:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]", f"{p:.2g}"]
    believed = ["", ""] if ours is peer else [f"{LOG_LOSS.compute(ours):.3f}", f"{CALIBRATION_ERROR.compute(ours):.3f}"]
    cells = [
        name, seed, f"{validation:.4f}", f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]", *compared, f"{TOP_5.compute(ours):.4f}",
        *believed, parameters, pictures, f"{spent / 60:.1f}",
    ]  # fmt: skip
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=["cifar10"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="of training a seed; the recipe's where absent")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    versions = {name: version(name) for name in ("torch", "scikit-learn", "scikit-image")}
    print(machine(versions, seed=0), f"{arguments.threads} threads", f"seeds 0 to {arguments.seeds - 1}", sep="; ")
    for name in arguments.data:
        one_set(name, arguments)


if __name__ == "__main__":
    main()
