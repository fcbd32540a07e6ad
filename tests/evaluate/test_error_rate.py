"""Error rates against jiwer's, and normalisation by examples."""

from __future__ import annotations

import math
import random

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.error_rate import CER, WER, columns, edit_distance, normalize, words_of


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Hello, World!", "hello world"),
        ("ＡＢＣ　１２３", "abc 123"),  # full-width letters and blank
        ("今天，天气 很好。", "今天天气很好"),
        ("我用 Python 写代码", "我用 python 写代码"),
        ("我用Python写代码", "我用 python 写代码"),
        ("Don’t stop — it's 3.5%, or 1,234,567!", "don't stop it's 3.5% or 1234567"),
        ("well-known; semi - detached", "well-known semi detached"),
        ("1,23 and 1,2345", "1 23 and 1 2345"),  # no thousands
        ("twenty 20", "twenty 20"),
        ("Straße ÉCOLE", "strasse école"),
        ("\u0065\u0301", "é"),
        ("  \n… ", ""),
        ("「はい」。", "はい"),
    ],
)
def test_what_is_said_alike_is_written_alike(written, said):
    assert normalize(written) == said
    assert normalize(said) == said  # nothing is left to do


def test_words_of_chinese_are_characters():
    assert words_of(normalize("我用 Python3.11 写代码")) == ["我", "用", "python3.11", "写", "代", "码"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_distance_is_the_recursion(a, b):
    table = {(i, j): i + j for i in range(len(a) + 1) for j in range(len(b) + 1) if i == 0 or j == 0}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
    assert edit_distance(a, b) == table[len(a), len(b)] == edit_distance(b, a)


NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero"]


def changed(text, draw):
    """With words dropped, put in, and misspelt."""
    made = []
    for word in text.split():
        chance = draw.random()
        made += [] if chance < 0.1 else [word, "oh"] if chance < 0.2 else [word[:-1] + "x"] if chance < 0.3 else [word]
    return " ".join(made)


def test_rates_are_jiwers():
    draw = random.Random(0)
    said = [" ".join(draw.choice(NUMBERS) for _ in range(draw.randint(1, 12))) for _ in range(50)]
    heard = [changed(text, draw) for text in said]
    found = columns(heard, said)
    assert WER.compute(found) == pytest.approx(jiwer.wer(said, heard), abs=1e-12)
    assert CER.compute(found) == pytest.approx(jiwer.cer(said, heard), abs=1e-12)
    said, heard = ["今天，天气很好。", "我用 Python 写代码！"], ["今天天汽真的很好", "我用python写"]
    found = columns(heard, said)
    spaced = [[" ".join(words_of(normalize(text))) for text in side] for side in (said, heard)]
    assert WER.compute(found) == pytest.approx(jiwer.wer(*spaced), abs=1e-12)
    assert CER.compute(found) == pytest.approx(jiwer.cer(*[[normalize(text) for text in side] for side in (said, heard)]), abs=1e-12)


def test_columns_by_hand_and_their_interval():
    found = columns(["the cat sat", "", "no"], ["The cat sat.", "a mat", ""])
    np.testing.assert_array_equal(found["word_errors"], [0, 2, 1])
    np.testing.assert_array_equal(found["words"], [3, 2, 0])
    np.testing.assert_array_equal(found["character_errors"], [0, 5, 2])
    np.testing.assert_array_equal(found["characters"], [11, 5, 0])
    assert WER.compute(found) == 3 / 5
    (score, _) = scores([WER, CER], found, resamples=200, confidence=0.95, seed=0)
    assert score.low <= 0.6 <= score.high
    assert math.isnan(WER.compute(columns(["x"], ["…"])))


def test_a_long_text_is_compared_in_little_time():
    text = "the quick brown fox " * 100
    assert edit_distance(list(text), list(text[5:])) == 5
