"""The terms of a text, in scripts with and without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestar.store.terms import terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Pool closes at 9pm.", ["the", "pool", "close", "at", "9pm"]),
        ("北京大学", ["北京", "京大", "大学"]),
        ("我 爱", ["我", "爱"]),
        ("iPhone手机很好", ["iphone", "手机", "机很", "很好"]),
        ("ＡＢＣ　１２３", ["abc", "123"]),
        ("ﾃﾚﾋﾞを見る", ["テレ", "レビ", "ビを", "を見", "見る"]),
        ("서울은 수도", ["서울", "울은", "수도"]),
        ("snake_case Straße", ["snake", "case", "strasse"]),
        ("\u200b😀 ؟", []),
        ("dogs ladies horses glass bus toes is", ["dog", "lady", "horse", "glass", "bus", "toe", "is"]),
        ("", []),
    ],
)
def test_words_and_pairs_of_characters(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@given(st.text(st.characters(), max_size=200))
def test_every_term_is_found_again_and_none_holds_a_blank_or_a_quote(text: str) -> None:
    for term in terms(text):
        assert term
        assert not set(term) & set(" \t\n\"'*^:()")
        assert not any("\ud800" <= sign <= "\udfff" for sign in term)
