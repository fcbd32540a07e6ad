"""What paired comparisons found, as `lodestar compare` writes it down: one file for two evaluations, whatever they are called meanwhile."""

from __future__ import annotations

from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..contracts.config import Config
from ..contracts.record import RECORD_FILE
from ..contracts.score import Direction
from ..store.files import read_json, write_json

if TYPE_CHECKING:
    from .venture import Venture

FOLDER = "comparisons"
"""In the venture's state folder."""


class PairedDifference(Config):
    """One metric of two evaluations, on the same examples."""

    metric: str
    unit: str
    better: Direction
    value: float
    """Of b less a."""
    low: float
    high: float
    confidence: float
    examples: int
    needed: int | None = None
    """How many such examples would tell a difference of this size; None where it is as good as none."""

    @property
    def told(self) -> Literal["a", "b"] | None:
        """Which one is better, where the interval leaves zero out."""
        if self.low <= 0 <= self.high:
            return None
        return "b" if (self.value > 0) == (self.better == "higher") else "a"

    def turned(self) -> PairedDifference:
        """The same of a less b."""
        return self.model_copy(update={"value": -self.value, "low": -self.high, "high": -self.low})


class Pair(Config):
    """Everything that was compared of two evaluations."""

    a: str
    """The id of the evaluation."""
    b: str
    date: Date
    differences: list[PairedDifference]

    def of(self, metric: str) -> PairedDifference | None:
        return next((each for each in self.differences if each.metric == metric), None)


def evaluation_id(folder: Path) -> str | None:
    """Which evaluation a folder holds, be it the run's own or a release's; None of a folder that is neither."""
    for name, read in (("release.json", lambda value: value["runs"].get("evaluate")), (RECORD_FILE, lambda value: value["id"])):
        if (folder / name).is_file():
            return read(read_json(folder / name))
    return None


def save_pair(venture: Venture, pair: Pair) -> None:
    """Write it down, in the place of an earlier one of the same two."""
    write_json(_path(venture, pair.a, pair.b), pair.model_dump(mode="json"))


def read_pair(venture: Venture, a: str, b: str) -> Pair | None:
    """What was found of two evaluations, in whichever order they were compared; None where they never were."""
    if (path := _path(venture, a, b)).is_file():
        return Pair.parse(read_json(path), where=path)
    if (path := _path(venture, b, a)).is_file():
        found = Pair.parse(read_json(path), where=path)
        return Pair(a=a, b=b, date=found.date, differences=[each.turned() for each in found.differences])
    return None


def _path(venture: Venture, a: str, b: str) -> Path:
    return venture.state / FOLDER / f"{a}--{b}.json"
