"""Blocks of text → passages: whole sentences, as many as a person takes in at a glance and an encoder reads at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from ...build.sentences import sentence_spans
from ...store.passages import Passage
from .reading import Block

WIDTH = 480
"""Columns of a passage at most, a Chinese character counting two: 80 English words, or 240 characters. A longer sentence is cut."""


class _Piece(NamedTuple):
    """A sentence, or a part of a long one, without the blanks around it."""

    text: str
    page: int | None
    first_line: int
    last_line: int
    glued: bool
    """Whether it stands right behind the one before it, as Chinese sentences do."""


def cut(file: str, blocks: Sequence[Block]) -> list[Passage]:
    """The passages of a file: they hold its text in its order, leave nothing out but blanks, and never cross a page."""
    passages: list[Passage] = []
    held: list[_Piece] = []
    width = 0
    for piece in _pieces(blocks):
        wide = width_of(piece.text)
        if held and (width + wide > WIDTH or piece.page != held[-1].page):
            passages.append(_passage(file, held))
            held, width = [], 0
        held.append(piece)
        width += wide
    return [*passages, _passage(file, held)] if held else passages


def _passage(file: str, pieces: Sequence[_Piece]) -> Passage:
    """Pieces as one text, which has as many line ends as there are lines, so that a place in it tells its line (`line_of`)."""
    texts = [pieces[0].text]
    for before, piece in pairwise(pieces):
        texts += ["\n" * (piece.first_line - before.last_line) or ("" if piece.glued else " "), piece.text]
    return Passage(file, pieces[0].page, pieces[0].first_line, pieces[-1].last_line, _tidy("".join(texts)))


def line_of(passage: Passage, place: int) -> int:
    """The line that a character of a passage stands in."""
    return passage.first_line + passage.text.count("\n", 0, place)


def _pieces(blocks: Sequence[Block]) -> Iterator[_Piece]:
    for block in blocks:
        line, blank = block.line, True
        for start, end in sentence_spans(block.text):
            for text in _within(block.text[start:end]):
                body = text.strip()
                if body:
                    first = line + text.count("\n", 0, len(text) - len(text.lstrip()))
                    yield _Piece(body, block.page, first, first + body.count("\n"), not (blank or text[0].isspace()))
                blank = text[-1].isspace() or (blank and not body)
                line += text.count("\n")


def _within(sentence: str) -> Iterator[str]:
    """A sentence in parts of at most `WIDTH`, cut at blanks or commas where there are some: a table may have no full stop at all."""
    start = 0
    while start < len(sentence):
        end, width, good = start, 0, 0
        while end < len(sentence) and width <= WIDTH:
            width += _columns(sentence[end])
            end += 1
            if sentence[end - 1] in " \n\t,;，、；":
                good = end
        if width <= WIDTH:
            yield sentence[start:]
            return
        end = good if good > start else end - 1
        yield sentence[start:end]
        start = end


def width_of(text: str) -> int:
    """The columns that a text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(sign: str) -> int:
    return 1 if sign.isascii() else 2 if unicodedata.east_asian_width(sign) in "WF" else 0 if unicodedata.combining(sign) else 1


def _tidy(text: str) -> str:
    """Without the blanks that only set the page; every line end stays, so that lines can be counted."""
    return re.sub(r" ?\n ?", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
