"""Markdown: CommonMark, with GitHub's tables, task lists and strikethrough, footnotes and formulas."""

from __future__ import annotations

import re

from ..sentences import Span
from .passage import Layout, Line, Part, Parts, Passage, one_line, split_lines

_CONTAINERS = r"(?:[ \t]*(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t])))*[ \t]*"
_PREFIX = re.compile(_CONTAINERS + r"(?:\[[ xX]\][ \t]+)?(?:#{1,6}[ \t]+|\[\^[^\]\s]+\]:[ \t]+)?")
_QUOTES = re.compile(r"(?:[ \t]*>)*")
_FENCE = re.compile(_CONTAINERS + r"(`{3,}|~{3,}|\$\$)(.*)")
_RULE = re.compile(r"[ \t>]*(?:(?:-[ \t]*)+|(?:\*[ \t]*)+|(?:_[ \t]*)+|=+[ \t]*|\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*)")
_DELIMITERS = re.compile(r"[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_DEFINITION = re.compile(r" {0,3}\[(?!\^)[^\]]+\]:[ \t]*\S")
_PIPE = re.compile(r"((?<!\\)\|)")
_ITEM = re.compile(r"([ \t>]*)([-+*]|\d{1,9}[.)])([ \t]+)")
_BLOCKS = (
    "address|article|aside|blockquote|body|center|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|"
    "html|iframe|legend|li|link|main|menu|nav|ol|p|section|summary|table|tbody|td|tfoot|th|thead|title|tr|ul"
)
_RAW = re.compile(rf" {{0,3}}<(?:(script|pre|style|textarea)\b|(!--)|/?(?:{_BLOCKS})\b)", re.IGNORECASE)


def _markdown(text: str) -> list[Part]:
    lines = split_lines(text)
    parts = Parts()
    number = _front_matter(lines, parts)
    offset, blank, in_table = 0, True, False
    while number < len(lines):
        rest, end = lines[number]
        number += 1
        taken = _verbatim(lines, number - 1, offset, blank)
        if taken > number - 1:
            parts.keep("".join(line + stop for line, stop in lines[number - 1 : taken]))
            number, blank, in_table = taken, False, False
            continue
        item = _ITEM.match(rest)
        if item:
            offset = len(item[0].expandtabs(4))
        elif blank and rest.strip() and not rest[:1].isspace():
            offset = 0
        blank = not rest.strip(" \t>")
        if blank or _RULE.fullmatch(rest) or _DEFINITION.match(rest):
            parts.keep(rest + end)
            in_table = in_table and not blank
            continue
        in_table = "|" in rest and (
            in_table or (number < len(lines) and "|" in lines[number][0] and bool(_DELIMITERS.fullmatch(lines[number][0])))
        )
        before = _prefix(rest)
        line = one_line(before, rest[len(before) :], end)
        if in_table:
            _read_cells(parts, line)
        elif not line.content:
            parts.keep(rest + end)
        else:
            _read_line(parts, line)
    parts.close()
    return parts


def _front_matter(lines: list[tuple[str, str]], parts: Parts) -> int:
    """Keep the settings at a document's beginning; returns the number of the line behind them."""
    if not lines or lines[0][0].rstrip() not in ("---", "+++"):
        return 0
    for number in range(1, len(lines)):
        if lines[number][0].rstrip() == lines[0][0].rstrip():
            parts.keep("".join(line + stop for line, stop in lines[: number + 1]))
            return number + 1
    return 0


def _verbatim(lines: list[tuple[str, str]], first: int, offset: int, blank: bool) -> int:
    """The line behind the code, the formula or the HTML that begins in line `first`; `first` itself where none does."""
    rest = lines[first][0]
    fence = _FENCE.match(rest)
    if fence and not (fence[1].startswith("`") and "`" in fence[2]):
        if fence[1] == "$$" and fence[2].rstrip().endswith("$$"):
            return first + 1
        for number in range(first + 1, len(lines)):
            inside = _QUOTES.sub("", lines[number][0], count=1).strip()
            if inside.startswith(fence[1]) and not inside.strip(fence[1][0]):
                return number + 1
        return len(lines)
    if blank and rest.strip() and _indent(rest) >= offset + 4:
        last = number = first + 1
        while number < len(lines) and (not lines[number][0].strip() or _indent(lines[number][0]) >= offset + 4):
            number += 1
            last = number if lines[number - 1][0].strip() else last
        return last
    raw = _RAW.match(rest)
    if raw is None:
        return first
    close = f"</{raw[1].lower()}" if raw[1] else "-->" if raw[2] else None
    for number in range(first, len(lines)):
        if close is None and not lines[number][0].strip():
            return number
        if close is not None and close in lines[number][0].lower():
            return number + 1
    return len(lines)


