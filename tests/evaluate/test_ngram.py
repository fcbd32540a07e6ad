"""The n-gram baseline: its probabilities sum to one, agree with counting by hand, and beat simpler compressors."""

from __future__ import annotations

import lzma
import math
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from lodestar.evaluate.metrics import bits_per_byte
from lodestar.evaluate.ngram import MARK, ByteNGram

TEXT = ["the cat sat on the mat", "the dog sat on the log", "一只猫坐在垫子上", ""]


@pytest.mark.parametrize("order", [1, 2, 5, 8])
def test_probabilities_of_the_next_byte_sum_to_one(order: int) -> None:
    counted = ByteNGram(TEXT, order=order)
    for context in (b"the c", b"zzzzzzzz", bytes([MARK]) * 7, "猫坐".encode()):
        tail = int.from_bytes((bytes([MARK]) * order + context)[-order + 1 :] if order > 1 else b"", "big")
        grams = np.uint64(tail << 8) | np.arange(256, dtype=np.uint64)
        assert counted.probabilities(grams).sum() == pytest.approx(1)


def test_bigrams_by_hand() -> None:
    """'aab' and its end: bigrams ^a, aa, ab, b$, each once, so each gives up half of a count (no count of two to estimate from)."""
    counted = ByteNGram(["aab"], order=2)
    # How many contexts each byte follows: a 2 (^ and a), b 1, $ 1, of 4.
    unigram = {"a": (2 - 0.5) / 4, "b": 0.5 / 4, "$": 0.5 / 4}
    spare = (0.5 + 0.5 + 0.5) / 4 / 256
    expected = 0.5 / 2 + (0.5 + 0.5) / 2 * (unigram["a"] + spare)
    found = counted.probabilities(np.array([ord("a") << 8 | ord("a")], dtype=np.uint64))[0]
    assert found == pytest.approx(expected)


def test_documents_are_scored_alone_and_with_their_end() -> None:
    counted = ByteNGram(TEXT)
    together = counted.document_columns(TEXT)
    assert together["bytes"].tolist() == [len(text.encode()) for text in TEXT]
    for place, text in enumerate(TEXT):
        assert counted.document_columns([text])["nats"][0] == pytest.approx(together["nats"][place])
    assert together["nats"][3] > 0  # the empty document's end


def test_beats_a_general_compressor_on_code_it_has_not_seen() -> None:
    library = Path(sysconfig.get_path("stdlib"))
    train = [(library / name).read_text("utf-8") for name in ("argparse.py", "inspect.py", "typing.py", "json/decoder.py")]
    unseen = (library / "json" / "encoder.py").read_text("utf-8")
    compressed = 8 * len(lzma.compress(unseen.encode())) / len(unseen.encode())
    assert bits_per_byte(ByteNGram(train).document_columns([unseen])) < compressed


def test_writes_what_it_has_read() -> None:
    assert ByteNGram(["to be or not to be"] * 3, order=8).most_likely(b"to be or n", 50) == b"ot to be"


def test_order_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="order is 9"):
        ByteNGram(TEXT, order=9)


def test_counts_no_more_than_its_limit() -> None:
    short, long = ByteNGram(["ab" * 50] * 10, limit=150), ByteNGram(["ab" * 50] * 2)
    grams = np.array([1 << 8], dtype=np.uint64)
    assert short.probabilities(grams) == long.probabilities(grams)
    assert math.isfinite(float(short.probabilities(grams)[0]))
