"""How many steps a run takes: fixed before the first, so that a resumed run walks the same schedule to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ..contracts.settings import TrainSettings

EVALUATIONS = 10
"""Evaluations in a run whose settings name no interval."""
EVALUATION_SHARE = 0.2
"""The share of the minutes that evaluations may take; there are fewer of them where the machine is slow."""
LATE, EARLY = 0.95, 1.1
"""A run that can do less than this share of its steps in its minutes, or more than that one, is planned anew."""


@dataclass(frozen=True)
class Plan:
    """The steps of a run; part of every checkpoint."""

    totals: tuple[tuple[int, int], ...]
    """(from step, total steps): the first from 0; later ones where the machine turned out slower, or faster, than measured."""
    evaluate_every: int
    checkpoint_every: int
    ahead: float = 0.0
    """Seconds spent before the first step."""

    @classmethod
    def make(cls, settings: TrainSettings, steps: int, evaluations: int = EVALUATIONS) -> Self:
        evaluate_every = settings.evaluate_every or max(1, steps // evaluations)
        return cls(((0, steps),), evaluate_every, settings.checkpoint_every or evaluate_every)

    @property
    def total(self) -> int:
        """The number of steps, as far as is known."""
        return self.totals[-1][1]

    def total_at(self, step: int) -> int:
        """The total that the schedule of step `step` is computed with."""
        return [total for start, total in self.totals if start <= step][-1]

    def evaluations_after(self, step: int) -> int:
        """How many evaluations come after that of `step`, as far as is known; the last is the end of the run."""
        return math.ceil((self.total - step) / self.evaluate_every)

    def revised(self, step: int, seconds: float, settings: TrainSettings) -> Self | None:
        """The plan with as many steps as the minutes allow at the pace so far, where it is off by much; else None.

        A run grows only before its learning rate falls: afterwards a longer schedule would raise it again.
        """
        assert settings.minutes is not None
        each = (seconds - self.ahead) / step
        possible = steps_in_budget(settings, step + max(1, int((settings.minutes * 60 - seconds) / each)))
        falls = 1 - settings.decay if settings.schedule == "wsd" else settings.warmup
        grows = possible > EARLY * self.total and (settings.schedule == "constant" or step < falls * self.total)
        return replace(self, totals=(*self.totals, (step, possible))) if possible < LATE * self.total or grows else None

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
