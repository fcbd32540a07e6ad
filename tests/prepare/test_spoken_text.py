"""What is said of a text: numbers against num2words, everything else worked by hand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from lodestar.contracts.errors import UserError
from lodestar.contracts.symbols import EDGE, PAUSES
from lodestar.prepare.pronunciation import known, pronounce, sentences, syllable_symbols
from lodestar.prepare.spoken_numbers import (
    chinese_cardinal,
    english_cardinal,
    english_ordinal,
    english_year,
)
from lodestar.prepare.spoken_text import spoken_text


def plain(text: str) -> str:
    """num2words' British "and", hyphens and commas taken out."""
    return text.replace("-", " ").replace(",", "").replace(" and ", " ")


@given(st.integers(0, 10**15 - 1))
def test_english_numbers_are_num2words(number: int) -> None:
    assert english_cardinal(number) == plain(num2words(number))
    assert english_ordinal(number) == plain(num2words(number, to="ordinal"))


def test_english_years_are_num2words() -> None:
    for year in range(1100, 2100):
        assert english_year(year) == plain(num2words(year, to="year"))


@given(st.integers(0, 10**15 - 1))
def test_a_chinese_number_says_which_it_is(number: int) -> None:
    """Read back by the meaning of its characters."""
    values = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2}
    units = {"十": 10, "百": 100, "千": 1_000}

    def below(said: str) -> int:
        total = digit = 0
        for sign in said:
            if sign in units:
                total, digit = total + (digit or 1) * units[sign], 0
            else:
                digit = values[sign]
        return total + digit

    def whole(said: str) -> int:
        for unit, size in (("万亿", 10**12), ("亿", 10**8), ("万", 10**4)):
            if unit in said:
                head, _, rest = said.partition(unit)
                return whole(head) * size + whole(rest)
        return below(said)

    assert whole(chinese_cardinal(number)) == number


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "零"), (10, "十"), (12, "十二"), (101, "一百零一"), (112, "一百一十二"), (200, "二百"), (2000, "两千"), (2002, "两千零二"),
        (10_050, "一万零五十"), (20_000, "两万"), (100_001, "十万零一"), (200_000_005, "两亿零五"), (-3, "负三"),
    ],
)  # fmt: skip
def test_chinese_numbers(number: int, said: str) -> None:
    assert chinese_cardinal(number) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Dr. Smith paid $3.50 on 2026-12-01.", "doctor Smith paid three dollars fifty on December first, twenty twenty six ."),
        ("It grew 5% in 1984, i.e. 1,200 g.", "It grew five percent in nineteen eighty four , that is one thousand two hundred grams ."),
        ("The 21st train leaves at 6:05 pm", "The twenty first train leaves at six oh five p m"),
        ("the U.S. and an AI", "the U S and an A I"),
        ("HELLO WORLD", "HELLO WORLD"),
        ("$1, $2 million", "one dollar , two million dollars"),
        ("pages 3-5, at -4 °C", "pages three to five , at minus four degrees Celsius"),
        ("Call 0123456789 & ask", "Call zero one two three four five six seven eight nine and ask"),
        ("café naïve 1/2", "cafe naive one over two"),
        ("2026年12月1日10:30，气温-5°C", "二零二六年十二月一日十点三十分,气温负五摄氏度"),
        ("涨了3.5%，我有2个苹果和2元", "涨了百分之三点五,我有两个苹果和二元"),
        ("价格是¥12.5万", "价格是十二点五万元"),
        ("他跑了3-5公里，占1/4", "他跑了三到五公里,占四分之一"),
        ("iPhone 15很好", "iPhone fifteen 很好"),
        ("２０２６年", "二零二六年"),
    ],
)  # fmt: skip
def test_texts_are_written_out(written: str, said: str) -> None:
    assert spoken_text(written) == said


def test_english_is_letters_and_chinese_is_initials_finals_and_tones() -> None:
    assert [symbol.name for symbol in pronounce("It's, OK?")] == [EDGE, *"it's", ",", "o", " ", "k", "?", EDGE]
    assert [(symbol.name, symbol.tone) for symbol in pronounce("是星。")] == [
        (EDGE, 0), ("SH", 0), ("IR", 4), ("X", 0), ("ING", 1), (".", 0), (EDGE, 0),
    ]  # fmt: skip
    mixed = [symbol.name for symbol in pronounce("我爱iPhone")]
    assert mixed == [EDGE, "UO", "AI", " ", *"iphone", EDGE]


def test_tones_change_as_they_are_said() -> None:
    def tones(text: str) -> list[int]:
        return [symbol.tone for symbol in pronounce(text) if symbol.tone]

    assert tones("你好") == [2, 3]
    assert tones("不对") == [2, 4]
    assert tones("一个") == [2, 4]
    assert tones("我们") == [3, 5]


def test_the_vowels_that_pinyin_writes_alike_are_apart() -> None:
    assert [syllable_symbols(syllable)[-1].name for syllable in ("si4", "shi4", "xi4", "ri4", "zi3", "nv3", "yue4")] == [
        "IZ", "IR", "I", "IR", "IZ", "V", "VE",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hi 😀", "grinning face"), ("مرحبا", "arabic letter meem"), ("日本です", "hiragana letter de"), ("a ♞ b", "black chess knight"),
        ("한국", "hangul"),
    ],
)  # fmt: skip
def test_what_is_neither_english_nor_chinese_is_refused_by_its_name(text: str, named: str) -> None:
    with pytest.raises(UserError, match=named) as refused:
        pronounce(text)
    assert "\n" not in str(refused.value)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_nothing_is_dropped_in_silence(text: str) -> None:
    """Whatever is written is refused, or each letter and character of it is said."""
    try:
        said = pronounce(text)
    except UserError:
        return
    letters = [symbol for symbol in said if symbol.name not in (EDGE, " ", *PAUSES)]
    assert len(letters) >= len(re.findall(r"[A-Za-z\u4e00-\u9fff]", text)) - 4 * text.count(".")  # "e.g." is said in other letters


def test_pauses_that_were_never_heard_become_weaker_ones_and_sounds_are_refused() -> None:
    said = pronounce("a, b? c! d. e")
    assert "".join(name for name, _ in known(said, set("abcde_ "), "")) == "_a b c d e_"
    assert "".join(name for name, _ in known(said, set("abcde_ ,."), "")) == "_a,b.c.d.e_"
    with pytest.raises(UserError, match="never heard in its recordings how 'e' sounds"):
        known(said, set("abcd_ "), "a, b? c! d. e")
    with pytest.raises(UserError, match="consonant of pinyin 'x'"):
        known(pronounce("星"), set("abcd_ "), "星")


def test_sentences_end_at_marks_and_not_within_numbers() -> None:
    assert list(sentences("It is 3.5 km! 你好。今天？\nnew")) == ["It is 3.5 km!", "你好。", "今天？", "new"]
