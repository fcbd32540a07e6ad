"""Text that arrives token by token: the parts join to the whole, and no part ends in half a character."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.build.incremental import StopStrings, TextStream
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.prepare import train_tokenizer

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Byte-level, and with so few merges that a Chinese character takes two or three tokens."""
    return train_tokenizer(["the lamp is lit, and the river runs"], 270)


def parts_of(tokenizer: Tokenizer, ids: list[int]) -> tuple[list[str], str]:
    stream = TextStream(tokenizer)
    parts = [stream.push(token) for token in ids]
    return parts, stream.flush()


def test_a_chinese_character_appears_when_its_last_byte_does(tokenizer: Tokenizer) -> None:
    ids = [
        int(tokenizer.backend.token_to_id(sign) or 0) for sign in "ä½ł"
    ]  # the three bytes of 你 (E4 BD A0) as byte-level BPE spells them
    assert tokenizer.decode(ids) == "你"
    assert parts_of(tokenizer, ids) == (["", "", "你"], "")


@settings(deadline=None, max_examples=200)
@given(text=ANY_TEXT)
def test_valid_text_never_shows_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    parts, rest = parts_of(tokenizer, tokenizer.encode(text))
    assert "".join(parts) + rest == text
    assert all("\ufffd" not in part for part in [*parts, rest]) or "\ufffd" in text


@settings(deadline=None, max_examples=200)
@given(ids=st.lists(st.integers(2, 299), max_size=200))
def test_any_tokens_at_all_join_to_their_decoding(tokenizer: Tokenizer, ids: list[int]) -> None:
    parts, rest = parts_of(tokenizer, ids)
    assert "".join(parts) + rest == tokenizer.decode(ids)


def test_a_long_text_is_not_decoded_from_its_beginning_each_time(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    ids = tokenizer.encode("月光 moonlight, " * 400)
    assert "".join(stream.push(token) for token in ids) == "月光 moonlight, " * 400
    assert len(stream._ids) < 200


@pytest.mark.parametrize(
    ("pieces", "stops", "shown"),
    [
        (["hello wor", "ld"], ["world"], ["hello ", ""]),
        (["a", "b", "c", "d"], ["bc"], ["a", "", "", ""]),
        (["ab", "x"], ["bc"], ["a", "bx"]),
        (["one two three"], ["three", "two"], ["one "]),
        (["aab"], ["ab"], ["a"]),
        (["举头望", "明月"], ["望明"], ["举头", ""]),
    ],
)
def test_stop_strings_across_the_borders_of_tokens(pieces: list[str], stops: list[str], shown: list[str]) -> None:
    found = StopStrings(stops)
    assert [found.push(piece) for piece in pieces] == shown


@settings(deadline=None, max_examples=300)
@given(
    pieces=st.lists(st.text("ab", max_size=4), max_size=12),
    stops=st.lists(st.text("ab", min_size=1, max_size=5), max_size=3),
)
def test_stop_strings_equal_a_search_of_the_text_so_far(pieces: list[str], stops: list[str]) -> None:
    """The reference: after each piece, look for the earliest stop in everything so far."""
    expected = ""
    for piece in pieces:
        expected += piece
        places = [place for place in map(expected.find, stops) if place >= 0]
        if places:
            expected = expected[: min(places)]
            break
    found = StopStrings(stops)
    assert "".join(found.push(piece) for piece in pieces) + found.flush() == expected
