"""Subtitles: SubRip and WebVTT."""

from __future__ import annotations

import re

from .passage import Layout, Part, Parts, matches, one_line, split_lines

_TIMING = re.compile(r"\s*(?:\d+:)?\d+:\d+[.,]\d+\s+-->\s+(?:\d+:)?\d+:\d+[.,]\d+.*")
_SPEAKER = re.compile(r"[ \t]*(?:[-–—][ \t]*)?")


def _subtitles(text: str) -> list[Part]:
    """The text of each cue is a passage, of each speaker in it another; numbers, times, notes and styles stay."""
    parts = Parts()
    speaks = False
    for rest, end in split_lines(text):
        timing = bool(_TIMING.fullmatch(rest))
        speaks = timing or (speaks and bool(rest.strip()))
        if timing or not speaks:
            parts.keep(rest + end)
            continue
        found = _SPEAKER.match(rest)
        before = found[0] if found else ""
        line = one_line(before, rest[len(before) :], end)
        parts.read(line, goes_on=parts.last is not None and not before.strip())
    parts.close()
    return parts


SUBTITLES = Layout(_subtitles, matches(re.compile(r"<[^<>\n]{1,200}>|\{\\[^{}\n]{1,200}\}")))
