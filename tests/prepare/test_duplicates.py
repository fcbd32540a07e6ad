"""Duplicates against definitions written out in plain Python."""

import random

import numpy as np
import pytest

from lodestar.prepare.duplicates import BANDS, ROWS, SIMILAR, near_duplicates, priority, representatives
from lodestar.prepare.sources import SPLITS

NONE, TEST, VALIDATION, TRAIN = -1, SPLITS.index("test"), SPLITS.index("validation"), SPLITS.index("train")


def jaccard(one, other):
    """The Jaccard similarity of two lists of words' sets of 5-grams."""
    sets = [{tuple(words[start : start + 5]) for start in range(len(words) - 4)} for words in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_of_equal_records_the_first_of_the_most_judging_split_stays():
    digests = np.array([7, 8, 7, 7, 9, 8, 9], np.uint64)
    splits = np.array([NONE, NONE, TEST, TEST, TRAIN, NONE, VALIDATION])
    stays = representatives(digests, np.zeros_like(digests), priority(splits))
    assert stays.tolist() == [2, 1, 2, 2, 6, 1, 6]
    assert representatives(digests[:1].repeat(2), digests[:2] * 0, priority(np.array([NONE, TRAIN]))).tolist() == [1, 1]


def test_both_halves_of_a_digest_count():
    high, low = np.array([1, 1, 2, 1], np.uint64), np.array([1, 2, 1, 1], np.uint64)
    assert representatives(high, low, np.zeros(4)).tolist() == [0, 1, 2, 0]
    assert representatives(high[:0], low[:0], np.zeros(0)).tolist() == []


def test_the_first_of_equal_records_is_the_one_a_search_finds():
    draw = random.Random(0)
    values = [draw.randrange(300) for _ in range(1000)]
    found = representatives(np.array(values, np.uint64), np.zeros(1000, np.uint64), np.zeros(1000))
    assert found.tolist() == [values.index(value) for value in values]


@pytest.mark.parametrize("joiner", [" ", ""])
def test_texts_are_near_duplicates_where_their_word_sequences_are_shared(tmp_path, joiner):
    """Pairs of known similarity, English and (one character a word) Chinese. 0.12 is three standard errors of 120 orders at 0.8."""
    draw = random.Random(1)
    alphabet = [f"w{number}" for number in range(5000)] if joiner else [chr(0x4E00 + number) for number in range(5000)]
    texts, similar = [], []
    for pair in range(120):
        words = [draw.choice(alphabet) for _ in range(200)]
        changed = list(words)
        for place in draw.sample(range(200), pair % 12):
            changed[place] = draw.choice(alphabet)
        texts += [joiner.join(words), joiner.join(changed)]
        similar.append(jaccard(words, changed))
    dropped = near_duplicates(texts, len(texts), np.zeros(len(texts)), tmp_path / "scratch")
    assert not dropped[::2].any(), "the first of a pair stays"
    for value, found in zip(similar, dropped[1::2], strict=True):
        if abs(value - SIMILAR) > 0.12:
            assert found == (value > SIMILAR), value
    assert sum(value > SIMILAR + 0.12 for value in similar) >= 10
    assert sum(value < SIMILAR - 0.12 for value in similar) >= 10
    assert not (tmp_path / "scratch").exists()


def test_case_signs_and_short_texts(tmp_path):
    texts = ["Hello, world", "hello world!", "hello there", "你好", "你好。", ""]
    assert near_duplicates(texts, 6, np.zeros(6), tmp_path / "s").tolist() == [False, True, False, False, True, False]


def test_the_near_duplicate_in_a_judging_split_stays(tmp_path):
    words = " ".join(f"w{number}" for number in range(300))
    splits = np.array([NONE, VALIDATION, TEST])
    dropped = near_duplicates([words, words + " more", words + " again"], 3, priority(splits), tmp_path / "s")
    assert dropped.tolist() == [True, True, False]


def test_a_chain_of_likenesses_is_not_one_duplicate(tmp_path):
    """Each is like its neighbours and unlike the ones further on: dropping all but the first would lose what only the last says."""
    words = [f"w{number}" for number in range(400)]
    chain = [words[start : start + 300] for start in range(0, 100, 10)]
    assert jaccard(chain[0], chain[1]) > SIMILAR + 0.1
    assert jaccard(chain[0], chain[9]) < SIMILAR - 0.2
    dropped = near_duplicates([" ".join(part) for part in chain], 10, np.zeros(10), tmp_path / "s")
    assert 2 <= (~dropped).sum() <= 5


def test_the_bands_find_what_the_docstring_says():
    assert round(1 - (1 - 0.8**ROWS) ** BANDS, 4) == 0.9977
