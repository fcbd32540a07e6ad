"""A second opinion on the finish: how many tasks were finished in each week, drawn again until none is left.

What Magennis (Forecasting and Simulating Software Development Projects, 2011) and Vacanti (Actionable Agile Metrics for Predictability,
2015) count instead of estimates: tasks, whatever their size, at the pace of the past. Each draw weighs the past weeks anew (the Bayesian
bootstrap, Rubin 1981), as a few weeks do not tell their own distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..contracts.randomness import generator
from .overruns import found_tasks
from .plan import Plan, beginning_of

if TYPE_CHECKING:
    import numpy as np

LEAST_WEEKS = 5
"""Fewer weeks are too few to say anything by; Magennis asks for 5 to 11."""
MOST_WEEKS = 520
"""Ten years: what is not done then counts as done then."""


@dataclass(frozen=True)
class Throughput:
    """When all is done, by the pace of the past weeks alone."""

    weeks: Sequence[int]
    """Tasks finished in each past week, oldest first."""
    at: datetime
    finish: np.ndarray
    """Weeks from now, in ascending order, (draws,)."""

    def by(self, share: float) -> datetime:
        """The time by which all is done in this share of the draws."""
        place = min(len(self.finish) - 1, int(share * len(self.finish)))
        return self.at + timedelta(weeks=float(self.finish[place]))

    def to_json(self) -> dict[str, Any]:
        return {
            "weeks": list(self.weeks),
            "by": {f"{share:.0%}": self.by(share).isoformat(timespec="minutes") for share in (0.5, 0.8, 0.95)},
        }


def throughput(plan: Plan, at: datetime, *, added: int, done: int, seed: int, draws: int) -> Throughput | None:
    """The forecast from the people's tasks that have a date of finishing; None before enough weeks have passed, or where none was finished.

    Args:
        added, done: as `schedule.forecast` takes them: what is found on the way has to be finished, too.
    """
    people = [task for task in plan.tasks if task.kind == "person"]
    left = sum(task.state != "done" for task in people)
    moments = sorted(beginning_of(moment) for task in people for moment in (task.started, task.finished) if moment)
    count = (at - moments[0]) // timedelta(weeks=1) if moments else 0
    if count < LEAST_WEEKS or not left:
        return None
    first = at - timedelta(weeks=count)
    weeks = [0] * count
    for task in people:
        if task.finished and (week := (beginning_of(task.finished) - first) // timedelta(weeks=1)) in range(count):
            weeks[week] += 1
    if not any(weeks):
        return None
    return Throughput(weeks, at, _finish(weeks, left, added, done, seed, draws))


def _finish(weeks: Sequence[int], left: int, added: int, done: int, seed: int, draws: int) -> np.ndarray:
    """Weeks until so many tasks and what is found with them are done, sorted, (draws,)."""
    import numpy as np

    stream = generator(seed, "plan", "throughput")
    rate = found_tasks(added, done, draws, stream)
    remaining = left + stream.poisson(left * rate / (1 - rate))
    weights = stream.dirichlet(np.ones(len(weeks)), draws).cumsum(axis=1)
    past = np.array(weeks)
    finish, finished = np.full(draws, float(MOST_WEEKS)), np.zeros(draws)
    going = np.arange(draws)
    for week in range(MOST_WEEKS):
        uniform = stream.random(len(going))
        drawn = past[(uniform[:, None] > weights[going]).sum(axis=1).clip(max=len(past) - 1)]
        before, finished[going] = finished[going], finished[going] + drawn
        ends = finished[going] >= remaining[going]
        share = (remaining[going] - before)[ends] / drawn[ends]
        finish[going[ends]] = week + share
        going = going[~ends]
        if not len(going):
            break
    return np.sort(finish)
