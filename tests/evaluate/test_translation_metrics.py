"""BLEU and chrF against sacreBLEU itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from lodestar.evaluate import translation
from lodestar.evaluate.bootstrap import scores

VOCABULARY = ["a", "the", "dog", "runs", ",", "fast.", "1,000", "don't", "Ein", "Hund", "läuft", "快", "跑。"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=12)
SENTENCES = st.lists(st.tuples(WORDS.map(" ".join), WORDS.map(" ".join)), min_size=1, max_size=6)
ANYTHING = st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=4)


def ours(pairs, language="de", directions=None):
    found, wanted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return translation.columns(found, wanted, [language] * len(pairs), directions or [0] * len(pairs))


@settings(max_examples=150)
@given(SENTENCES | ANYTHING, st.sampled_from(["de", "zh"]))
def test_scores_are_those_of_sacrebleu(pairs, language):
    columns = ours(pairs, language)
    found, wanted = [pair[0] for pair in pairs], [[pair[1] for pair in pairs]]
    expected = BLEU(tokenize="char" if language == "zh" else "13a").corpus_score(found, wanted).score
    assert translation.bleu(columns) == pytest.approx(expected, abs=1e-9)
    assert translation.chrf(columns) == pytest.approx(CHRF().corpus_score(found, wanted).score, abs=1e-9)


def test_directions_are_scored_apart_and_averaged():
    pairs = [
        ("the dog runs fast today", "the dog runs fast now"),
        ("a cat", "a cat sleeps here"),
        ("the same words now", "the same words now"),
    ]
    columns = ours(pairs, directions=[0, 0, 2])
    apart = [translation.bleu({name: column[rows] for name, column in columns.items()}) for rows in (slice(0, 2), slice(2, 3))]
    assert translation.bleu(columns) == pytest.approx(sum(apart) / 2)
    assert apart[1] == pytest.approx(100)
    assert math.isnan(translation.bleu({name: column[:0] for name, column in columns.items()}))


def test_the_bootstrap_takes_the_columns():
    draw = np.random.default_rng(0)
    words = ["a", "dog", "runs", "fast", "home", "now"]
    pairs = [(" ".join(draw.choice(words, 8)), " ".join(draw.choice(words, 8))) for _ in range(50)]
    for score in scores([translation.BLEU, translation.CHRF], ours(pairs), resamples=100, confidence=0.95, seed=0):
        assert score.low < score.value < score.high


@pytest.mark.parametrize(("language", "expected"), [
    ("de", "13a"), ("en-GB", "13a"), ("zh", "char"), ("zh_CN", "char"), ("zho_Hans", "char"), ("kor_Hang", "char"), ("", "13a"),
])  # fmt: skip
def test_languages_without_spaces_are_measured_by_character(language, expected):
    assert translation.bleu_tokenization(language) == expected


def test_the_signature_says_what_was_computed():
    assert translation.signature("bleu", "de") == f"BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    assert translation.signature("bleu", "ja").split("|")[4] == "tok:char"
    assert translation.signature("chrf", "ja") == f"chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{sacrebleu.__version__}"
