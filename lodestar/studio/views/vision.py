"""The vision: what, for whom, by which measure, and what is not to be done; and how it came to be so."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ...contracts.errors import UserError
from ...contracts.language import Words, say
from ...venture.brief import brief_body
from ...venture.measures import words_of
from ...venture.page import bullets, next_step, section, table
from ...venture.venture import Venture
from ...venture.vision_history import history, standing, versions
from ..view import View


def body(venture: Venture, _query: Mapping[str, str]) -> str:
    """The brief as it stands, what of it is not agreed on yet, and its versions."""
    stands = standing(venture)
    changed = bullets([str(words) for words in stands.changes])
    return "\n".join(
        [
            *brief_body(venture.file, words_of(venture), {}, str(stands.words)),
            section(say("Changed since the last version", "上一版之后的改动"), changed),
            section(say("How the vision came to be so", "愿景的由来"), _versions(venture)),
        ]
    )


def _versions(venture: Venture) -> str:
    try:
        found = history(versions(venture))
    except UserError as error:
        return f'<p class="notice">{escape(str(error))}</p>'
    if not found:
        return next_step(
            "lodestar vision --by NAME --because WHY",
            say("puts a name and a reason to the vision, and keeps it as its first version", "为愿景署名并写明理由，存为第一版"),
        )
    rows = [
        [
            f"{version.number:04d}",
            escape(version.by),
            escape(version.because),
            bullets([str(words) for words in changes]),
            f"{version.date}",
        ]
        for version, changes in reversed(found)
    ]
    headings = ["", say("By", "署名"), say("Because", "理由"), say("What changed", "改动"), say("Date", "日期")]
    return table(headings, rows, ["", "short", "", "", "short"])


VIEW = View("vision", "vision", Words("The vision", "愿景"), body)
