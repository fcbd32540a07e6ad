"""Duplicates, exact and near, found before the split so that no record has its twin on the other side.

Of equal records one stays: the one in the split that judges most (test, validation, train, then those in none yet), then the first.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from ..contracts.progress import track
from ..contracts.randomness import generator
from .sources import SPLITS

BANDS, ROWS = 20, 6
"""Bands of rows of the signature: records of Jaccard similarity s share a band with probability 1 - (1 - s^6)^20, 0.9977 at 0.8
(Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4)."""
SIMILAR = 0.8
"""The estimated Jaccard similarity of word 5-grams from which two records are near duplicates."""
SHINGLE = 5

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
"""A Chinese or Japanese character is a word of its own: there are no spaces to tell words by."""


def priority(split: np.ndarray) -> np.ndarray:
    """0 for test, 1 for validation, 2 for train, 3 for none yet (-1): of two equal records the one with the lower stays."""
    order = np.array([*(("test", "validation", "train").index(name) for name in SPLITS), 3], np.int8)
    return order[split]  # -1 takes the last


def representatives(high: np.ndarray, low: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """For each record (n,), the index of the equal one that stays, itself where it does: the lowest rank, then the first.

    Args:
        high, low: the halves of each record's digest, uint64.
        rank: see `priority`.
    """
    order = np.lexsort((rank, low, high))  # a stable sort, so equal ranks keep their order
    first = np.zeros(len(order), bool)
    first[:1] = True
    for half in (high, low):
        ordered = half[order]
        first[1:] |= ordered[1:] != ordered[:-1]
    stays = np.empty(len(order), np.int64)
    stays[order] = order[np.flatnonzero(first)][np.cumsum(first) - 1]
    return stays


def near_duplicates(texts: Iterable[str], count: int, rank: np.ndarray, scratch: Path) -> np.ndarray:
    """Whether each of `count` texts is nearly the same as one that stays.

    MinHash (Broder 1997, "On the resemblance and containment of documents"): for a random order of all shingles, the probability
    that two sets have the same smallest shingle is their Jaccard similarity, so the share of equal minima over many orders estimates it.
    Candidates are found by locality-sensitive hashing in bands (Indyk and Motwani 1998). 480 bytes a record, on disk in `scratch`.
    """
    dropped = np.zeros(count, bool)
    if not count:
        return dropped
    multipliers, offsets = _orders()
    with scratch.open("wb") as file:
        for text in track(texts, "near duplicates", "record", total=count):
            file.write(_signature(text, multipliers, offsets).tobytes())
    signatures = np.memmap(scratch, np.uint32, "r", shape=(count, BANDS * ROWS))
    by_rank = np.argsort(rank, kind="stable")
    for band in range(BANDS):
        rows = np.ascontiguousarray(signatures[:, band * ROWS : (band + 1) * ROWS]).astype(np.uint64)
        key = _mix((rows * _odd(ROWS)).sum(axis=1, dtype=np.uint64))
        _drop_within_bucket(key, by_rank, signatures, dropped)
    del signatures
    scratch.unlink()
    return dropped


def _drop_within_bucket(key: np.ndarray, by_rank: np.ndarray, signatures: np.ndarray, dropped: np.ndarray) -> None:
    """Mark, among the records that share a band, those similar to one that stays and comes before them."""
    alive = by_rank[~dropped[by_rank]]
    order = alive[np.argsort(key[alive], kind="stable")]
    edges = np.flatnonzero(np.diff(key[order])) + 1
    starts, ends = np.r_[0, edges], np.r_[edges, len(order)]
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        bucket = order[start:end]
        while len(bucket) > 1:
            leader, others = bucket[0], bucket[1:]
            similar = np.zeros(len(others), bool)
            for part in range(0, len(others), _PART):
                share = (signatures[others[part : part + _PART]] == signatures[leader]).mean(axis=1)
                similar[part : part + _PART] = share >= SIMILAR
            dropped[others[similar]] = True
            bucket = others[~similar]


_PART = 1 << 15


def _signature(text: str, multipliers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The smallest shingle under each of the random orders: (orders,) uint32."""
    words = _WORD.findall(text.lower())
    hashes = np.fromiter((zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words), np.uint64, len(words))
    if len(hashes) < SHINGLE:
        hashes = np.pad(hashes, (0, SHINGLE - len(hashes)))
    windows = np.lib.stride_tricks.sliding_window_view(hashes, SHINGLE)
    shingles = np.unique(_mix((windows * _odd(SHINGLE)).sum(axis=1, dtype=np.uint64)))
    smallest = np.full(len(multipliers), np.iinfo(np.uint32).max, np.uint32)
    for part in range(0, len(shingles), 4096):
        # Multiply-shift hashing (Dietzfelbinger et al. 1997): the high half of a·x + b mod 2^64.
        orders = (shingles[part : part + 4096, None] * multipliers + offsets) >> np.uint64(32)
        np.minimum(smallest, orders.min(axis=0).astype(np.uint32), out=smallest)
    return smallest


def _orders() -> tuple[np.ndarray, np.ndarray]:
    draw = generator(0, "minhash")
    size = BANDS * ROWS
    return draw.integers(0, 2**63, size, np.uint64) * np.uint64(2) + np.uint64(1), draw.integers(0, 2**63, size, np.uint64)


@cache
def _odd(count: int) -> np.ndarray:
    """Fixed odd multipliers that tell the places of a tuple apart."""
    return generator(0, "tuple").integers(0, 2**63, count, np.uint64) * np.uint64(2) + np.uint64(1)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of MurmurHash3: every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))
