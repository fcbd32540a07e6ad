"""Filling a gap: what stands before it and after it, as a model reads them to write what stands between (Bavarian et al. 2022,
https://arxiv.org/abs/2207.14255).

Models that Lodestar trains read the suffix first, then the prefix, which the middle follows without a mark between ("SPM"): what a model
knows of going on from a text serves it at once. Others read prefix, suffix, middle, as they were trained to.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from ..contracts.randomness import generator
from ..contracts.tokenizer import Tokenizer

FILL_TOKENS = ("<|gap_suffix|>", "<|gap_prefix|>")
"""The marks of a tokenizer that Lodestar trains: before what follows the gap, and before what it follows."""
_PREFIX_FIRST = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen's coders, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek Coder
)
LINES_AT_MOST = 5
"""Of a gap of whole lines."""


class FillMarks(NamedTuple):
    """The special tokens before each part, as ids; without one before the middle, the suffix is read first."""

    prefix: int
    suffix: int
    middle: int | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> FillMarks | None:
        """Those of a tokenizer; None where it has none."""
        suffix, prefix = (tokenizer.backend.token_to_id(name) for name in FILL_TOKENS)
        if suffix is not None and prefix is not None:
            return cls(prefix, suffix)
        for names in _PREFIX_FIRST:
            found = [token for name in names if (token := tokenizer.backend.token_to_id(name)) is not None]
            if len(found) == len(names):
                return cls(*found)
        return None

    def prompt(self, before: list[int], after: list[int]) -> list[int]:
        """What the middle is written after, without the mark that begins a text."""
        if self.middle is None:
            return [self.suffix, *after, self.prefix, *before]
        return [self.prefix, *before, self.suffix, *after, self.middle]


class Gap(NamedTuple):
    """A text in three parts."""

    before: str
    middle: str
    after: str


def draw_gap(text: str, *purpose: str | int) -> Gap:
    """A gap anywhere (half of the time), or of up to five whole lines; never an empty one in a text that has two characters."""
    random = generator(0, "gap", *purpose, text)
    lines = text.splitlines(keepends=True)
    if random.random() < 0.5 or len(lines) < 2:
        begin, end = sorted(random.choice(len(text) + 1, 2, replace=False).tolist()) if text else (0, 0)
        return Gap(text[:begin], text[begin:end], text[end:])
    first = int(random.integers(len(lines)))
    behind = min(len(lines), first + 1 + int(random.integers(LINES_AT_MOST)))
    return Gap("".join(lines[:first]), "".join(lines[first:behind]), "".join(lines[behind:]))


def near_gap(tokenizer: Tokenizer, marks: FillMarks, before: str, after: str, room: int) -> list[int]:
    """What is read to fill a gap, in at most `room` tokens (6 or more): what stands near it, as much on one side as on the other, or
    more where there is less on the other.
    """
    ahead, behind = tokenizer.encode(before), tokenizer.encode(after)
    free = max(2, room - 1 - len(marks.prompt([], [])))  # beside the mark that begins a text, and those of the gap
    following = min(len(behind), max(free // 2, free - len(ahead)))
    return [tokenizer.opening, *marks.prompt(ahead[-(free - following) :], behind[:following])]


def rows_with_gaps(text: str, tokenizer: Tokenizer, marks: FillMarks, context: int, share: float) -> Iterator[list[int]]:
    """A document as rows: windows of whole lines that fit the context; some with a gap that is filled at the end, the others as they are,
    neighbours together.

    Args:
        share: of the windows that get a gap. The draw follows from the text alone.
    """
    windows = list(_windows(text, tokenizer, context))
    random = generator(0, "gaps", text)
    gapped = [len(window) > 1 and draw < share for window, draw in zip(windows, random.random(len(windows)), strict=True)]
    done = 0
    for with_gap, run in groupby(zip(windows, gapped, strict=True), key=lambda pair: pair[1]):
        texts = [window for window, _ in run]
        done += len(texts)
        if with_gap:
            for number, window in enumerate(texts):
                gap = draw_gap(window, done - len(texts) + number)
                read = marks.prompt(tokenizer.encode(gap.before), tokenizer.encode(gap.after))
                yield [tokenizer.opening, *read, *tokenizer.encode(gap.middle), tokenizer.end_of_text]
        else:
            # Only the document's own end is one that the model should write.
            end = [tokenizer.end_of_text] if done == len(windows) else []
            yield [tokenizer.opening, *tokenizer.encode("".join(texts)), *end]


def _windows(text: str, tokenizer: Tokenizer, context: int) -> Iterator[str]:
    """Whole lines, as many as should fit half of the context, by the text's characters a token: rows are cut from a stream of all, and the
    parts of a window as long as they would seldom stand in one.
    """
    room = max(1, context // 2 - 6) * len(text) / max(1, len(tokenizer.encode(text)))
    window = ""
    for line in text.splitlines(keepends=True):
        if window and len(window) + len(line) > room:
            yield window
            window = ""
        window += line
    yield window
