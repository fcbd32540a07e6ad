"""A card's Markdown as HTML, in which what stands in it is never markup of its own."""

from __future__ import annotations

from html import escape

from ..contracts.language import say

FIRST_LEVEL = 2
"""By how much a card's headings are lowered, below those of the page."""


def markdown_html(text: str) -> str:
    """CommonMark with tables; as it was written where the library is missing, with how to get it."""
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        told = say(
            "Shown as it was written: pip install 'lodestar[studio]' lays it out.",
            "以原文显示；安装 'lodestar[studio]' 即可排版：pip install 'lodestar[studio]'。",
        )
        return f'<p class="legend">{escape(told)}</p><pre class="sheet">{escape(text)}</pre>'
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + FIRST_LEVEL)}"
    return str(parser.renderer.render(tokens, parser.options, {}))
