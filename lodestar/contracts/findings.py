"""What an evaluation found beyond its scores: pictures, sentences, and the records that went worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .config import Config
from .language import Words

PICTURE_ENDING = ".svg"
FINDINGS_FILE = "findings.json"
"""The sentences; the pictures stand beside it as NAME.LANGUAGE.svg."""
MISTAKES_FILE = "mistakes.json"
"""The records that went worst. Their texts are somebody's: they stay with the evaluation, and go into no release."""


class Mistake(Config):
    """One record that went wrong, for a person to look at."""

    text: str
    """As it was asked."""
    expected: str
    answered: str
    confidence: float | None = None
    """The probability that the model gave its answer, where it gave one."""
    picture: str = ""
    """What was asked about, small, as a `data:` URL, where it is a picture."""


@dataclass(frozen=True)
class Findings:
    """What a task shows of an evaluation; the report has all of it."""

    pictures: Mapping[str, Words] = field(default_factory=dict)
    """A name, which is a file's → SVG, drawn in each language."""
    titles: Mapping[str, Words] = field(default_factory=dict)
    """Each picture's name → what it shows."""
    sentences: Sequence[Words] = ()
    mistakes: Sequence[Mistake] = ()
    """The worst ones first; a dozen or two."""

    def __post_init__(self) -> None:
        assert self.pictures.keys() == self.titles.keys(), "each picture has a title"
