"""What is read in a document, and what stands around it.

A document becomes strings, which stay as they are, and passages, which are read as one text each; joined, they make the document again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..sentences import Span


class Line(NamedTuple):
    """What a passage has in one line of the document."""

    before: str
    """Indentation, a list's mark, a quotation's."""
    content: str
    after: str
    """Blanks, and the line's end where the passage goes on."""


@dataclass(frozen=True)
class Passage:
    """Lines, at least one, that are read as one text."""

    lines: tuple[Line, ...]

    @property
    def source(self) -> str:
        """As it stands in the document."""
        return "".join(before + content + after for before, content, after in self.lines)

    @property
    def text(self) -> str:
        """The lines joined, with a space between them where their script has spaces."""
        return self._joined()[0]

    def _joined(self) -> tuple[str, list[int]]:
        """The text, and where in it each line but the last ends."""
        parts, ends, length = [self.lines[0].content], [], len(self.lines[0].content)
        for previous, line in zip(self.lines, self.lines[1:], strict=False):
            ends.append(length)
            parts.append(line.content if unspaced(previous.content[-1:]) and unspaced(line.content[:1]) else f" {line.content}")
            length += len(parts[-1])
        return "".join(parts), ends

    def laid_out(self, written: str, held: Sequence[Span]) -> str:
        """Another text on as many lines, broken in proportion to these; on fewer where it has too few places to break.

        Args:
            held: parts of it that no line may break, in order.
        """
        text, ends = self._joined()
        if _BLOCK.match(written) and not _BLOCK.match(text):
            written = f"\\{written}" if not written[0].isdecimal() else _NUMBER.sub(r"\1\\", written, count=1)
        places = _breaks(written, held)
        cuts: list[Span] = []
        first = 0
        for end in ends:
            wanted = end * len(written) / max(len(text), 1)
            while first + 1 < len(places) and abs(places[first + 1].start - wanted) <= abs(places[first].start - wanted):
                first += 1
            if first >= len(places):
                break
            cuts.append(places[first])
            first += 1
        starts, stops = [0, *(cut.end for cut in cuts)], [*(cut.start for cut in cuts), len(written)]
        afters = [*(line.after for line in self.lines[: len(cuts)]), self.lines[-1].after]
        befores = [line.before for line in self.lines[: len(cuts) + 1]]
        return "".join(
            before + written[start:stop] + after for before, start, stop, after in zip(befores, starts, stops, afters, strict=True)
        )


Part = str | Passage
"""A document's part: what stays as it is, or what is read."""

_BLOCK = re.compile(r"(?:[-+*>#=]|\d{1,9}[.)])(?=\s)")
"""What begins a list or a heading where it is the first of a line."""
_NUMBER = re.compile(r"\A(\d+)")
_BREAK = re.compile(r" +(?=[^\s=|~`])|(?<=\S)(?=\S)")
_UNSPACED = re.compile(r"[\u2e80-\u30ff\u31f0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff9f\U00020000-\U0003ffff]")
_NEVER_FIRST = "。，、；：？！）】》」』”’…—ーっゃゅょッャュョ々"
_NEVER_LAST = "（【《「『“‘"


def unspaced(sign: str) -> bool:
    """Whether a character is of a script without spaces between words (Chinese, Japanese), or of its punctuation."""
    return bool(_UNSPACED.match(sign))


def _breaks(text: str, held: Sequence[Span]) -> list[Span]:
    """Where a line may end: at a space, which goes, or between two signs of a script without spaces."""
    found: list[Span] = []
    within = 0
    for match in _BREAK.finditer(text):
        start, end = match.span()
        while within < len(held) and held[within].end <= start:
            within += 1
        if not start or (within < len(held) and held[within].start < end):
            continue
        if start == end and not (within < len(held) and held[within].start < start):
            before, behind = text[start - 1], text[start]
            if unspaced(before) and unspaced(behind) and before not in _NEVER_LAST and behind not in _NEVER_FIRST:
                found.append(Span(start, end))
        elif start < end and not _BLOCK.match(text, end):
            found.append(Span(start, end))
    return found


@dataclass(frozen=True)
class Layout:
    """One form of documents."""

    parts: Callable[[str], list[Part]]
    """A document → its parts."""
    marks: Callable[[str], list[Span]]
    """A passage's text → the markup in it (emphasis, code, links' targets), in order and apart from each other."""
    read: Callable[[str], str] = str
    """A passage's text → what is read of it: without ways of writing that the form alone has."""


_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")


def split_lines(text: str) -> list[tuple[str, str]]:
    """Each line, and what ends it."""
    return [(match[1], match[2]) for match in _LINE.finditer(text) if match[0]]


def one_line(before: str, rest: str, end: str) -> Line:
    """What is read in `rest`, and the blanks around it with `before` and `end`."""
    content = rest.strip()
    if not content:
        return Line(before + rest, "", end)
    at = rest.index(content)
    return Line(before + rest[:at], content, rest[at + len(content) :] + end)


def matches(pattern: re.Pattern[str]) -> Callable[[str], list[Span]]:
    """What finds a pattern in a text."""
    return lambda text: [Span(*match.span()) for match in pattern.finditer(text)]


class Parts(list[Part]):
    """Collects a document's parts; lines that go on gather until something else comes."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[Line] = []

    def keep(self, text: str) -> None:
        self.close()
        self.append(text)

    def read(self, line: Line, *, goes_on: bool) -> None:
        """A line of a passage: of the one before it, or a new one's first."""
        if not goes_on:
            self.close()
        self._open.append(line)

    def close(self) -> None:
        if self._open:
            self.append(Passage(tuple(self._open)))
            self._open = []

    @property
    def last(self) -> Line | None:
        """The line that a passage may go on from."""
        return self._open[-1] if self._open else None
