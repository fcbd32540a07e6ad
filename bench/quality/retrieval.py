"""Retrieval: BM25, an encoder of our own, and both together; then answers from a folder of documents and what they cite.

    python -m bench.quality.retrieval                          # 3 seeds of 600 steps each
    python -m bench.quality.retrieval --seeds 1 --steps 100    # 4 minutes on two busy cores
    python -m bench.quality.retrieval --documents              # no training: citations and refusals of the index alone, a minute

Data: question-answering in $LODESTAR_DATA: CMRC 2018 (Chinese) and XQuAD (English, Chinese, German). The pool is all passages of all sets,
cut as `lodestar index` cuts documents; a question's passage is the one that its answer stands in. Paragraphs are split by a hash, XQuAD's
by their place, so that a paragraph and its translations share a split: 55 % of the questions teach, 10 % choose the weight of the vectors,
35 % judge.

The encoder reads the passages of the whole pool, but no question of another split: what is known of a folder of documents before anyone
has asked. From each passage a sentence is taken as a question to the others (inverse cloze: Lee et al. 2019,
https://arxiv.org/abs/1906.00300); each question of the training split has beside it a passage that BM25 takes for the right one. All of it
goes the product's way: prepare, train, embed. The weight of the vectors is the product's, which was set before anything was judged; beside
it stands the one that validation chooses, by the recall@5 of 576 questions.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.rounds import machine
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.embed import embed
from lodestar.build.sentences import sentences
from lodestar.build.sizes import derive
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.deploy.documents.indexing import index_folder
from lodestar.deploy.documents.library import SURE, VECTORS_WEIGH, Library
from lodestar.deploy.documents.passages import cut
from lodestar.deploy.documents.reading import Block
from lodestar.evaluate.bm25 import BM25
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.retrieval import MRR, RECALL_AT_1, RECALL_AT_5, ranks
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.tasks.retrieval import Retrieval
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "question-answering"
SETS = {"cmrc": ("cmrc2018/dev", "cmrc2018/trial"), "xquad-en": ("xquad/en",), "xquad-zh": ("xquad/zh",), "xquad-de": ("xquad/de",)}
TEST, VALIDATION = 0.35, 0.45
"""Below the first, a paragraph judges; below the second, it chooses the weight; above, it teaches."""
CONTEXT, ROWS, VOCABULARY = 320, 64, 12_000
SHAPE: Mapping[str, Any] = {"depth": 1, "width": 256, "heads": 4, "head_width": 32, "feed_forward_width": 256}
HARD, CLOZES = 1, 2
"""Wrong passages beside each question, from BM25's first ten; sentences of each passage that are taken as questions."""
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
UNREACHED = 60
"""Of reciprocal rank fusion (Cormack et al. 2009)."""


@dataclass(frozen=True)
class Asked:
    """A question, the answers that people gave, and the passage that holds the first one."""

    text: str
    answers: Sequence[str]
    passage: int
    set: str
    split: str
    document: int


@dataclass
class Pool:
    """All passages, all questions to them, and the paragraphs that both are from."""

    passages: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    questions: list[Asked] = field(default_factory=list)

    def rows(self, split: str) -> np.ndarray:
        """Which questions are of a split."""
        return np.array([asked.split == split for asked in self.questions])


def read_pool() -> Pool:
    """The passages and questions of all sets."""
    pool, places = Pool(), dict[str, int]()
    for name, files in SETS.items():
        for file in files:
            for number, paragraph in enumerate(_paragraphs(DATA / f"{file}.json.gz")):
                shared = "xquad" if name.startswith("xquad") else file
                share = int.from_bytes(hashlib.blake2b(f"{shared} {number}".encode(), digest_size=8).digest(), "big") / 2**64
                split = "test" if share < TEST else "validation" if share < VALIDATION else "train"
                text = paragraph["context"]
                passages = [passage.text for passage in cut("x", [Block(text, 1)])]
                numbers = []
                for passage in passages:
                    numbers.append(places.setdefault(passage, len(pool.passages)))
                    if numbers[-1] == len(pool.passages):
                        pool.passages.append(passage)
                for question in paragraph["qas"]:
                    first = question["answers"][0]
                    place = _place(text, first["text"], first["answer_start"])
                    holds = None if place is None else numbers[_passage_at(passages, text, place)]
                    if holds is not None and question["question"].strip() and _plain(first["text"]) in _plain(pool.passages[holds]):
                        answers = [answer["text"] for answer in question["answers"]]
                        pool.questions.append(Asked(question["question"], answers, holds, name, split, len(pool.documents)))
                pool.documents.append(text)
    return pool


