"""From tokens to what a person reads: whole characters always, whole words where the writing has spaces between them.

A byte-level token may be a third of a Chinese character. Tokens are joined until their bytes are whole characters, and those until a
word ends: at a space in writing that has them; at each token in Chinese, Japanese, Thai and their like, whose words nothing marks (a token
of several characters stays together).

Attention *to* a word is the sum over its tokens, attention *from* a word their mean, so that rows still sum to one (Clark et al. 2019,
https://arxiv.org/abs/1906.04341, section 4.1). What a word adds to an answer is the sum of what its tokens add.

Axes: T, S tokens, N, M words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..contracts.tokenizer import Tokenizer

_UNSPACED = (
    (0x0E00, 0x0EFF), (0x0F00, 0x109F), (0x1780, 0x17FF),  # Thai, Lao; Tibetan, Burmese; Khmer
    (0x2E80, 0x312F), (0x31A0, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF),  # Han and kana
)  # fmt: skip
"""Scripts without spaces between words."""
_REPLACEMENT, _JOINER = "\ufffd", "\u200d"
_MARKS = {"\n": "⏎", "\r": "⏎", "\t": "⇥", " ": "␣", "\u3000": "␣"}


@dataclass(frozen=True)
class Word:
    """Tokens that are shown as one."""

    text: str
    """As it was written, spaces around it included."""
    start: int
    end: int
    """The tokens start:end."""
    special: bool = False
    """A mark of the tokenizer, not of the text."""

    @property
    def label(self) -> str:
        """The same to be looked at: no spaces or brackets around it, and a sign for what cannot be seen."""
        if self.special:
            return self.text.strip("<|>[]") or self.text
        text = self.text.strip() or ("\n" if "\n" in self.text else self.text[:1])
        return "".join(_MARKS.get(one) or (f"U+{ord(one):04X}" if _is_invisible(one) else one) for one in text)


def split_words(tokenizer: Tokenizer, ids: Sequence[int]) -> list[Word]:
    """Every token of `ids` in exactly one word, in order."""
    words: list[Word] = []
    for piece in _characters(tokenizer, ids):
        last = words[-1] if words else None
        if last is None or last.special or piece.special or not _joins(last.text, piece.text):
            words.append(piece)
        else:
            words[-1] = Word(last.text + piece.text, last.start, piece.end)
    return words


def _characters(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[Word]:
    """The fewest tokens each that are whole characters."""
    marks = {one: token.content for one, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    run, start, shown = 0, 0, ""  # where the text without marks began, the pending piece, and what of the text is out
    for place, one in enumerate(ids):
        if one in marks:
            if start < place:
                yield Word(_REPLACEMENT, start, place)
            yield Word(marks[one], place, place + 1, special=True)
            run = start = place + 1
            shown = ""
            continue
        text = tokenizer.decode(ids[run : place + 1])
        if text.endswith(_REPLACEMENT) or len(text) <= len(shown):
            continue  # half a character, or a token that is none alone
        yield Word(text[len(shown) :], start, place + 1)
        start, shown = place + 1, text
    if start < len(ids):
        yield Word(tokenizer.decode(ids[run:])[len(shown) :] or _REPLACEMENT, start, len(ids))


def _joins(before: str, after: str) -> bool:
    """Whether no word ends between the two."""
    last, first = before[-1], after[0]
    if unicodedata.category(first).startswith("M") or _JOINER in (first, last) or "\U0001f3fb" <= first <= "\U0001f3ff":
        return True  # accents, and emoji of several parts
    if all("\U0001f1e6" <= one <= "\U0001f1ff" for one in (first, last)):
        return len(before.strip()) % 2 == 1  # two letters make a flag
    if before.isspace():
        return first.isspace() or "\n" not in before  # the space before a word is its own; the end of a line is nobody's
    return _in_word(last) and _in_word(first)


def _in_word(character: str) -> bool:
    code = ord(character)
    return (character.isalnum() or character in "_'’") and not any(low <= code <= high for low, high in _UNSPACED)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character != _JOINER


def to_words(weights: Tensor, rows: Sequence[Word], columns: Sequence[Word]) -> Tensor:
    """Weights (…, T, S) between tokens → (…, N, M) between words: the mean over a row's tokens, the sum over a column's."""
    averaging_NT = _membership(rows, weights) / torch.tensor([[word.end - word.start] for word in rows])
    return averaging_NT.to(weights) @ weights @ _membership(columns, weights).to(weights).mT


def sum_by_word(values_T: Tensor, words: Sequence[Word]) -> Tensor:
    """(T,) → (N,)."""
    return torch.stack([values_T[word.start : word.end].sum() for word in words])


def _membership(words: Sequence[Word], like: Tensor) -> Tensor:
    """(N, T): 1 where a token is of a word."""
    table = torch.zeros(len(words), words[-1].end if words else 0, dtype=like.dtype, device=like.device)
    for number, word in enumerate(words):
        table[number, word.start : word.end] = 1
    return table


def width_of(text: str) -> int:
    """Columns of a text in fixed width, of which a Chinese character takes two, and an accent none."""
    return sum(0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
