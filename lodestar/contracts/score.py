"""Metrics, and the scores that they give, always with an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .config import Config
from .language import Words

if TYPE_CHECKING:
    import numpy as np

Direction = Literal["higher", "lower"]
Columns = Mapping[str, "np.ndarray"]
"""Measurements: one array a column, one row an example. A metric is a function of the rows, so it can be resampled."""


@dataclass(frozen=True)
class Metric:
    """A figure of merit: a function of the measured rows, with a unit and the direction that is better."""

    name: str
    """Its key in scorecards and targets: lower case with underscores, the unit in it where it matters."""
    words: Words
    """What it says, for a person, in one sentence."""
    unit: str
    """`bits/byte`, `ms`, `bytes`, or `` for a ratio."""
    better: Direction
    compute: Callable[[Columns], float]
    """The value over the rows; must not depend on their order. NaN where the rows cannot give one."""
    recentred: bool = False
    """Whether fewer rows alone make the value larger (a distance of two clouds, say). A resample, which has fewer different rows, is then
    off by as much again, and its interval is moved until its mean is the value."""


class Score(Config):
    """A metric's value with its bootstrap interval."""

    metric: str
    value: float
    low: float
    high: float
    confidence: float
    count: int
    """Examples behind it."""
    unit: str
    better: Direction

    def worse_end(self) -> float:
        """The end of the interval that a gate holds against its target."""
        return self.low if self.better == "higher" else self.high


class Cost(Config):
    """What a step used up."""

    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


class Target(Config):
    """A measurable promise of the vision, which a release is held to."""

    metric: str
    """A metric of the task, or one of the system's own: latency_ms_p50, latency_ms_p95, memory_bytes, model_bytes."""
    at_least: float | None = Field(None, allow_inf_nan=False)
    """The smallest value that keeps the promise, for metrics where higher is better."""
    at_most: float | None = Field(None, allow_inf_nan=False)
    """The largest value that keeps the promise, for metrics where lower is better."""
    unit: str = ""
    """The unit of the threshold; checked against the metric's own where given."""
    data: str = "test"
    """The split that it is measured on."""
    by: str | None = None
    """The date it is due, as YYYY-MM-DD."""
    why: str = ""
    """Why this number: what it means for the audience."""

    def model_post_init(self, _context: object) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the target on {self.metric!r} needs exactly one of at_least and at_most; give the one that it means")

    def kept_by(self, value: float) -> bool:
        """Whether `value` keeps the promise; NaN does not."""
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most