def _paragraphs(file: Path) -> Iterator[Mapping[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        for article in json.load(opened)["data"]:
            yield from article["paragraphs"]


def _place(text: str, answer: str, start: int) -> int | None:
    """Where an answer begins; some of CMRC's starts are off."""
    found = start if text.startswith(answer, start) else text.find(answer)
    return found if found >= 0 else None


def _plain(text: str) -> str:
    return "".join(text.split())


def _passage_at(passages: Sequence[str], text: str, place: int) -> int:
    """The passage that a character of the text stands in: together they are the text, but for blanks."""
    before, seen = len(_plain(text[:place])), 0
    for number, passage in enumerate(passages):
        seen += len(_plain(passage))
        if before < seen:
            return number
    return len(passages) - 1


def records(pool: Pool, lexical_QN: np.ndarray, seed: int) -> dict[str, list[dict[str, Any]]]:
    """What the encoder learns from, and what its loss is watched on."""
    draw = generator(seed, "retrieval records")
    found: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    for number, asked in enumerate(pool.questions):
        if asked.split not in found:
            continue
        record: dict[str, Any] = {"question": asked.text, "passage": pool.passages[asked.passage]}
        if asked.split == "train":
            near = [int(place) for place in np.argsort(-lexical_QN[number])[:10] if place != asked.passage]
            record["negatives"] = [pool.passages[place] for place in draw.choice(near, HARD, replace=False)]
        found[asked.split].append(record)
    for passage in pool.passages:
        parts = [part.strip() for part in sentences(passage) if part.strip()]
        if len(parts) > 1:
            for place in draw.permutation(len(parts))[:CLOZES]:
                rest = " ".join(part for other, part in enumerate(parts) if other != place)
                found["train"].append({"question": parts[place], "passage": rest})
    return found


def trained(pool: Pool, lexical_QN: np.ndarray, seed: int, steps: int, folder: Path) -> Bundle:
    """An encoder that was trained on the pool for so many steps."""
    task = Retrieval()
    for name, lines in records(pool, lexical_QN, seed).items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    splits: dict[Any, list[str]] = {split: [f"{split}.jsonl"] for split in ("train", "validation")}
    data = DataSettings(sources=["*.jsonl"], splits=splits, vocabulary=VOCABULARY, validation=0, test=0)
    prepare(task, data, folder, folder / "data", context=CONTEXT)
    tokenizer = Tokenizer.load(folder / "data")
    derived = derive(ModelSettings(size="tiny", context=CONTEXT, overrides=dict(SHAPE)), task.architecture(), tokenizer.vocabulary_size)
    shape: dict[str, Any] = {"rows": ROWS, "context": CONTEXT, "pad": tokenizer.pad}
    split, validation = open_split(folder / "data", "train"), open_split(folder / "data", "validation")
    batch = int(ROWS * split.lengths.clip(max=CONTEXT).mean())
    plan = TrainSettings(
        tokens=steps * batch, batch_tokens=batch, micro_batch_tokens=batch, learning_rate=derived.learning_rate, seed=seed,
        evaluate_every=steps,
    )  # fmt: skip
    torch.manual_seed(derive_seed(seed, "model"))

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, derived.config, tokenizer, task.describe()))

    loader = make_loader(split, task.batching, seed=seed, **shape)
    model = task.build(derived.config)
    watched = Sequential(validation, task.batching, limit=4, **shape)
    record = train(task, model, loader, lambda: watched, plan, folder / "run", save=save)
    spent = f"{record.facts['steps']:,} steps in {record.cost.seconds:.0f} s, {record.facts['parameters']:,} parameters"
    print(f"seed {seed}: {spent}, a batch of {ROWS} rows", file=sys.stderr)
    return load_bundle(folder / "run" / "model", lambda _, config: task.build(config))


