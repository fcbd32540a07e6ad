"""Recommendation on MovieLens small: ours beside SASRec as published, a GRU, item neighbours and popularity, trained in the same run.

    python -m bench.quality.recommendation                          # 3 seeds, about ten minutes of one thread
    python -m bench.quality.recommendation --seeds 1 --passes 2 --epochs 4    # a minute: does it run?
    python -m bench.quality.recommendation --split time --recbole 60

Data: recommendation/movielens-small in $LODESTAR_DATA. Every rating is an interaction; each user's last one is held out and the one before
validates (with `--split time`: the first one after the moment that 10 % of all come after). A full ranking over all films, those that a
user has rated left out, ties last. Ours goes the product's way: prepare, train, measure, with a fixed number of passes; the others keep
the epoch that is best on validation. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.quality.recommendation_peers import GRU, PublishedSASRec, RecBole, train_peer
from bench.rounds import machine
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.item_neighbours import ItemNeighbours
from lodestar.evaluate.ranking import CATALOGUE_COVERAGE, HIT_RATE_AT_10, NDCG_AT_10, POPULARITY_AT_10, ranking_columns
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.tasks.recommendation import Recommendation
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "recommendation" / "movielens-small"
CONTEXT, ROWS = 100, 16
SHAPE: dict[str, Any] = {"depth": 2, "width": 64, "heads": 2}
Scores = Callable[[Sequence[np.ndarray]], np.ndarray]


class Films:
    """The data, prepared by the product, and what every method is asked."""

    def __init__(self, folder: Path, split: str, *, texts: bool) -> None:
        self.folder, self.task = folder, Recommendation({"split": split, "texts": texts})
        sources = [str(DATA / "ratings.csv.gz"), str(DATA / "movies.csv")]
        data = DataSettings(sources=sources, columns={"user": "userId", "item": "movieId", "time": "timestamp"}, validation=0.1, test=0.1)
        prepare(self.task, data, folder, folder / "data", context=CONTEXT)
        self.examples = {name: list(open_split(folder / "data", name).examples(self.task)) for name in ("train", "validation", "test")}
        places = self.task.catalogue.places
        self.items = len(places)
        self.histories = [np.array([places[item] for item in example.items]) for example in self.examples["train"]]
        self.counts = np.bincount(np.concatenate(self.histories), minlength=self.items)

    def columns(self, method: Scores, split: str) -> dict[str, np.ndarray]:
        """What a method is measured to do on a split."""
        histories, targets = self.task._asked(self.examples[split])
        return ranking_columns(lambda part: method(histories[part]).copy(), histories, targets, self.counts, exclude_seen=True)

    def judge(self, method: Scores) -> float:
        return NDCG_AT_10.compute(self.columns(method, "validation"))


def ours(films: Films, seed: int, passes: float, **settings: Any) -> tuple[nn.Module, float, float]:
    """The product's model, the CPU seconds of its training, and the interactions that it learnt from a second."""
    task, data = films.task, films.folder / "data"
    tokenizer = Tokenizer.load(data)
    decided = {**task.architecture(), "dropout": settings.pop("dropout", 0.3)}
    derived = derive(ModelSettings(size="tiny", context=CONTEXT, overrides=SHAPE), decided, tokenizer.vocabulary_size)
    split = open_split(data, "train")
    shape: dict[str, Any] = {"rows": ROWS, "context": CONTEXT, "pad": tokenizer.pad}
    plan = TrainSettings(**{
        "tokens": int(passes * split.token_count), "batch_tokens": ROWS * CONTEXT, "learning_rate": derived.learning_rate, "seed": seed,
        "evaluate_every": 10**6, **settings,
    })  # fmt: skip
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(derived.config)

    def save(trained: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(trained, derived.config, tokenizer, task.describe()))

    with tempfile.TemporaryDirectory() as out:
        begin = time.process_time()
        loader = make_loader(split, task.batching, seed=seed, **shape)
        watched = Sequential(open_split(data, "validation"), task.batching, limit=1, **shape)
        train(task, model, loader, lambda: watched, plan, Path(out) / "run", save=save)
        spent = time.process_time() - begin
        made = load_bundle(Path(out) / "run" / "model", lambda _, config: task.build(config)).model
    learnt = sum(len(history) - 1 for history in films.histories) * passes
    return made, spent, learnt / spent


