"""HTML: what is read are runs of text and of tags within a line.

The tokens are found here and not by the standard library's parser, which takes time by the square of a page that opens many tags and
closes none (Python 3.11: 14 s for 20,000 characters), and pages come from anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Literal, NamedTuple

from .passage import Layout, Part, Parts, matches, one_line, split_lines


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_INLINE_TAGS = _words(
    "a abbr acronym b bdi bdo big cite data del dfn em font i img ins label mark q rp rt ruby s small span strong sub sup time tt u wbr"
)
_KEPT_TAGS = _words("script style pre code kbd samp var textarea svg math template noscript object iframe canvas head")
_INLINE_KEPT = _words("code kbd samp var")
_VOID = _words("area base br col embed hr img input link meta param source track wbr")
_RAW = _words("script style textarea title")
_MARK = re.compile(
    r"<(code|kbd|samp|var)\b[^<>]{0,1000}>[^<]{0,2000}</\1\s*>|<(\w+)\b[^<>]{0,500}\btranslate=[\"']?no\b[^<>]{0,500}>[^<]{0,2000}</\2\s*>"
    r"|<!--.{0,1000}?-->|<[A-Za-z/!?][^<>]{0,2000}>|&(?:lt|gt|amp|nbsp|#160|#xa0);|[<>]", re.DOTALL | re.IGNORECASE
)  # fmt: skip


class _Token(NamedTuple):
    kind: Literal["text", "start", "end", "kept"]
    raw: str
    tag: str = ""
    """In small letters."""
    kept: bool = False
    """Whether the author says that the element is not to be translated."""


_TAG = re.compile(r"<(/?)([A-Za-z][^\s/<>]{0,60})((?:[^<>\"']++|\"[^\"]*+\"|'[^']*+')*+)>")
_UNTRANSLATED = re.compile(r"\btranslate\s*=\s*[\"']?no\b|\bclass\s*=\s*[\"'][^\"']*\bnotranslate\b", re.IGNORECASE)


def _tokens(text: str) -> Iterator[_Token]:
    """What a page is made of; joined, the page."""
    lowered = text.lower() if len(text.lower()) == len(text) else text
    place = begin = 0
    comments = True  # whether another comment is closed at all
    while (found := text.find("<", place)) >= 0:
        token = None
        if comments and text.startswith("<!--", found):
            end = text.find("-->", found + 4)
            comments = end >= 0
            token = _Token("kept", text[found : end + 3]) if comments else None
        elif tag := _TAG.match(text, found):
            closes, name, attributes = tag.groups()
            token = _Token("end" if closes else "start", tag[0], name.lower(), bool(_UNTRANSLATED.search(attributes)))
        elif declared := _DECLARATION.match(text, found):
            token = _Token("kept", declared[0])
        place = found + 1
        if token is None:
            continue
        if begin < found:
            yield _Token("text", text[begin:found])
        yield token
        place = begin = found + len(token.raw)
        if token.kind == "start" and token.tag in _RAW:
            end = lowered.find(f"</{token.tag}", place)
            place = len(text) if end < 0 else end
            if begin < place:
                yield _Token("text", text[begin:place])
            begin = place
    if begin < len(text):
        yield _Token("text", text[begin:])


_DECLARATION = re.compile(r"<[!?][^<>]*>")


def _html(text: str) -> list[Part]:
    """Elements that hold no prose, or say translate="no", stay."""
    parts = Parts()
    run: list[str] = []
    within: list[str] = []  # of an element that stays: its name, and those of its name inside
    inline = False
    for kind, raw, tag, kept in _tokens(text):
        if within:
            if tag == within[0]:
                within = [*within, tag] if kind == "start" else within[:-1]
            if inline:
                run.append(raw)
            else:
                parts.keep(raw)
        elif kind == "start" and (kept or tag in _KEPT_TAGS) and tag not in _VOID:
            within, inline = [tag], tag in _INLINE_TAGS or tag in _INLINE_KEPT
            if not inline:
                _close_run(parts, run)
            (run.append if inline else parts.keep)(raw)
        elif kind == "text" or tag in _INLINE_TAGS or raw.startswith("<!--"):
            run.append(raw)
        else:
            _close_run(parts, run)
            parts.keep(raw)
    _close_run(parts, run)
    return parts


_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});")


def _without_entities(text: str) -> str:
    """Letters and quotes as themselves; what would be taken for markup, or for nothing, stays spelt out."""
    return _ENTITY.sub(lambda match: match[0] if (sign := unescape(match[0])) in "<>&\u00a0" or sign.isspace() else sign, text)


def _close_run(parts: Parts, run: list[str]) -> None:
    for rest, end in split_lines("".join(run)):
        line = one_line("", rest, end)
        if not line.content:
            parts.keep(rest + end)
        else:
            parts.read(line, goes_on=parts.last is not None)
    parts.close()
    run.clear()


HTML = Layout(_html, matches(_MARK), _without_entities)
