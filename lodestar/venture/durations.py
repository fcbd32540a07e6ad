"""How long the tasks of a plan take: what people estimated, what the machine was measured at, and what those that are done took."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from .overruns import WEEKS, Z80, Finished, Spread
from .plan import MACHINE, Estimate, Plan, PlanTask, beginning_of, end_of
from .working_time import WorkingTime, working_time

Source = Literal["estimated", "measured", "quoted", "predicted", "like the others", "assumed"]

ASSUMED: Mapping[str, Estimate] = {"prepare": (0.05, 0.2, 1.0), "train": (0.5, 2.0, 8.0), "evaluate": (0.05, 0.3, 1.5)}
"""Hours of a step that has never run and that nothing predicts. assumed"""
ASSUMED_TASK: Estimate = (2.0, 8.0, 24.0)
"""Hours of a person's task where nobody has estimated any. assumed"""
PREDICTED_SD = 0.2
"""The spread, in logs, of a run's time around its prediction from a few steps. assumed"""
RUNS_SD, RUNS_WORTH = 0.3, 3.0
"""The spread of equal runs' times in logs, and how many runs that belief is worth. assumed"""


@dataclass(frozen=True)
class Duration:
    """How long a task takes, and how that is known."""

    hours: Spread
    source: Source
    decision: int | None = None
    """The number of the decision record that it stands in, where it does: `source` is then that of its evidence."""


@dataclass(frozen=True)
class Measured:
    """What is known of a step of the machine."""

    seconds: Sequence[float] = ()
    """What finished runs took, attempts that failed before included."""
    predicted: float | None = None
    """Seconds that the next run will take, as the look before it told."""
    decided: Duration | None = None
    """As the decision has it that is carried out."""

    @property
    def usual(self) -> float | None:
        """Seconds of a run like those before it: their median."""
        return statistics.median(self.seconds) if self.seconds else None

    def duration(self, step: str) -> Duration:
        """The next run: as the pilots behind its decision measured it; else as a look predicted it; else as the runs before it took, which
        may have been of other settings; else as the decision took it to be; else as such steps are assumed to be.
        """
        if self.decided is not None and self.decided.source == "measured":
            return self.decided
        if self.predicted is not None:
            return Duration(Spread(math.log(max(self.predicted, 1.0) / 3600), PREDICTED_SD), "predicted")
        if self.seconds:
            logs = [math.log(max(each, 1.0) / 3600) for each in self.seconds]
            count, mean = len(logs), statistics.fmean(logs)
            variance = (RUNS_WORTH * RUNS_SD**2 + sum((each - mean) ** 2 for each in logs)) / (RUNS_WORTH + count - 1)
            return Duration(Spread(mean, math.sqrt(variance * (1 + 1 / count))), "measured")
        return self.decided or Duration(Spread.of(ASSUMED[step]), "assumed")


def durations(plan: Plan, measured: Mapping[str, Measured]) -> dict[str, Duration]:
    """How long each task takes, before anything is learnt of the team."""
    known = [Spread.of(task.estimate) for task in plan.tasks if task.kind == "person" and isinstance(task.estimate, tuple)]
    others = Duration(_like(known), "like the others") if known else Duration(Spread.of(ASSUMED_TASK), "assumed")
    found: dict[str, Duration] = {}
    for task in plan.tasks:
        if isinstance(task.estimate, tuple):
            found[task.id] = Duration(Spread.of(task.estimate), "estimated")
        elif task.step is not None:
            found[task.id] = measured.get(task.step, Measured()).duration(task.step)
        else:
            found[task.id] = others
    return found


def _like(known: Sequence[Spread]) -> Spread:
    """A task of which only the others are known: as spread as they are from each other, and each of them in itself."""
    between = statistics.pvariance(each.mean for each in known)
    within = statistics.fmean(each.sd**2 for each in known)
    return Spread(statistics.fmean(each.mean for each in known), math.sqrt(between + within))


def size_of_a_task(plan: Plan, known: Mapping[str, Duration]) -> tuple[float, float]:
    """The mean and the standard deviation of the hours that the people's tasks were estimated at: what a task found on the way is like."""
    hours = [math.exp(known[task.id].hours.mean) for task in plan.tasks if task.kind == "person"] or [ASSUMED_TASK[1]]
    mean = statistics.fmean(hours)
    return mean, max(statistics.pstdev(hours), mean / 2)


class Diary:
    """What was done when, in working hours."""

    def __init__(self, plan: Plan, origin: date, at: datetime) -> None:
        self.workers = [MACHINE, *(person.name for person in plan.people)]
        self.calendar: WorkingTime = working_time(plan, self.workers, origin, max(1, (at.date() - origin).days + 2))
        self.at = at

    def hours_taken(self, task: PlanTask) -> float | None:
        """What a task took, or has taken so far: as it was noted, else the working hours since it was begun; None where nobody knows."""
        if task.hours is not None:
            return task.hours
        if task.started is None or (task.state == "done" and task.finished is None):
            return None
        until = self.at if task.finished is None else end_of(task.finished)
        worker = self.workers.index(task.owner)
        begun, ended = (float(self.calendar.worked(worker, self.calendar.hours(each))) for each in (beginning_of(task.started), until))
        return max(0.0, ended - begun)

    def finished(self, plan: Plan, known: Mapping[str, Duration]) -> list[Finished]:
        """The people's tasks that are done and tell how far they ran over."""
        done = [task for task in plan.tasks if task.state == "done" and task.kind == "person"]
        taken = [(task, self.hours_taken(task)) for task in done]
        return [Finished(known[task.id].hours, hours, task.owner, self._period(task)) for task, hours in taken if hours]

    def _period(self, task: PlanTask) -> int:
        """Which four weeks a task was finished in; 0 where nobody noted it."""
        return 0 if task.finished is None else (beginning_of(task.finished).date() - self.calendar.origin).days // (7 * WEEKS)


def first_day(plan: Plan) -> date:
    """The day that the plan's times are counted from: its first, or that of a task which was begun before it."""
    begun = [beginning_of(task.started).date() for task in plan.tasks if task.started is not None]
    return min([date.fromisoformat(plan.begin), *begun])


def likely_hours(plan: Plan, known: Mapping[str, Duration]) -> dict[str, float]:
    """The hours that each task is likely to take, as people wrote them, else as they are known."""
    return {task.id: task.estimate[1] if isinstance(task.estimate, tuple) else math.exp(known[task.id].hours.mean) for task in plan.tasks}


def estimate_of(spread: Spread) -> Estimate:
    """Low, likely and high again: the inverse of `Spread.of` where that was symmetric."""
    low, likely, high = (math.exp(spread.mean + deviate * spread.sd) for deviate in (-Z80, 0.0, Z80))
    return low, likely, high
