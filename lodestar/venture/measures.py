"""What a venture's metrics say, in words: kept by the commands, which ask the task, for the pages, which do not know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..contracts.language import Words
from ..store.files import read_json, write_json

if TYPE_CHECKING:
    from ..contracts.score import Metric
    from .venture import Venture

MEASURES_FILE = "measures.json"
"""In the venture's state folder."""


def keep_words(venture: Venture, metrics: Mapping[str, Metric]) -> None:
    """Keep the words of the metrics, where they are not those that are kept."""
    if words_of(venture) != {name: metric.words for name, metric in metrics.items()}:
        write_json(venture.state / MEASURES_FILE, {name: metric.words._asdict() for name, metric in metrics.items()})


def words_of(venture: Venture) -> dict[str, Words]:
    """A metric → what it says; nothing before a command has looked at the vision."""
    path = venture.state / MEASURES_FILE
    return {name: Words(**words) for name, words in read_json(path).items()} if path.exists() else {}
