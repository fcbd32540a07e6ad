"""Sentences as spans: what people would split by hand, and what must hold of any text."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestar.build.sentences import sentence_spans, sentences, windows

# One list a text, split by hand; joined with the white space that stands in it.
ENGLISH = [
    ["Mr. Smith met Dr. Jones at 3.30 p.m. ", "They talked."],
    ["It costs $4.50. ", "That is cheap."],
    ['"Really?" he asked. ', '"Yes." ', "She left."],
    ["See www.example.com/a.b?c=d for more. ", "Or write to me@example.org."],
    ["Wait... what? ", "No!"],
    ["I waited… and waited. ", "Nothing came."],
    ["J. K. Rowling and George W. Bush met. ", "It rained."],
    ["We have apples, pears, etc. ", "They are fresh."],
    ["The U.S. Army came. ", "He lives in the U.S. ", "The house is old."],
    ["1. Open the lid. ", "2. Press the button."],
    ["He (really?) came. ", "(It was late.) ", "She slept."],
    ["First line\nof one sentence. ", "Second."],
    ["A heading\n\n", "A paragraph."],
    ["Use e.g. version 1.2.3 of it, cf. Fig. 3. ", "Then go on."],
    ["What?! ", "No way!!! ", "Fine."],
    ["He sat. ", "I said no. ", "Rev. Gray saw the sun. ", "She lives on Elm St. ", "He left on Sat. 3 May."],
    ["He works at Acme Inc. in Ohio. ", "It is big."],
    ["hello there! ", "how are you? ", "fine."],
]
GERMAN = [
    ["Am 3. Oktober war z. B. Feiertag. ", "Alle hatten frei."],
    ["Das kostet ca. 3,50 Euro, d.h. wenig. ", "Gut so."],
    ["Der 2. Weltkrieg endete 1945. ", "Danach war Frieden."],
    ["„Kommst du?“, fragte er. ", "„Nein.“ ", "Sie ging."],
    ["Dr. Müller und Prof. Weiß kamen, usw. ", "Es war spät."],
]
CHINESE = [
    ["今天天气很好。", "我们去公园吧！", "好吗？"],
    ["他说：“你好。”", "然后走了。"],
    ["价格是3.5元。", "不贵。"],
    ["我……我不知道。", "真的！！", "好吧。"],
    ["他（真的吗？）来了。", "她走了。"],
    ["好吗?", "好!", "走吧。"],
    ["我用Python 3.11写程序。", "It works. ", "很好。"],
    ["第一段。\n\n", "第二段。"],
]
JAPANESE = [
    ["今日は天気がいいですね。", "公園へ行きましょう！", "はい。"],
    ["「行きます。」と彼は言った。", "彼女は笑った。"],
    ["本当ですか？", "はい、本当です。"],
]
KOREAN = [
    ["안녕하세요. ", "오늘 날씨가 좋네요! ", "공원에 갈까요?"],
    ["가격은 3.5달러입니다. ", "싸요."],
]
OTHERS = [
    ["مرحبا. ", "كيف حالك؟ ", "بخير."],
    ["मैं आता हूँ। ", "तुम रुको।"],
    ["¿Cómo estás? ", "¡Muy bien! ", "Gracias."],
    ["Ça va ? ", "« Oui. » ", "Merci."],
    ["»Nein.« ", "Sie ging. ", "»Ja.«"],
    ["А. С. Пушкин родился в Москве. ", "Он писал."],
    ["我爱学习编程。", "I love it. ", "네, 좋아요. ", "はい。"],
]


@pytest.mark.parametrize("parts", [*ENGLISH, *GERMAN, *CHINESE, *JAPANESE, *KOREAN, *OTHERS], ids=lambda parts: parts[0][:20])
def test_splits_as_a_person_would(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


ALPHABET = st.sampled_from(
    [*"aBz好のが가。.!?…！？”\"')）(（「」 \n\t3,;:。、，\u200b\u202e", "Mr.", "z. B.", "...", "\n\n", "U.S.", "😀", "é", "e\u0301"]
)
ANY = st.one_of(st.text(), st.lists(ALPHABET, max_size=60).map("".join))


@given(ANY)
def test_spans_make_the_text_again(text: str) -> None:
    spans = sentence_spans(text)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans)
    if text.strip():
        assert all(text[start:end].strip() for start, end in spans)


@given(ANY, st.integers(1, 12))
def test_windows_fit_and_make_the_text_again(text: str, most: int) -> None:
    spans = windows(text, lambda part: len(part) <= most)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(end - start <= most for start, end in spans)


@given(st.lists(st.sampled_from(["It is. ", "Dear me! ", "好。"]), min_size=1, max_size=30), st.integers(9, 40))
def test_windows_hold_whole_sentences_and_as_many_as_fit(parts: list[str], most: int) -> None:
    text = "".join(parts)
    spans = windows(text, lambda part: len(part) <= most)
    borders = {span.end for span in sentence_spans(text)}
    assert {span.end for span in spans} <= borders
    for span, following in pairwise(spans):
        first = min(border for border in borders if border > following.start)
        assert first - span.start > most


def test_a_long_sentence_is_cut_where_it_breathes() -> None:
    text = "the cat sat on the mat, and the dog lay under the table"
    assert [text[start:end] for start, end in windows(text, lambda part: len(part) <= 40)] == [
        "the cat sat on the mat, ", "and the dog lay under the table",
    ]  # fmt: skip


def test_one_character_too_many_is_said() -> None:
    with pytest.raises(ValueError, match="'b' alone is longer"):
        windows("b", lambda part: len(part) < 1)


@pytest.mark.parametrize(
    "part",
    ["x", "好", " ", ".", "?)", "？）", "a. b", "(", "\n\n", "“"],
    ids=["letters", "han", "blanks", "stops", "closings", "wide closings", "doubtful", "openings", "empty lines", "quotes"],
)
def test_work_grows_with_the_text_and_no_faster(part: str) -> None:
    """Lines of Python that are run, counted: twice the text may take twice of them, whatever is in it."""

    def lines(text: str) -> int:
        count = 0

        def trace(_frame: object, event: str, _argument: object) -> object:
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            assert sum(end - start for start, end in sentence_spans(text)) == len(text)
        finally:
            sys.settrace(before)
        return count

    text = "（" + part * (100_000 // len(part))
    assert lines(text[:20_000]) <= 2.2 * lines(text[:10_000]) + 200
    assert sum(end - start for start, end in sentence_spans(text)) == len(text)


@pytest.mark.parametrize("text", ["e" + "\u0301" * 4000, "\U0001f469\u200d" * 2000], ids=["marks", "joined emoji"])
def test_a_character_without_end_is_cut_at_last(text: str) -> None:
    """Marks stay with their letter, but no more of them than a character has."""
    found = windows(text, lambda part: len(part) <= 100)
    assert "".join(text[start:end] for start, end in found) == text
    assert all(end - start <= 100 for start, end in found)
    assert len(found) <= 4 * len(text) / 100
