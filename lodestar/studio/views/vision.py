"""The vision: what, for whom, by which measure, and what is not to be done; and how it came to be so."""

from __future__ import annotations

from collections.abc import Mapping

from ...contracts.language import Words
from ...venture.brief import brief_body
from ...venture.venture import Venture
from ..view import View


def body(venture: Venture, _query: Mapping[str, str]) -> str:
    """The brief."""
    return "\n".join(brief_body(venture.file, {}))


VIEW = View("vision", "vision", Words("The vision", "愿景"), body)