def _indent(line: str) -> int:
    spread = line.expandtabs(4)
    return len(spread) - len(spread.lstrip(" "))


def _prefix(rest: str) -> str:
    found = _PREFIX.match(rest)
    return found[0] if found else ""


def _read_line(parts: Parts, line: Line) -> None:
    last = parts.last
    goes_on = (
        last is not None
        and not line.before.strip(" \t>")
        and line.before.count(">") == last.before.count(">")
        and "#" not in last.before
        and not last.after.startswith("  ")
        and not last.content.endswith("\\")
    )
    content, after = line.content, line.after
    if "#" in line.before:  # a heading may be closed by such signs, too
        bare = content.rstrip("#").rstrip(" \t")
        if bare and bare != content and content[len(bare)] in " \t":
            content, after = bare, content[len(bare) :] + after
    parts.read(Line(line.before, content, after), goes_on=goes_on)


def _read_cells(parts: Parts, line: Line) -> None:
    parts.keep(line.before)
    for cell in _PIPE.split(line.content):
        if cell == "|" or not cell.strip():
            parts.append(cell)
        else:
            parts.append(Passage((one_line("", cell, ""),)))
    parts.append(line.after)


_TICKS = re.compile(r"(?<!\\)`+")
_INLINE = re.compile(
    r"\\[!-/:-@\[-`{-~]"  # an escaped sign
    r"|<(?:[A-Za-z/!][^<>]{0,300})>"  # a tag, or an address
    r"|\*{1,3}|(?<!\w)_{1,3}(?=\w)|(?<=[^\s_])_{1,3}(?!\w)|~~"  # emphasis
    r"|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});"
    r"|\[\^[^\]\s]{1,60}\]"  # a footnote's number
    r"|(?P<open>!?\[)|(?P<close>\](?:\((?:[^()\s<>]|\([^()\s]{0,200}\)){0,500}(?:\s{1,3}(?:\"[^\"]{0,300}\"|'[^']{0,300}'))?\)|\[[^\[\]]{0,200}\])?)"
    r"|\$(?=\S)[^$\n]{1,300}(?<=\S)\$(?!\d)"  # a formula
)


def _markdown_marks(text: str) -> list[Span]:
    code = _code_spans(text)
    found: list[Span] = []
    opened: list[Span] = []
    place = 0
    for span in [*code, Span(len(text), len(text))]:
        for match in _INLINE.finditer(text, place, span.start):
            if match["open"]:
                opened.append(Span(*match.span()))
            elif match["close"]:
                # Brackets that link nowhere are the text's own.
                link = opened.pop() if opened else None
                if link is not None and len(match["close"]) > 1:
                    found += [link, Span(*match.span())]
            else:
                found.append(Span(*match.span()))
        place = span.end
    return sorted([*found, *code])


def _code_spans(text: str) -> list[Span]:
    """Runs of backticks and what stands between two of one length."""
    runs = [Span(*match.span()) for match in _TICKS.finditer(text)]
    of_length: dict[int, list[int]] = {}
    for number in range(len(runs) - 1, -1, -1):
        of_length.setdefault(runs[number].end - runs[number].start, []).append(number)
    found: list[Span] = []
    number = 0
    for at, run in enumerate(runs):
        if at < number:
            continue
        same = of_length[run.end - run.start]
        while same and same[-1] <= at:
            same.pop()
        if same:
            number = same[-1] + 1
            found.append(Span(run.start, runs[same[-1]].end))
    return found


MARKDOWN = Layout(_markdown, _markdown_marks)