def row(name: str, seeds: Sequence[dict[str, np.ndarray]], base: Sequence[dict[str, np.ndarray]] | None, note: str) -> None:
    """One line: the means over the seeds, their intervals over the users, and how much less than ours it is, paired."""
    cells = [name]
    for metric in (NDCG_AT_10, HIT_RATE_AT_10):
        found = [scores([metric], columns, resamples=1000, confidence=0.95, seed=0)[0] for columns in seeds]
        each = ", ".join(f"{score.value:.4f}" for score in found) if len(found) > 1 else ""
        low, high = np.mean([score.low for score in found]), np.mean([score.high for score in found])
        cells.append(f"{np.mean([score.value for score in found]):.4f} [{low:.4f}, {high:.4f}]" + (f" ({each})" if each else ""))
    if base is None:
        cells.append("")
    else:
        # A user's mean over the seeds is one observation: the seeds share the users.
        gains = [np.mean([_gain(columns) for columns in several], axis=0) for several in (base, seeds)]
        better = gains[0] - gains[1]
        draws = generator(0, "users").integers(0, len(better), (4000, len(better)))
        low, high = np.quantile(better[draws].mean(1), [0.025, 0.975])
        cells.append(f"{better.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
    cells += [f"{np.mean([metric.compute(columns) for columns in seeds]):.3f}" for metric in (CATALOGUE_COVERAGE, POPULARITY_AT_10)]
    print("| " + " | ".join([*cells, note]) + " |", flush=True)


def _gain(columns: dict[str, np.ndarray]) -> np.ndarray:
    rank = columns["rank"]
    return np.where(rank <= 10, 1 / np.log2(1 + rank), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--passes", type=float, default=20, help="of ours over the training interactions")
    parser.add_argument("--epochs", type=int, default=200, help="of SASRec as published; the GRU takes an eighth")
    parser.add_argument("--split", choices=("leave_one_out", "time"), default="leave_one_out")
    parser.add_argument("--without-texts", action="store_true", help="ours by the choices alone, too")
    parser.add_argument("--recbole", type=float, default=0, help="CPU seconds for RecBole's SASRec, one seed, where it is installed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine({"torch": torch.__version__}, seed=0), flush=True)
    with tempfile.TemporaryDirectory() as place:
        films = Films(Path(place) / "texts", options.split, texts=True)
        test = films.examples["test"]
        print(
            f"\n{len(films.histories)} users, {films.items:,} films ({films.task.catalogue.seen:,} of them chosen in training), "
            f"{films.counts.sum():,} interactions to learn from, {len(test)} users judged; {options.split}\n"
        )
        head = ["method", "NDCG@10", "HR@10", "ours less it, NDCG@10", "coverage", "popularity", "CPU s; interactions a second"]
        print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
        found: dict[str, list[dict[str, np.ndarray]]] = {}
        notes: dict[str, str] = {}

        def keep(name: str, columns: dict[str, np.ndarray], spent: float, speed: float) -> None:
            found.setdefault(name, []).append(columns)
            notes[name] = f"{spent:.0f}; {speed:,.0f}"

        for seed in range(options.seeds):
            model, spent, speed = ours(films, seed, options.passes)
            keep("ours", films.task.measure(model, Tokenizer.load(films.folder / "data"), test), spent, speed)
            for name, kind, epochs in (("SASRec as published", PublishedSASRec, options.epochs), ("GRU", GRU, max(1, options.epochs // 8))):
                torch.manual_seed(derive_seed(seed, name))
                peer = kind(films.items, CONTEXT)
                method, spent, speed = train_peer(peer, films.histories, films.judge, epochs=epochs, every=max(1, epochs // 10), seed=seed)
                keep(name, films.columns(method, "test"), spent, speed)
        if options.without_texts:
            plain = Films(Path(place) / "plain", options.split, texts=False)
            for seed in range(options.seeds):
                model, spent, speed = ours(plain, seed, options.passes)
                keep("ours, by the choices alone", plain.task.measure(model, Tokenizer.load(plain.folder / "data"), test), spent, speed)
        if options.recbole and find_spec("recbole"):
            bole = RecBole(Path(place) / "recbole", films.histories, films.items, CONTEXT, 0)
            speed = bole.train(options.recbole)
            keep("RecBole's SASRec", films.columns(bole.scores, "test"), options.recbole, speed)
        neighbours = ItemNeighbours(films.histories, films.items)
        keep("item neighbours", films.columns(neighbours.scores, "test"), 0, 0)
        popular = films.counts.astype(np.float32)
        keep("popularity", films.columns(lambda asked: np.tile(popular, (len(asked), 1)), "test"), 0, 0)
        for name, several in found.items():
            row(name, several, None if name == "ours" else found["ours"], notes[name] if not notes[name].startswith("0") else "")


if __name__ == "__main__":
    main()
