"""What holds an index of passages: SQLite alone (FTS5 and one matrix product), or a vector library beside it.

    python -m bench.passage_index                       # 4,000 and 100,000 passages, some minutes
    python -m bench.passage_index --passages 4000

Passages are drawn from Zipf's law over made-up words, vectors are random of width 256: what is measured is time and size, not quality.
FAISS and LanceDB are measured where they are installed, with the indices that their guides begin with.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.rounds import machine
from lodestar.contracts.clock import seconds
from lodestar.store.passages import Passage, PassageIndex

WIDTH, WORDS, PASSAGE_WORDS, QUESTIONS = 256, 50_000, 80, 50


def made_up(count: int) -> tuple[list[Passage], np.ndarray, list[str], np.ndarray]:
    """Passages with their vectors, and questions with theirs."""
    draw = np.random.default_rng(0)

    def words(size: int) -> str:
        return " ".join(f"w{word}" for word in draw.zipf(1.2, size) % WORDS)

    vectors = draw.normal(size=(count + QUESTIONS, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    passages = [Passage("a", None, number, number, words(PASSAGE_WORDS)) for number in range(count)]
    return passages, vectors[:count], [words(8) for _ in range(QUESTIONS)], vectors[count:]


def timed(work: Callable[[int], object]) -> str:
    """The median and the 95th percentile over the questions, in ms; the first one is not counted."""
    work(0)
    taken = []
    for question in range(QUESTIONS):
        begin = seconds()
        work(question)
        taken.append(1000 * (seconds() - begin))
    return f"{np.median(taken):.2f} / {np.quantile(taken, 0.95):.2f} ms"


def row(name: str, built: float, size: int, *figures: str) -> None:
    print("| " + " | ".join([name, f"{built:.1f} s", f"{size / 1e6:.0f} MB", *figures]) + " |", flush=True)


def measure(count: int, folder: Path) -> None:
    passages, vectors, questions, asked = made_up(count)
    print(f"\n{count:,} passages of {PASSAGE_WORDS} words, vectors of {WIDTH} numbers; best 100, p50 / p95\n")
    print("| | built | size | by terms | by vectors |\n|---|---|---|---|---|")
    begin = seconds()
    with PassageIndex.create(folder / "x.sqlite") as index:
        with index.change():
            index.add("a", "x", passages, vectors)
        built = seconds() - begin
        _, held = index.vectors()

        def by_vector(question: int) -> object:
            near = held @ asked[question]
            best = np.argpartition(-near, 100)[:100]
            return best[np.argsort(-near[best])]

        by_terms = timed(lambda question: index.search(questions[question], 100))
        row("SQLite: FTS5, one product over the vectors", built, (folder / "x.sqlite").stat().st_size, by_terms, timed(by_vector))
    if find_spec("faiss"):
        faiss = import_module("faiss")

        faiss.omp_set_num_threads(1)
        for name, made in (("Flat", faiss.IndexFlatIP(WIDTH)), ("HNSW32", faiss.IndexHNSWFlat(WIDTH, 32, faiss.METRIC_INNER_PRODUCT))):
            begin = seconds()
            made.add(vectors)
            built = seconds() - begin
            found = timed(lambda question, made=made: made.search(asked[question : question + 1], 100))  # type: ignore[misc]
            exact = [set(np.argsort(-(held @ one))[:100]) for one in asked]
            right = np.mean([len(best & set(made.search(one[None], 100)[1][0])) for best, one in zip(exact, asked, strict=True)])
            size = len(faiss.serialize_index(made))
            row(f"FAISS {version('faiss-cpu')} {name}", built, size, "none", f"{found}, {right:.0f} of the best 100")
    if find_spec("lancedb"):
        lancedb = import_module("lancedb")

        begin = seconds()
        table = lancedb.connect(folder / "lance").create_table(
            "x", [{"text": passage.text, "vector": vector} for passage, vector in zip(passages, vectors, strict=True)]
        )
        table.create_fts_index("text")
        built = seconds() - begin
        size = sum(file.stat().st_size for file in (folder / "lance").rglob("*") if file.is_file())
        by_terms = timed(lambda question: table.search(questions[question], query_type="fts").limit(100).to_arrow())
        row(f"LanceDB {version('lancedb')}", built, size, by_terms, timed(lambda q: table.search(asked[q]).limit(100).to_arrow()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, nargs="+", default=[4_000, 100_000])
    chosen = parser.parse_args()
    print(machine({"sqlite": sqlite3.sqlite_version, "numpy": version("numpy")}, seed=0))
    for count in chosen.passages:
        folder = Path(tempfile.mkdtemp())
        try:
            measure(count, folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