def judge(pool: Pool, lexical_QN: np.ndarray, near_QN: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The weight of the vectors that validation chooses, and the rank of each question's passage by each method."""
    right = np.array([asked.passage for asked in pool.questions])
    share_QN = lexical_QN / np.maximum(lexical_QN.max(1, keepdims=True), 1e-9)
    chosen = pool.rows("validation")
    by_weight = {weight: ranks(share_QN[chosen] + weight * near_QN[chosen], right[chosen]) for weight in WEIGHTS}
    best = max(WEIGHTS, key=lambda weight: (RECALL_AT_5.compute({"rank": by_weight[weight]}), MRR.compute({"rank": by_weight[weight]})))
    places = [(-scores_QN).argsort(1).argsort(1) for scores_QN in (lexical_QN, near_QN)]
    return best, {
        "BM25": ranks(lexical_QN, right),
        "vectors": ranks(near_QN, right),
        "reciprocal rank fusion": ranks(sum(1 / (UNREACHED + place) for place in places), right),  # type: ignore[arg-type]
        f"hybrid, weight {VECTORS_WEIGH:g}": ranks(share_QN + VECTORS_WEIGH * near_QN, right),
        "hybrid, weight by validation": ranks(share_QN + best * near_QN, right),
    }


def row(name: str, seed: str, rank: np.ndarray, base: np.ndarray) -> str:
    """One line of the table: the metrics with their intervals, and the paired difference of recall@5 to BM25's."""
    cells = [name, seed]
    for metric in (RECALL_AT_1, RECALL_AT_5, MRR):
        (score,) = scores([metric], {"rank": rank}, resamples=1000, confidence=0.95, seed=0)
        cells.append(f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]")
    paired = paired_difference(RECALL_AT_5, {"rank": base}, {"rank": rank}, resamples=1000, confidence=0.95, seed=0)
    return "| " + " | ".join([*cells, f"{paired.value:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]"]) + " |"


def retrieval(pool: Pool, seeds: int, steps: int) -> None:
    """Train once a seed, and print the tables."""
    questions = [asked.text for asked in pool.questions]
    lexical_QN = BM25(pool.passages).scores(questions)
    test, sets = pool.rows("test"), np.array([asked.set for asked in pool.questions])
    print(
        f"\n{len(pool.passages):,} passages; questions {pool.rows('train').sum():,} / {pool.rows('validation').sum():,} / {test.sum():,}\n"
    )
    print("| method | seed | recall@1 | recall@5 | MRR | recall@5, paired difference to BM25 |\n|---|---|---|---|---|---|")
    found: dict[str, list[np.ndarray]] = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            bundle = trained(pool, lexical_QN, seed, steps, Path(folder))
            vectors = embed(bundle.model, bundle.tokenizer, [*questions, *pool.passages])
        weight, by_method = judge(pool, lexical_QN, vectors[: len(questions)] @ vectors[len(questions) :].T)
        for name, rank in by_method.items():
            found.setdefault(name, []).append(rank)
            if name != "BM25" or seed == 0:
                shown = f"{name} ({weight:g})" if name.endswith("validation") else name
                print(row(shown, str(seed), rank[test], by_method["BM25"][test]), flush=True)
    if seeds > 1:
        print("\nAll seeds, each question once a seed; by set, recall@5:\n")
        print("| method | all | " + " | ".join(SETS) + " |\n" + "|---" * (len(SETS) + 2) + "|")
        for name, seen in found.items():
            each = [np.mean([rank[test & (sets == one)] <= 5 for rank in seen]) for one in SETS]
            print(f"| {name} | {np.mean([rank[test] <= 5 for rank in seen]):.4f} | " + " | ".join(f"{share:.4f}" for share in each) + " |")
        # A question's mean over the seeds is one observation: the seeds share the questions.
        name = f"hybrid, weight {VECTORS_WEIGH:g}"
        better = np.mean([rank[test] <= 5 for rank in found[name]], axis=0) - (found["BM25"][0][test] <= 5)
        draws = generator(0, "seeds").integers(0, len(better), (2000, len(better)))
        low, high = np.quantile(better[draws].mean(1), [0.025, 0.975])
        interval = f"{better.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        print(f"\n{name}, mean of {seeds} seeds, recall@5 over BM25's: {interval} (paired, by questions)")


def documents(pool: Pool, most: int) -> None:
    """Index the paragraphs as files, but for half of those that are asked about; what is answered, cited and refused."""
    print(f"\nDocuments, without an encoder and a reader; half of the paragraphs asked about are not in the index; sure from {SURE:g}\n")
    print("| questions | in the index | answered | passage right | sentence right | not in the index | refused | best coverage |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for split in ("validation", "test"):
            rows = generator(0, "documents").permutation(np.flatnonzero(pool.rows(split)))[:most]
            print(asked_of(pool, split, [pool.questions[number] for number in rows], Path(place) / split), flush=True)


def asked_of(pool: Pool, split: str, asked: Sequence[Asked], folder: Path) -> str:
    """A line of that table."""
    paragraphs = list(dict.fromkeys(one.document for one in asked))
    hidden = set(paragraphs[::2])
    (folder / "docs").mkdir(parents=True)
    for number, text in enumerate(pool.documents):
        if number not in hidden:
            (folder / "docs" / f"{number:05}.txt").write_text(text, "utf-8")
    index_folder(folder / "docs", folder / "index")
    library = Library.open(folder / "index", lambda folder: load_bundle(folder, lambda _, config: Retrieval().build(config)))
    coverage = np.array([max((hit.coverage for hit in library.find(one.text)), default=0.0) for one in asked])
    there = np.array([one.document not in hidden for one in asked])
    found = [library.answer(one.text) for one in asked]
    given = np.array([answer["answer"] is not None for answer in found])
    passage, sentence = (np.array([_holds(pool, one, answer, what) for one, answer in zip(asked, found, strict=True)]) for what in (0, 1))
    best = max(np.linspace(0, 1, 51), key=lambda limit: (coverage[there] >= limit).mean() + (coverage[~there] < limit).mean())
    shares = [
        given[there].mean(),
        passage[there & given].mean(),
        sentence[there & given].mean(),
        (~there).sum(),
        (~given[~there]).mean(),
        best,
    ]
    cells = [f"{share:.3f}" if isinstance(share, float) else f"{share:,}" for share in shares]
    return "| " + " | ".join([f"{split}: {len(asked):,}", f"{there.sum():,}", *cells]) + " |"


def _holds(pool: Pool, one: Asked, answer: Mapping[str, Any], sentence: int) -> bool:
    """Whether what is cited, the passage or the sentence alone, holds a person's answer, and the cited lines hold what is cited."""
    if answer["answer"] is None:
        return False
    top = answer["citations"][0]
    said = _plain(answer["answer"] if sentence else top["passage"])
    lines = pool.documents[int(top["file"][:5])].split("\n")[top["line"] - 1 : top["last_line"]]
    return _plain(answer["answer"]) in _plain("".join(lines)) and any(_plain(given) in said for given in one.answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of training, each seed")
    parser.add_argument("--documents", action="store_true", help="only citations and refusals")
    parser.add_argument("--questions", type=int, default=1000, help="of those that documents are asked")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if not DATA.is_dir():
        sys.exit(f"no data at {DATA}; set LODESTAR_DATA to the folder that holds it")
    print(machine({"torch": version("torch"), "sqlite": sqlite3.sqlite_version}, seed=0))
    pool = read_pool()
    if not chosen.documents:
        retrieval(pool, chosen.seeds, chosen.steps)
    documents(pool, chosen.questions)


if __name__ == "__main__":
    main()
