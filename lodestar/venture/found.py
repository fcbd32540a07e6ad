"""What an evaluation found beyond its scores, in the report: its pictures, its sentences and its worst mistakes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ..contracts.findings import FINDINGS_FILE, MISTAKES_FILE, PICTURE_ENDING, Mistake
from ..contracts.language import Words, language, say
from ..store.files import read_json
from .page import bullets, section, table

SHOWN_CHARACTERS = 300
"""Of a mistake's text; what is longer is cut, with a mark."""


@dataclass(frozen=True)
class Found:
    """As it was written beside the scorecard; nothing where the task finds nothing."""

    pictures: Mapping[Words, Path] = field(default_factory=dict)
    """A title → the picture in the reader's language."""
    sentences: Sequence[Words] = ()
    mistakes: Sequence[Mistake] = ()


def read_findings(evidence: Path, judged: Path) -> Found:
    """Read what `evaluate` wrote.

    Args:
        evidence: the evaluation's folder, or the release's, which has the pictures and the sentences, too.
        judged: the evaluation's folder, where it still stands: the mistakes are in no release.
    """
    path = evidence / FINDINGS_FILE
    if not path.is_file():
        return Found()
    found, mistakes = read_json(path), judged / MISTAKES_FILE
    pictures = {Words(**title): evidence / f"{name}.{language()}{PICTURE_ENDING}" for name, title in found["pictures"].items()}
    return Found(
        {title: file for title, file in pictures.items() if file.is_file()},
        [Words(**sentence) for sentence in found["sentences"]],
        [Mistake.parse(each, where=mistakes) for each in read_json(mistakes)["mistakes"]] if mistakes.is_file() else [],
    )


def shown(found: Found) -> list[str]:
    """The report's sections (HTML); none where nothing was found."""
    pictures = "".join(_figure(title, path) for title, path in found.pictures.items())
    sentences = bullets([str(sentence) for sentence in found.sentences], "lines")
    return [
        section(say("What it gets right and wrong", "哪里对，哪里错"), pictures + sentences),
        section(say("Its worst mistakes", "最严重的错误"), _mistakes(found.mistakes)),
    ]


def _figure(title: Words, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    name = escape(str(title))
    return f'<figure><img class="drawn" alt="{name}" src="data:image/svg+xml;base64,{data}"><figcaption>{name}</figcaption></figure>'


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    if not mistakes:
        return ""
    if all(each.picture for each in mistakes):
        return f'<div class="contact-sheet">{"".join(map(_framed, mistakes))}</div>'
    headings = [say("Text", "文本"), say("Should be", "应为"), say("Was answered", "答为"), say("Confidence", "置信度")]
    rows = [
        [
            escape(each.text if len(each.text) <= SHOWN_CHARACTERS else each.text[:SHOWN_CHARACTERS] + "…"),
            escape(each.expected), escape(each.answered), "–" if each.confidence is None else f"{each.confidence:.2f}",
        ]
        for each in mistakes
    ]  # fmt: skip
    return table(headings, rows, ["", "", "", "figure"])


def _framed(mistake: Mistake) -> str:
    """One picture of the contact sheet: what it is, and what it was taken for."""
    sure = "" if mistake.confidence is None else f" ({mistake.confidence:.0%})"
    name, expected, answered = map(escape, (mistake.text, mistake.expected, mistake.answered))
    caption = f"{expected} → <strong>{answered}</strong>{sure}"
    return f'<figure><img alt="{name}" title="{name}" src="{escape(mistake.picture)}"><figcaption>{caption}</figcaption></figure>'
