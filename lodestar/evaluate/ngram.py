"""A baseline for language models: byte n-grams with interpolated, modified Kneser-Ney smoothing (Chen and Goodman 1998, section 3.6).

All counts are sorted arrays of packed n-grams (a byte n-gram is a 64-bit number), so that counting and scoring are whole-array work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MARK = 0xFF
"""Stands before and after every document; no byte of UTF-8 has this value."""

LEAST = 1e-9
"""No byte is less likely in a text that is compared with others: few texts can leave no mass for what they do not hold."""


@dataclass(frozen=True)
class _Level:
    """The n-grams of one order: discounted counts over the context's count, and the mass that is left to the order below."""

    grams: np.ndarray  # uint64, sorted
    share: np.ndarray  # (count - discount) / count of the context, one a gram
    contexts: np.ndarray  # uint64, sorted: the grams less their last byte
    backoff: np.ndarray  # one a context


class ByteNGram:
    """Byte n-grams of `order` bytes, counted on at most `limit` bytes of `texts` (whole documents, from the first on)."""

    def __init__(self, texts: Sequence[str], *, order: int = 6, limit: int = 8_000_000) -> None:
        if not 1 <= order <= 8:
            raise ValueError(f"order is {order}; an n-gram of 1 to 8 bytes fits into 64 bits")
        self.order = order
        self.name = f"byte {order}-gram (modified Kneser-Ney)"
        grams = self._grams(_within(texts, limit))
        self.levels: list[_Level] = []  # from the highest order to single bytes
        keys, counts = np.unique(grams, return_counts=True)
        for length in range(order, 0, -1):
            self.levels.append(_level(keys, counts))
            # Below the highest order, what counts is in how many contexts a gram occurs.
            keys, counts = np.unique(keys & np.uint64((1 << 8 * (length - 1)) - 1), return_counts=True)

    def document_columns(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """`nats` and `bytes` of each text; as in a model's columns, its end is predicted but counts no byte."""
        sizes = np.array([len(text.encode()) for text in texts], dtype=np.int64)
        nats = -np.log(self.probabilities(self._grams(texts)))
        owners = np.repeat(np.arange(len(texts)), sizes + 1)
        return {"nats": np.bincount(owners, nats, minlength=len(texts)), "bytes": sizes}

    def log_probabilities(self, texts: Sequence[str], *, whole: bool) -> list[float]:
        """In nats: that a text begins with each of these; or, whole, that it is this one."""
        logs = np.log(np.maximum(self.probabilities(self._grams(texts)), LEAST))
        ends = np.cumsum([len(text.encode()) + 1 for text in texts])
        sums = np.concatenate(([0.0], np.cumsum(logs)))
        return [float(sums[end - (not whole)] - sums[begin]) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]

    def probabilities(self, grams: np.ndarray) -> np.ndarray:
        """P(last byte | the bytes before it) of each packed n-gram."""
        unique, inverse = np.unique(grams, return_inverse=True)
        probability = np.full(len(unique), 1 / 256)
        for level, length in zip(reversed(self.levels), range(1, self.order + 1), strict=True):
            keys = unique & np.uint64((1 << 8 * length) - 1)
            backoff = _look_up(level.contexts, level.backoff, keys >> np.uint64(8), missing=1.0)
            probability = _look_up(level.grams, level.share, keys, missing=0.0) + backoff * probability
        return probability[inverse]

    def most_likely(self, text: bytes, length: int) -> bytes:
        """The `length` bytes that follow `text`, each the likeliest one; ends early before the mark."""
        written = bytearray(bytes([MARK]) * (self.order - 1) + text)
        begin = len(written)
        candidates = np.arange(256, dtype=np.uint64)
        for _ in range(length):
            tail = int.from_bytes(written[len(written) - self.order + 1 :], "big")
            best = int(self.probabilities(np.uint64(tail << 8) | candidates).argmax())
            if best == MARK:
                break
            written.append(best)
        return bytes(written[begin:])

    def _grams(self, texts: Sequence[str]) -> np.ndarray:
        """The packed n-gram that ends at each byte of the texts, and at the mark after each text."""
        pad = bytes([MARK]) * (self.order - 1)
        data = np.frombuffer(b"".join(pad + text.encode() + bytes([MARK]) for text in texts), dtype=np.uint8)
        packed = np.zeros(max(len(data) - self.order + 1, 0), dtype=np.uint64)
        for place in range(self.order):
            packed = (packed << np.uint64(8)) | data[place : place + len(packed)]
        # The grams that end within the marks before a text predict nothing.
        ends = np.zeros(len(data), dtype=bool)
        start = 0
        for text in texts:
            stop = start + self.order - 1 + len(text.encode()) + 1
            ends[start + self.order - 1 : stop] = True
            start = stop
        return packed[ends[self.order - 1 :]]


def _within(texts: Sequence[str], limit: int) -> list[str]:
    kept, size = [], 0
    for text in texts:
        kept.append(text)
        size += len(text.encode())
        if size >= limit:
            break
    return kept


def _level(grams: np.ndarray, counts: np.ndarray) -> _Level:
    once, twice, thrice, four = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    # Chen and Goodman's equation 26; where a count of counts is missing (tiny data), half of one count is held back.
    base = once / (once + 2 * twice) if once and twice else 0.5
    discounts = np.array([
        0.0,
        1 - 2 * base * twice / once if once and twice else 0.5,
        2 - 3 * base * thrice / twice if twice and thrice else 0.5,
        3 - 4 * base * four / thrice if thrice and four else 0.5,
    ])  # fmt: skip
    discount = np.clip(discounts, 0.0, [0.0, 0.99, 1.99, 2.99])[np.minimum(counts, 3)]
    contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
    totals = np.add.reduceat(counts, starts)
    sizes = np.diff(np.append(starts, len(grams)))
    share = (counts - discount) / np.repeat(totals, sizes)
    return _Level(grams, share, contexts, np.add.reduceat(discount, starts) / totals)


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, *, missing: float) -> np.ndarray:
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], missing)
