"""Sentiment in English and Chinese, from scratch: our classifier beside a linear model on n-grams and fastText, trained in the same run.

    python -m bench.quality.classification                                  # three sets, three seeds
    python -m bench.quality.classification --data waimai --seeds 1 --minutes 2
    python -m bench.quality.classification --data rotten-tomatoes --folds 5 --seeds 1    # judged on each review in turn
    python -m bench.quality.classification --next                           # what to label next, beside random order; a minute

Data: classification in $LODESTAR_DATA, with the splits of its own. Everything is chosen on validation, fastText's n-grams and epochs, too
(library: `pip install fasttext-wheel`). Ours goes the product's way: prepare, begin, train, calibrate, measure. It is an encoder with
linear models on n-grams of its tokens as a part (`options: {ngrams: true}`); the table shows each part alone as well. `--minutes` is the
training of one seed. `all`: the mean probability of the seeds.

Shown are accuracies with bootstrap intervals, and the paired difference to each baseline on the same reviews with its interval and the
exact McNemar test's p (two-sided). `pooled` takes the reviews of several sets together.

`--folds N`: a test of a thousand reviews cannot tell two methods apart that differ by two in a hundred. The reviews to learn from and
those to judge are shuffled into N parts, and each part is judged by models of the others (Kim 2014 has ten such parts of the English set);
`pooled` is all of them. The validation split stays what it is, so that nothing was ever chosen on a review that judges.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest, wilcoxon
from torch import nn

from bench.rounds import machine
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.ngram_votes import VotingClassifier
from lodestar.build.sizes import derive
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.calibration import CALIBRATION_ERROR
from lodestar.evaluate.labelling import OneLabel
from lodestar.evaluate.metrics import ACCURACY, LOG_LOSS
from lodestar.evaluate.next_labels import next_labels
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.tasks.classification import Classification, LabelledText
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "classification"
SETS = {"rotten-tomatoes": "rotten-tomatoes-en", "waimai": "waimai-zh", "chnsenticorp": "chnsenticorp-hotel-zh"}
CONTEXT, ROWS, VOCABULARY = {"chnsenticorp": 384, "waimai": 128, "rotten-tomatoes": 128}, 32, 4000
SHAPE: Mapping[str, Any] = {"depth": 2, "width": 128, "heads": 2, "dropout": 0.3}
FASTTEXT = [(ngrams, epochs) for ngrams in (1, 2, 3) for epochs in (10, 25)]
Columns = Mapping[str, np.ndarray]
Judged = tuple[Columns, Columns, Columns]
"""The test columns of ours (all seeds), of the linear model and of fastText."""


def one_set(name: str, options: argparse.Namespace, fold: int | None = None) -> Judged:
    """Train and judge all methods on one set, or on one fold of it, print their lines, and return their test columns."""
    with tempfile.TemporaryDirectory() as place:
        folder, task = Path(place), Classification({"ngrams": True, "masking": options.masking})
        files = {"train": ["train.csv.gz"], "validation": ["val.csv.gz"], "test": ["test.csv.gz"]}
        data = DataSettings(sources=files["train"], splits=files, vocabulary=VOCABULARY)
        source = DATA / SETS[name] if fold is None else write_fold(name, fold, options.folds, folder / "fold")
        prepare(task, data, source, folder / "data", context=CONTEXT[name])
        examples = {split: list(open_split(folder / "data", split).examples(task)) for split in files}
        _, linear = task.baseline(examples["train"], examples["test"])
        _, checked = task.baseline(examples["train"], examples["validation"])
        fasttext, chosen = fasttext_columns(task, examples, characters=name != "rotten-tomatoes")
        counts = f"{len(examples['train'])} to learn, {len(examples['validation'])} to choose by, {len(examples['test'])} to judge"
        print(f"\n{name}{'' if fold is None else f', fold {fold}'}: {counts}\n")
        print("| method | seed | validation | test accuracy | less linear | p | less fastText | p | log loss | ECE |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        row("linear", "", ACCURACY.compute(checked), linear, linear, fasttext)
        row(chosen[0], "", chosen[1], fasttext, linear, fasttext)
        found: dict[str, list[Columns]] = {}
        for seed in range(options.seeds):
            for part, (validation, columns) in one_seed(task, folder, examples, name, seed, options).items():
                found.setdefault(part, []).append(columns)
                if part in ("ours", "encoder alone") or seed == 0:  # the n-grams are the same for every seed
                    row(part, "" if "n-grams" in part else str(seed), validation, columns, linear, fasttext)
        together = mean_of(found["ours"])
        if options.seeds > 1:
            row("ours", "all", None, together, linear, fasttext)
        return together, linear, fasttext


def write_fold(name: str, fold: int, folds: int, folder: Path) -> Path:
    """A folder with the set's files, in which one review in `folds` is judged, and the others are learnt from."""
    reviews = read_set(name, "train") + read_set(name, "test")
    order = generator(0, "folds", name).permutation(len(reviews))
    judged = set(order[fold::folds].tolist())
    splits = {
        "train": [each for place, each in enumerate(reviews) if place not in judged],
        "val": read_set(name, "val"),
        "test": [each for place, each in enumerate(reviews) if place in judged],
    }
    folder.mkdir()
    for split, rows in splits.items():
        with gzip.open(folder / f"{split}.csv.gz", "wt", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(["text", "label"])
            writer.writerows([each.text, each.label] for each in rows)
    return folder


def pooled(title: str, parts: Sequence[Judged]) -> None:
    """Print the comparisons on the reviews of several tests together."""
    ours, linear, fasttext = (
        {name: np.concatenate([part[place][name] for part in parts]) for name in ("label", "predicted")} for place in range(3)
    )
    accuracies = ", ".join(
        f"{name} {np.mean(each['label'] == each['predicted']):.4f}"
        for name, each in (("ours", ours), ("linear", linear), ("fastText", fasttext))
    )
    print(f"\npooled, {title}: {len(ours['label']):,} reviews; {accuracies}")
    print("  less linear", *compared(ours, linear), "; less fastText", *compared(ours, fasttext), flush=True)


def one_seed(
    task: Classification, folder: Path, examples: Mapping[str, Sequence[LabelledText]], name: str, seed: int, options: argparse.Namespace
) -> dict[str, tuple[float, Columns]]:
    """Validation accuracy and test columns of the whole model and of its parts."""
    tokenizer, split, context = Tokenizer.load(folder / "data"), open_split(folder / "data", "train"), CONTEXT[name]
    settings = ModelSettings(size="tiny", context=context, overrides=dict(SHAPE))
    config = derive(settings, {**task.architecture(), "dropout": SHAPE["dropout"]}, tokenizer.vocabulary_size).config
    steps = -(-split.records // ROWS)
    batch = int(ROWS * split.lengths.clip(max=context).mean())
    plan = TrainSettings(
        batch_tokens=batch, tokens=None if options.minutes else options.passes * steps * batch, minutes=options.minutes,
        learning_rate=0.003, ema=0.99, seed=seed, evaluate_every=10 * steps,
    )  # fmt: skip
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config)
    task.begin(model, tokenizer, examples["train"])
    shape: dict[str, Any] = {"rows": ROWS, "context": context, "pad": tokenizer.pad}
    validation = Sequential(open_split(folder / "data", "validation"), task.batching, **shape)
    fitted = Classification(task.options, task.state)
    measured: dict[str, tuple[float, Columns]] = {}

    def save(trained: nn.Module, place: Path) -> None:
        assert isinstance(trained, VotingClassifier)
        # The weights are the average's here alone.
        fitted.calibrate(trained, tokenizer, examples["validation"])
        mixes: dict[str, list[float]] = {
            "ours": trained.mix.tolist(), "encoder alone": [1, 0, 0], "n-grams by ratio alone": [0, 1, 0],
            "n-grams by frequency alone": [0, 0, 1],
        }  # fmt: skip
        for part, mix in mixes.items():
            trained.mix.copy_(torch.tensor(mix))
            checked, judged = (fitted.measure(trained, tokenizer, examples[each]) for each in ("validation", "test"))
            measured[part] = ACCURACY.compute(checked), judged
        trained.mix.copy_(torch.tensor(mixes["ours"]))
        save_bundle(place, Bundle(trained, config, tokenizer, fitted.describe()))

    train(task, model, make_loader(split, task.batching, seed=seed, **shape), lambda: validation, plan, folder / f"train-{seed}", save=save)
    return measured


def fasttext_columns(
    task: Classification, examples: Mapping[str, Sequence[LabelledText]], *, characters: bool
) -> tuple[Columns, tuple[str, float]]:
    """fastText's test columns at the n-grams and epochs that are best on validation; their name, and the validation accuracy."""
    import fasttext

    def line(text: str) -> str:
        return " ".join("".join(text.split())) if characters else " ".join(text.lower().split())

    order = generator(0, "fastText").permutation(len(examples["train"]))  # it learns in the order of the file
    best: tuple[float, str, Columns] | None = None
    for ngrams, epochs in FASTTEXT:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            for place in order:
                file.write(f"__label__{examples['train'][place].label} {line(examples['train'][place].text)}\n")
            file.flush()
            model = fasttext.train_supervised(
                file.name, dim=64, wordNgrams=ngrams, epoch=epochs, lr=0.5, bucket=500_000, thread=1, verbose=0, seed=0
            )
        columns = {}
        for split in ("validation", "test"):
            logits = np.full((len(examples[split]), len(task.labels)), -20.0)
            for row_, example in enumerate(examples[split]):
                # `predict` of the wrapper breaks with NumPy 2.
                for probability, label in model.f.predict(line(example.text) + "\n", len(task.labels), 0.0, "strict"):
                    logits[row_, task.labels.index(label.removeprefix("__label__"))] = np.log(max(probability, 1e-9))
            columns[split] = OneLabel(abstains=False).columns(logits, labels_of(task, examples[split]), None)
        accuracy = ACCURACY.compute(columns["validation"])
        if best is None or accuracy > best[0]:
            best = accuracy, f"fastText, {ngrams}-grams, {epochs} epochs", columns["test"]
    assert best is not None
    return best[2], (best[1], best[0])


def labels_of(task: Classification, examples: Sequence[LabelledText]) -> np.ndarray:
    """The index of each record's label."""
    return np.array([task.labels.index(example.names[0]) for example in examples])


def row(name: str, seed: str, validation: float | None, ours: Columns, linear: Columns, fasttext: Columns) -> None:
    """Print one line of the table."""
    (found,) = scores([ACCURACY], ours, resamples=2000, confidence=0.95, seed=0)
    cells = [name, seed, "" if validation is None else f"{validation:.4f}", f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"]
    for other in (linear, fasttext):
        cells += ["", ""] if other is ours else compared(ours, other)
    cells += [f"{LOG_LOSS.compute(ours):.3f}", f"{CALIBRATION_ERROR.compute(ours):.3f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def compared(ours: Columns, theirs: Columns) -> list[str]:
    """The paired difference with its interval, and McNemar's exact p."""
    paired = paired_difference(ACCURACY, theirs, ours, resamples=2000, confidence=0.95, seed=0)
    right, other = (each["label"] == each["predicted"] for each in (ours, theirs))
    gained, lost = int((right & ~other).sum()), int((~right & other).sum())
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return [f"{paired.value:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]", f"{p:.2g}"]


def mean_of(found: Sequence[Columns]) -> Columns:
    """The columns of the mean probability; there are two labels, so the right one is chosen where it has more than half."""
    label = found[0]["label"]
    mean = np.mean([np.exp(each["log_probability"]) for each in found], axis=0)
    return {
        "label": label, "predicted": np.where(mean > 0.5, label, 1 - label), "log_probability": np.log(mean),
        "confidence": np.maximum(mean, 1 - mean),
    }  # fmt: skip


def what_to_label_next(names: Sequence[str], seeds: int, start: int) -> None:
    """From `start` labelled reviews on, five times 100 more: those that the list names, or random ones; a linear learner in either case."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    print("\n| set | seed | labels | accuracy, random order | the list | difference of the mean over the curve |")
    print("|---|---|---|---|---|---|")
    differences = []
    for name in names:
        task = Classification()
        read = {split: read_set(name, split) for split in ("train", "test")}
        task.fit(read["train"])
        truth = {split: labels_of(task, each) for split, each in read.items()}
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True)
        tables = [
            vectorizer.fit_transform([each.text for each in read["train"]]),
            vectorizer.transform([each.text for each in read["test"]]),
        ]
        squeezed = TruncatedSVD(200, random_state=0).fit(tables[0])
        pool, judged = (squeezed.transform(table) for table in tables)
        for seed in range(seeds):
            curves: dict[str, list[float]] = {}
            for way in ("random", "list"):
                random = generator(seed, "start", name)
                labelled = random.choice(len(pool), start, replace=False)
                for _ in range(6):
                    model = LogisticRegression(C=10, max_iter=500).fit(pool[labelled], truth["train"][labelled])
                    curves.setdefault(way, []).append(float(model.score(judged, truth["test"])))
                    left = np.setdiff1d(np.arange(len(pool)), labelled)
                    if way == "random":
                        more = random.choice(left, 100, replace=False)
                    else:
                        more = left[[pick.index for pick in next_labels(model.predict_proba(pool[left]), pool[left], 100, seed=seed)]]
                    labelled = np.append(labelled, more)
            difference = float(np.mean(curves["list"][1:]) - np.mean(curves["random"][1:]))
            differences.append(difference)
            print(
                f"| {name} | {seed} | {start + 500} | {curves['random'][-1]:.4f} | {curves['list'][-1]:.4f} | {difference:+.4f} |",
                flush=True,
            )
    ahead = sum(each > 0 for each in differences)
    by, p = np.mean(differences), wilcoxon(differences).pvalue
    print(f"\nThe list is ahead in {ahead} of {len(differences)}, by {by:+.4f} on average (Wilcoxon signed-rank p = {p:.2g}).")


def read_set(name: str, split: str) -> list[LabelledText]:
    """The records of a split as the product reads them."""
    with gzip.open(DATA / SETS[name] / f"{split}.csv.gz", "rt", encoding="utf-8", newline="") as opened:
        return [LabelledText(text=each["text"], label=each["label"]) for each in csv.DictReader(opened)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="of training a seed; in place of --passes")
    parser.add_argument("--passes", type=int, default=6, help="over the training reviews")
    parser.add_argument("--folds", type=int, default=0, help="judge on each review in turn, in so many parts")
    parser.add_argument("--masking", type=float, default=0.15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--next", action="store_true", help="simulate the list of what to label next instead")
    parser.add_argument("--start", type=int, default=100, help="labelled reviews that the simulation begins with")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    versions = {name: version(name) for name in ("torch", "scikit-learn", "fasttext-wheel")}
    print(machine(versions, seed=0), f"seeds 0 to {options.seeds - 1}", sep="; ")
    if options.next:
        what_to_label_next(options.data, max(options.seeds, 5), options.start)
        return
    if options.folds:
        for name in options.data:
            pooled(f"the folds of {name}", [one_set(name, options, fold) for fold in range(options.folds)])
        return
    found = {name: one_set(name, options) for name in options.data}
    for together in ({"waimai", "chnsenticorp"}, set(SETS)):
        if together <= set(found):
            pooled(" and ".join(sorted(together)), [found[name] for name in sorted(together)])


if __name__ == "__main__":
    main()
