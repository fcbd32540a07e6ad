"""The best ten of a million items: what it takes to look at all of them, and what indexes that do not are faster and miss.

    python -m bench.top_items                    # a million items of width 64, a few minutes; 600 MB beside FAISS and hnswlib
    python -m bench.top_items --items 100000

Vectors are drawn around 1,000 centres of Zipf's sizes, as items of one kind lie together; the states that ask are drawn around them, too.
Recall is the share of the best ten by exact float32 products. Beside the time by the clock stands that of the processor, all threads
together, which does not count what other programs take. FAISS and hnswlib are measured where they are installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch

from bench.rounds import machine
from lodestar.build import top_items
from lodestar.build.top_items import TopItems
from lodestar.contracts.clock import seconds

WIDTH, COUNT, CENTRES, SPREAD = 64, 10, 1_000, 0.5


def drawn(items: int, asked: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of the items, and the states that ask."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(CENTRES, WIDTH)).astype(np.float32)
    shares = 1 / np.arange(1, CENTRES + 1)

    def around(count: int) -> torch.Tensor:
        chosen = draw.choice(CENTRES, count, p=shares / shares.sum())
        noise = draw.standard_normal((count, WIDTH), np.float32)
        return torch.from_numpy(centres[chosen] + SPREAD * noise)

    return around(items), around(asked)


def timed(best: Callable[[int], np.ndarray], exact: np.ndarray) -> list[str]:
    """The median and the 95th percentile in ms, the processor's median, and the recall; the first three questions take no time."""
    taken, spent, right = [], [], []
    for question in [*range(3), *range(len(exact))]:
        begin, used = seconds(), time.process_time()
        found = best(question)
        taken.append(1000 * (seconds() - begin))
        spent.append(1000 * (time.process_time() - used))
        right.append(len(np.intersect1d(found, exact[question])) / COUNT)
    times = np.median(taken[3:]), np.quantile(taken[3:], 0.95), np.median(spent[3:])
    return [*(f"{value:.2f}" for value in times), f"{np.mean(right[3:]):.4f}"]


def row(name: str, built: float, size: int, figures: list[str]) -> None:
    print("| " + " | ".join([name, f"{built:.1f} s", f"{size / 1e6:.0f} MB", *figures]) + " |", flush=True)


def ours(vectors: torch.Tensor, states: torch.Tensor, exact: np.ndarray) -> None:
    """Every item, in three ways."""
    row("torch: float32 product, topk", 0, vectors.nbytes, timed(lambda n: (vectors @ states[n]).topk(COUNT).indices.numpy(), exact))
    begin = seconds()
    halves = vectors.bfloat16()
    coded_states = states.bfloat16()
    best = timed(lambda n: (halves @ coded_states[n]).topk(COUNT).indices.numpy(), exact)
    row("torch: bfloat16 product, topk", seconds() - begin, halves.nbytes, best)
    for name, coded_from in (("ours: float32", 1 << 60), ("ours: int8, the first scored again (the product's)", 0)):
        top_items.CODED_FROM = coded_from
        begin = seconds()
        index = TopItems(vectors)
        built = seconds() - begin
        row(name, built, index.memory_bytes, timed(lambda n, index=index: index.best(states[n], COUNT)[1].numpy(), exact))  # type: ignore[misc]


def peers(vectors: torch.Tensor, states: torch.Tensor, exact: np.ndarray, graphs: bool) -> None:
    """FAISS's and hnswlib's indexes, by dot product."""
    numbers, asked = vectors.numpy(), states.numpy()
    if find_spec("faiss"):
        faiss = import_module("faiss")
        faiss.omp_set_num_threads(torch.get_num_threads())
        lists = int(4 * len(numbers) ** 0.5)
        quantizer = faiss.IndexFlatIP(WIDTH)
        made = {"FAISS: flat": faiss.IndexFlatIP(WIDTH)}
        for probes in (8, 64):
            made[f"FAISS: IVF of {lists:,} lists, {probes} looked at"] = faiss.IndexIVFFlat(
                quantizer, WIDTH, lists, faiss.METRIC_INNER_PRODUCT
            )
        if graphs:
            made["FAISS: HNSW of 32"] = faiss.IndexHNSWFlat(WIDTH, 32, faiss.METRIC_INNER_PRODUCT)
        for name, index in made.items():
            begin = seconds()
            if "IVF" in name:
                index.cp.max_points_per_centroid, index.cp.niter = 32, 5
                index.nprobe = int(name.split(", ")[-1].split()[0])
                index.train(numbers)
            index.add(numbers)
            built = seconds() - begin
            size = len(faiss.serialize_index(index))
            row(name, built, size, timed(lambda n, index=index: index.search(asked[n : n + 1], COUNT)[1][0], exact))  # type: ignore[misc]
    if graphs and find_spec("hnswlib"):
        hnswlib = import_module("hnswlib")
        graph = hnswlib.Index("ip", WIDTH)
        graph.init_index(len(numbers), M=16, ef_construction=100)
        graph.set_num_threads(torch.get_num_threads())
        begin = seconds()
        graph.add_items(numbers)
        built = seconds() - begin
        graph.set_ef(100)
        row(
            "hnswlib: HNSW of 16, 100 looked at",
            built,
            graph.index_file_size(),
            timed(lambda n: graph.knn_query(asked[n], COUNT)[0][0], exact),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--states", type=int, default=200)
    parser.add_argument("--graphs", action="store_true", help="also HNSW, which takes minutes to build")
    options = parser.parse_args()
    versions = {name: version(name) for name in ("torch", "faiss-cpu", "hnswlib") if find_spec(name.removesuffix("-cpu"))}
    print(machine(versions, seed=0), flush=True)
    vectors, states = drawn(options.items, options.states)
    exact = np.stack([(vectors @ state).topk(COUNT).indices.numpy() for state in states])
    print(f"\n{options.items:,} items of width {WIDTH}; best {COUNT} of each of {options.states} states\n")
    print("| | built | size | p50, ms | p95, ms | processor, ms | recall |\n|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        ours(vectors, states, exact)
        peers(vectors, states, exact, options.graphs)


if __name__ == "__main__":
    main()
