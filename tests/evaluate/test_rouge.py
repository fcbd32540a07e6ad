"""ROUGE against Google's rouge-score, the stemmer against NLTK's, and the counts of copying and repeating by hand."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from lodestar.evaluate.porter import stem
from lodestar.evaluate.rouge import copied, form_of, lcs_length, repeated, rouge, words

NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
WORDS = [
    "the", "cat", "cats", "sat", "satisfied", "on", "a", "mat", "mats", "running", "ran", "dying", "b", "12", "über", "x-ray", "don't",
    "Ponies", "flies.", "agreed",
]  # fmt: skip
BREAKS = st.sampled_from(["\n", "\n\n", "\r", "。", "好", "\u2028"])
TEXT = st.lists(st.one_of(st.sampled_from(WORDS), BREAKS), max_size=40).map(" ".join)
PARTS = [*"aeiouysltzdxwbn", "ing", "ed", "ies", "ational", "iveness", "logi", "ment", "ion", "alli", "ee"]


def same(references: list[str], written: str, *, stemmed: bool = True) -> None:
    theirs = RougeScorer(list(NAMES), use_stemmer=stemmed).score_multi(references, written)
    ours = rouge(references, written, stemmed=stemmed)
    for name, found in zip(NAMES, ours, strict=True):
        assert tuple(found) == pytest.approx(tuple(theirs[name]), abs=1e-12), name


@given(TEXT, TEXT, TEXT, st.booleans())
def test_equals_rouge_score(first: str, second: str, written: str, stemmed: bool) -> None:
    same([first, second], written, stemmed=stemmed)
    same([first], written, stemmed=stemmed)


def test_equals_rouge_score_on_real_summaries(shared_data: Path) -> None:
    lines = gzip.decompress((shared_data / "summarization" / "dialogsum" / "test.jsonl.gz").read_bytes()).decode().splitlines()[:60]
    for record in map(json.loads, lines):
        lead = "\n".join(record["dialogue"].split("\n")[:3])
        same([record[f"summary{number}"] for number in (1, 2, 3)], lead)


@given(st.lists(st.sampled_from(PARTS), max_size=9))
def test_stems_as_nltk_does(parts: list[str]) -> None:
    word = "".join(parts)
    assert stem(word) == PorterStemmer().stem(word)


def test_stems_real_words_as_nltk_does(shared_data: Path) -> None:
    text = (shared_data / "text-generation" / "tinyshakespeare" / "input.txt").read_text("utf-8").lower()
    ours = PorterStemmer()
    different = sorted(set(re.findall("[a-z]+", text)))
    assert len(different) > 10_000
    assert [stem(word) for word in different] == [ours.stem(word) for word in different]


def test_chinese_is_counted_by_characters() -> None:
    assert form_of("灯在黄昏点亮了 by Anna") == "characters"
    assert form_of("The lamp (灯)") == form_of("") == "words"
    assert words("灯亮了，Anna 来", "characters") == ["灯", "亮", "了", "anna", "来"]
    found = rouge(["灯亮了"], "灯灭了", "characters")
    assert found.rouge1.f1 == pytest.approx(2 / 3)
    assert found.rouge2.f1 == 0
    assert found.rouge_l.f1 == pytest.approx(2 / 3)
    assert rouge(["灯亮了"], "灯亮了").rouge1.f1 == 0  # as rouge-score sees it
    assert words("Größe 안녕 친구", "characters") == ["größe", "안녕", "친구"]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_the_longest_common_subsequence_is_the_table_s(a: list[str], b: list[str]) -> None:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    assert lcs_length(a, b) == table[-1][-1]


def test_copying_is_counted_by_hand() -> None:
    # The stretches are "the lamp is" (3), nothing for "red", "at night" (2): 5 of 6 words; (9 + 4) / 6.
    found = copied("Every evening the lamp is lit at night by the cat", "The lamp is red at night.")
    assert found.coverage == pytest.approx(5 / 6)
    assert found.density == pytest.approx(13 / 6)
    assert copied("a b", "") == (0, 0)
    assert copied("灯在黄昏点亮", "灯点亮", "characters").coverage == 1


def test_repeating_is_counted_by_hand() -> None:
    assert repeated("a b c a b c") == pytest.approx(1 / 4)
    assert repeated("a b") == repeated("a b c") == 0
    assert repeated("x x x x x") == pytest.approx(2 / 3)
