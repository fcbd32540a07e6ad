"""Ventures to look at: those of the venture's own tests, and a parser that refuses what no view may hold."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from tests.venture.conftest import make_decision, make_venture, metrics, score, venture, write_runs

__all__ = ["make_decision", "make_venture", "metrics", "score", "venture", "write_runs"]

HOSTILE = """<script>alert(1)</script>'"&amp;"""
VOID = {"input", "br", "hr"}


class View(HTMLParser):
    """A view's visible text; fails on a tag that is not closed in its order, on a script, and on what is loaded from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.stack, self.text = html, list[str](), list[str]()
        self.pictures: list[str] = []
        """The title of each drawing."""
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "style", "link", "iframe", "img"}
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in {"src", "href"} or (value or "").startswith("?")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack[-2:] == ["svg", "title"]:
            self.pictures.append(data)
        elif data.strip():
            self.text.append(data.strip())

    def __contains__(self, words: str) -> bool:
        return words in " ".join(self.text)


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LODESTAR_LANGUAGE", request.param)
    return str(request.param)
