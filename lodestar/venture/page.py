"""Building blocks of the pages that the team reads: self-contained HTML, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from ..contracts.language import language, say

STAR = (
    '<svg viewBox="0 0 24 24" fill="#c8962e" aria-hidden="true"><path d="M12 0l2.4 9.6L24 12l-9.6 2.4L12 24l-2.4-9.6L0 12l9.6-2.4z"/></svg>'
)

SKY = (
    '<svg viewBox="0 0 400 140" preserveAspectRatio="xMaxYMid slice" aria-hidden="true">'
    '<g fill="none" stroke="#8fa5e0" stroke-opacity=".35" stroke-width="1">'
    '<path d="M70 118l52-22 40 12 44-34 22-34M206 74l62-8 52-34"/></g><g fill="#fff">'
    + "".join(
        f'<circle cx="{x}" cy="{y}" r="{r}" opacity="{o}"/>'
        for x, y, r, o in [
            (70, 118, 2, 0.7), (122, 96, 2.2, 0.8), (162, 108, 1.8, 0.7), (206, 74, 2.4, 0.9), (228, 40, 2, 0.8), (268, 66, 2, 0.8),
            (40, 40, 1, 0.4), (100, 30, 1.2, 0.5), (150, 52, 0.9, 0.4), (182, 18, 1.2, 0.5), (300, 112, 1.3, 0.5), (356, 92, 1, 0.4),
            (252, 16, 1, 0.4), (382, 22, 1.4, 0.5), (338, 128, 1, 0.4), (246, 122, 1, 0.4),
        ]
    )
    + '</g><path fill="#f3c969" d="M320 14l3.4 14.6L338 32l-14.6 3.4L320 50l-3.4-14.6L302 32l14.6-3.4z"/></svg>'
)  # fmt: skip


def document(title: str, kind: str, day: str, body: Iterable[str], closing: str, *, sheet: str | None = None) -> str:
    """A whole page.

    Args:
        title: of the window; plain text, as are `kind` (what the page is), `day` and `closing` (the last line).
        body: HTML.
        sheet: a style sheet of this folder beside the common one.
    """
    css = "".join(Path(__file__).with_name(name).read_text("utf-8") for name in ("page.css", sheet) if name)
    lang = "zh-CN" if language() == "zh" else "en"
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        f'<header class="top"><span class="mark">{STAR}{escape(kind)}</span><time>{escape(day)}</time></header>\n'
        + "\n".join(body)
        + f"\n<footer><span>{escape(closing)}</span><span>{say('Made with Lodestar', '由北极星 Lodestar 生成')}</span></footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def section(heading: str, inner: str) -> str:
    """A heading with what stands under it (HTML); nothing where that is empty."""
    return f"<section><h2>{escape(heading)}</h2>{inner}</section>" if inner else ""


def bullets(items: Sequence[str], style: str = "") -> str:
    """A list of plain texts."""
    return f'<ul class="{style}">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>' if items else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, both plain; a pair without a value is left out."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs if value)
    return f"<dl>{rows}</dl>" if rows else ""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], styles: Sequence[str] | None = None) -> str:
    """A table; the cells are HTML. On a narrow screen each row becomes a card whose lines carry the headings."""
    styles = styles or [""] * len(headings)
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        "<tr>" + "".join(_cell(*parts, first=not number) for number, parts in enumerate(zip(headings, styles, row, strict=True))) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(heading: str, style: str, inner: str, *, first: bool) -> str:
    """A card begins with its first cell, which needs no heading."""
    label = f' data-label="{escape(heading)}"' if heading and not first else ""
    return f'<td class="{style}"{label}>{inner}</td>'


def next_step(command: str, why: str) -> str:
    """The command to run now, and why, both plain."""
    return f'<p class="next"><code>{escape(command)}</code> {escape(why)}</p>'


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
    """Big figures with what they are, both plain."""
    inner = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in pairs)
    return f'<div class="tiles">{inner}</div>'
