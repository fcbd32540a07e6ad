"""A question and a text as rows: one, or windows that overlap where the text is longer than the context.

A row reads the marks of the tokenizer, the question and a window of the text: `[CLS] question [SEP] window [SEP]`. Its first token stands
for "no answer here". After Devlin et al. 2019, https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3. Without torch, as preparing data is.

Axes: N tokens of a window's text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..contracts.errors import UserError
from ..contracts.text import WORD
from ..contracts.tokenizer import Tokenizer

OVERLAP = 128
"""Tokens that a window shares with the one before it, where it is at least twice as long."""
QUESTION, TEXT, ASKED = range(3)
"""Token types: of the question, of the text, and of words of the text that stand in the question, too. The third is the exact-match
feature of Chen et al. 2017, https://arxiv.org/abs/1704.00051; a model with two types reads it as the second."""
LEAST_ROOM = 8
"""Tokens of text that a row must hold beside the question."""


@dataclass(frozen=True)
class Window:
    """One row: a question, and as much of a text as fits beside it."""

    tokens: list[int]
    token_types: list[int]
    first: int
    """Where the text's tokens begin in the row."""
    offsets: Sequence[tuple[int, int]]
    """The characters of the text that each of its tokens stands for (N,)."""

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The tokens of the row that hold the first and the last of the characters start to end; (0, 0) where the window lacks some."""
        if not self.offsets or start < self.offsets[0][0] or end > self.offsets[-1][1]:
            return 0, 0
        first = bisect_right(self.offsets, start, key=lambda offset: offset[1])
        last = bisect_left(self.offsets, end, key=lambda offset: offset[0]) - 1
        return (self.first + first, self.first + last) if first <= last else (0, 0)


def windows(tokenizer: Tokenizer, question: str, context: str, longest: int | None, overlap: int = OVERLAP) -> list[Window]:
    """The rows that read a text for a question: one, or several of at most `longest` tokens that overlap.

    Args:
        longest: None where a row may be of any length.
        overlap: tokens that a window shares with the one before it, and at most half of it.

    Raises:
        UserError: the question leaves less than `LEAST_ROOM` tokens for the text.
    """
    asked, marks = tokenizer.encode(question), tokenizer.pair_marks
    text, offsets = tokenizer.encode_with_offsets(context)
    room = len(text)
    if longest is not None and (room := room_beside(question, tokenizer, longest)) < LEAST_ROOM:
        what = f"the question has {len(asked)} tokens, and beside a text the model reads at most {len(asked) + room - LEAST_ROOM}"
        raise UserError(what, where="question", fix="shorten it, or give a model of a longer context")
    before = [*marks.before, *asked, *marks.between]
    types = _types(question, context, offsets)
    step = room - min(overlap, room // 2)
    # The last window begins where the one before it does not reach the end.
    starts = range(0, max(len(text) - room + step, 1), max(step, 1))
    return [
        Window(
            [*before, *text[at : at + room], *marks.after],
            [*[QUESTION] * len(before), *types[at : at + room], *[TEXT] * len(marks.after)],
            len(before),
            offsets[at : at + room],
        )
        for at in starts
    ]


def room_beside(question: str, tokenizer: Tokenizer, longest: int) -> int:
    """How many tokens of text a row of `longest` tokens holds beside the question; below `LEAST_ROOM`, it cannot be asked."""
    return longest - len(tokenizer.encode(question)) - sum(map(len, tokenizer.pair_marks))


def _types(question: str, context: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """`ASKED` for the tokens of a text whose words all stand in the question, else (and for those without a word) `TEXT`."""
    words = {found.group() for found in WORD.finditer(question.lower())}
    # Of each character: whether it is of a word, and of one that is asked for.
    marked = bytearray(len(context)), bytearray(len(context))
    for found in WORD.finditer(context):
        start, end = found.span()
        for marks in marked[: 1 + (found.group().lower() in words)]:
            marks[start:end] = b"\1" * (end - start)
    # How many stand before each place.
    before = np.array([np.r_[0, np.frombuffer(marks, np.uint8).cumsum(dtype=np.int64)] for marks in marked])
    starts_N, ends_N = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    in_words, in_asked = before[:, ends_N] - before[:, starts_N]
    return np.where((in_words > 0) & (in_words == in_asked), ASKED, TEXT).tolist()
