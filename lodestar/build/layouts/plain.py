"""Plain text: paragraphs, lists and columns."""

from __future__ import annotations

import re

from .passage import Layout, Line, Part, Parts, Passage, one_line, split_lines, unspaced

_BULLET = re.compile(r"[ \t]*(?:(?:[-+*•·–>]|\(?\d{1,3}[.)、]|\(?[a-zA-Z]\))[ \t]+)?")
_CELLS = re.compile(r"(\t+| {3,})")
_WRAPPED = 50
"""A line of so many columns that ends in no full stop was wrapped, and goes on in the next one."""


def _plain(text: str) -> list[Part]:
    parts = Parts()
    for rest, end in split_lines(text):
        bullet = _BULLET.match(rest)
        before = bullet[0] if bullet else ""
        line = one_line(before, rest[len(before) :], end)
        if not line.content:
            parts.keep(rest + end)
        elif _CELLS.search(line.content):
            parts.keep(line.before)
            for cell in _CELLS.split(line.content):
                parts.append(cell if not cell.strip() else Passage((Line("", cell, ""),)))
            parts.append(line.after)
        else:
            last = parts.last
            same = last is not None and not line.before.strip() and len(line.before) >= len(last.before) - len(last.before.strip())
            parts.read(line, goes_on=same and last is not None and _wrapped(last.content))
    parts.close()
    return parts


def _wrapped(content: str) -> bool:
    columns = sum(2 if unspaced(sign) else 1 for sign in content)
    return columns >= _WRAPPED and content[-1] not in ".!?…:;。！？：；”\"'」』"


PLAIN = Layout(_plain, lambda _: [])
