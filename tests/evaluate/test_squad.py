"""Exact match and F1 of spans: values worked by hand, and the scripts' rules in other people's code."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lodestar.evaluate.squad import (
    ANSWER_F1,
    EXACT_MATCH,
    NO_ANSWER_ACCURACY,
    answer_scores,
    best_threshold,
    cmrc_scores,
    is_unspaced,
    normalised,
    segments,
    squad_scores,
)


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("the Denver Broncos!", ["Denver Broncos"], 1, 1),
        ("Denver", ["Denver Broncos"], 0, 2 / 3),  # precision 1, recall 1/2
        ("in 1998 a ship", ["1998", "the ship of 1998"], 0, 2 * 2 / (3 + 3)),  # ship and 1998 of "in 1998 ship" and "ship of 1998"
        ("well-known", ["well known"], 0, 0),  # the hyphen goes, and leaves one word
        ("", [], 1, 1),
        ("Denver", [], 0, 0),
        ("", ["Denver"], 0, 0),
        ("an", ["the"], 1, 1),  # nothing is left of either
        ("to to be", ["to be to be"], 0, 2 * 3 / (3 + 4)),  # as often as both have it
    ],
)
def test_answers_in_words_by_hand(prediction: str, answers: list[str], exact: float, f1: float) -> None:
    assert squad_scores(prediction, answers) == pytest.approx((exact, f1))


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("《战国无双3》。", ["战国无双3"], 1, 1),
        ("光荣公司", ["光荣和公司"], 0, 2 * 2 / (4 + 5)),  # 光荣 or 公司: four characters stand in both, but no run of more than two
        ("ω-force开发", ["ω-force"], 0, 2 * 1 / (3 + 1)),  # ωforce is one word
        ("北京", ["南"], 0, 0),
        ("北京", ["北京市", "北京"], 1, 1),
        ("", [], 1, 1),
        ("无", [], 0, 0),
        ("", ["无"], 0, 0),
        ("3.5 km", ["3.5"], 0, 2 / 3),
    ],
)
def test_answers_in_characters_by_hand(prediction: str, answers: list[str], exact: float, f1: float) -> None:
    assert cmrc_scores(prediction, answers) == pytest.approx((exact, f1))


def test_the_language_of_the_text_chooses_the_form() -> None:
    assert answer_scores("上海市", ["上海"], "他住在上海市 (Shanghai)。") == cmrc_scores("上海市", ["上海"])
    assert answer_scores("上海市", ["上海"], "Shanghai is written 上海.") == squad_scores("上海市", ["上海"]) == (0, 0)
    assert is_unspaced("東京へ行きました。")
    assert not is_unspaced("고양이가 앉았다.")
    assert not is_unspaced("")


PHRASES = st.lists(st.sampled_from(["the", "A", "cat", "cat,", "in 1998", "U.S.", "x's", "-", "Ünü"]), min_size=1, max_size=7).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(PHRASES, st.lists(PHRASES, min_size=1, max_size=3))
def test_words_are_scored_as_by_an_independent_implementation(prediction: str, answers: Sequence[str]) -> None:
    from torchmetrics.functional.text import squad

    assume(all(map(normalised, answers)))  # of an answer that nothing is left of, version 1.1, which this is, gives another F1 than 2.0
    theirs = squad(
        [{"prediction_text": prediction, "id": "1"}],
        [{"answers": {"text": list(answers), "answer_start": [0] * len(answers)}, "id": "1"}],
    )
    assert squad_scores(prediction, answers) == pytest.approx((float(theirs["exact_match"]) / 100, float(theirs["f1"]) / 100), abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["cat", "3.5", "U.S", "it's", "1,000", "中", "文", "，", "(", "a:b", "ω", "·"]), max_size=8))
def test_segments_between_chinese_characters_are_the_treebank_s_words(parts: Sequence[str]) -> None:
    from nltk.tokenize import NLTKWordTokenizer

    text = " ".join(parts)
    expected: list[str] = []
    for run in re.split("([\u4e00-\u9fa5])", text.lower().replace("，", "").replace("·", "").replace(":", "")):
        expected += [run] if re.fullmatch("[\u4e00-\u9fa5]", run) else NLTKWordTokenizer().tokenize(run)
    assert segments(text) == expected


def total(margins: np.ndarray, answered: np.ndarray, refused: np.ndarray, threshold: float) -> float:
    return float(np.where(margins > threshold, refused, answered).sum())


QUESTION = st.tuples(st.integers(-4, 4), st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([0.0, 1.0]))


@given(st.lists(QUESTION, min_size=1, max_size=12))
def test_the_threshold_is_the_best_of_all(questions: Sequence[tuple[float, float, float]]) -> None:
    margins, answered, refused = (np.array(column, dtype=float) for column in zip(*questions, strict=True))
    found = best_threshold(margins, answered, refused)
    tried = [total(margins, answered, refused, threshold) for threshold in np.arange(-5.5, 6)]
    assert total(margins, answered, refused, found) == pytest.approx(max(tried))


def test_the_metrics_are_means_over_their_questions() -> None:
    columns = {
        "exact": np.array([1.0, 0, 1, 0]), "f1": np.array([1.0, 0.5, 1, 0]), "answerable": np.array([1, 1, 0, 0]),
        "answered": np.array([1, 1, 0, 1]),
    }  # fmt: skip
    assert EXACT_MATCH.compute(columns) == 0.5
    assert ANSWER_F1.compute(columns) == 0.625
    assert NO_ANSWER_ACCURACY.compute(columns) == 0.5
    assert np.isnan(NO_ANSWER_ACCURACY.compute({name: column[:2] for name, column in columns.items()}))
