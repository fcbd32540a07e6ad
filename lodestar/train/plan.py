"""How many steps a run takes: fixed before the first, so that a resumed run walks the same schedule to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ..contracts.settings import TrainSettings

EVALUATIONS = 10
"""Evaluations in a run whose settings name no interval."""
LATE = 0.95
"""A run that would overshoot its minutes is shortened when it can do less than this share of its steps."""


@dataclass(frozen=True)
class Plan:
    """The steps of a run; part of every checkpoint."""

    totals: tuple[tuple[int, int], ...]
    """(from step, total steps): the first from 0; later ones where the machine turned out slower than the minutes allow."""
    evaluate_every: int
    checkpoint_every: int
    ahead: float = 0.0
    """Seconds spent before the first step."""

    @classmethod
    def make(cls, settings: TrainSettings, steps: int) -> Self:
        evaluate_every = settings.evaluate_every or max(1, steps // EVALUATIONS)
        return cls(((0, steps),), evaluate_every, settings.checkpoint_every or evaluate_every)

    @property
    def total(self) -> int:
        """The number of steps, as far as is known."""
        return self.totals[-1][1]

    def total_at(self, step: int) -> int:
        """The total that the schedule of step `step` is computed with."""
        return [total for start, total in self.totals if start <= step][-1]

    def shortened(self, step: int, seconds: float, minutes: float) -> Self | None:
        """The plan with fewer steps from `step` on, where the `seconds` so far say that it would overshoot the minutes; else None."""
        each = (seconds - self.ahead) / step
        possible = step + max(1, int((minutes * 60 - seconds) / each))
        return None if possible >= LATE * self.total else replace(self, totals=(*self.totals, (step, possible)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**value, "totals": tuple((start, total) for start, total in value["totals"])})


def steps_in_budget(settings: TrainSettings, steps_in_time: int | None = None) -> int:
    """The number of steps that the token budget and the minutes allow, whichever is smaller; at least 1.

    Args:
        steps_in_time: as measured, where the settings limit the minutes.
    """
    assert settings.batch_tokens is not None, "the caller derives the batch"
    limits = [] if steps_in_time is None else [steps_in_time]
    if settings.tokens is not None:
        limits.append(round(settings.tokens / settings.batch_tokens))
    assert limits, "the caller derives the token budget where no minutes are given"
    return max(1, min(limits))
