"""Tokens as a person reads them: never half a character, whole words where there are spaces."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.explain.words import split_words, sum_by_word, to_words


def by_bytes(*merges: str) -> Tokenizer:
    """A tokenizer whose tokens are bytes, and what the merges join."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [tuple(merge.split(" ")) for merge in merges]
    vocabulary = {text: number for number, text in enumerate([*SPECIAL_TOKENS, *alphabet, *("".join(pair) for pair in pairs)])}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[(a, b) for a, b in pairs]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return Tokenizer(backend)


BYTES = by_bytes()


def labels(tokenizer: Tokenizer, text: str) -> list[str]:
    return [word.label for word in split_words(tokenizer, tokenizer.encode(text))]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("我爱学习编程", ["我", "爱", "学", "习", "编", "程"]),
        ("I don't mind, really.", ["I", "don't", "mind", ",", "really", "."]),
        ("한국어 문장", ["한국어", "문장"]),
        ("これはペンです", ["こ", "れ", "は", "ペ", "ン", "で", "す"]),
        ("我用Python3写", ["我", "用", "Python3", "写"]),
        ("naïve naive\u0308", ["naïve", "naive\u0308"]),
        ("👩‍👩‍👧 👍🏽 🇨🇳🇰🇷", ["👩‍👩‍👧", "👍🏽", "🇨🇳", "🇰🇷"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("a\n\nb", ["a", "⏎", "b"]),
        ("a\u200bb", ["a", "U+200B", "b"]),
        ("end  ", ["end", "␣"]),
        ("", []),
    ],
)
def test_bytes_become_words(text: str, wanted: list[str]) -> None:
    assert labels(BYTES, text) == wanted


def test_a_token_of_several_characters_stays_together() -> None:
    """学习 as one token: its bytes E5 AD A6 E4 B9 A0, in the byte-level alphabet."""
    tokenizer = by_bytes("å Ń", "åŃ ¦", "ä ¹", "ä¹ ł", "åŃ¦ ä¹ł")
    assert labels(tokenizer, "我爱学习编程") == ["我", "爱", "学习", "编", "程"]


def test_a_token_across_a_characters_border_joins_both() -> None:
    """The last byte of 我 (91) and the first of 爱 (E7) as one token: neither character stands alone."""
    tokenizer = by_bytes("ĳ ç")
    assert labels(tokenizer, "我爱学") == ["我爱", "学"]


def test_special_tokens_stand_alone_and_half_characters_are_shown_as_such() -> None:
    end = BYTES.end_of_text
    words = split_words(BYTES, [end, *BYTES.encode("ab"), *BYTES.encode("我")[:2], end])
    assert [(word.label, word.start, word.end, word.special) for word in words] == [
        ("endoftext", 0, 1, True), ("ab", 1, 3, False), ("\ufffd", 3, 5, False), ("endoftext", 5, 6, True),
    ]  # fmt: skip


def test_word_pieces_are_joined() -> None:
    backend = Backend(models.WordPiece({"[UNK]": 0, "play": 1, "##ing": 2, "now": 3}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    assert labels(Tokenizer(backend), "Playing now") == ["playing", "now"]


@given(st.text(max_size=40))
def test_every_token_is_in_one_word_and_the_text_is_whole(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    ids = BYTES.encode(text)
    words = split_words(BYTES, ids)
    assert [place for word in words for place in range(word.start, word.end)] == list(range(len(ids)))
    assert "".join(word.text for word in words) == text
    assert all(word.label for word in words)


def test_to_a_word_is_a_sum_and_from_a_word_a_mean() -> None:
    words = split_words(BYTES, BYTES.encode("ab c"))  # tokens a, b, space, c: two words of two
    weights = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1]])
    torch.testing.assert_close(to_words(weights, words, words), torch.tensor([[1.0, 0.0], [0.15, 0.85]]))
    torch.testing.assert_close(sum_by_word(torch.tensor([1.0, 2, 3, -4]), words), torch.tensor([3.0, -1.0]))
