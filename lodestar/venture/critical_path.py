"""The critical path method (Kelley and Walker 1959): earliest and latest times, slack, and the chain of tasks that sets the finish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .plan import Plan, in_order

_TOLERANCE = 1e-9
"""Slack below this is none: sums of the same durations in another order differ in their last bits."""


@dataclass(frozen=True)
class Times:
    """When a task can begin and end, in the unit of the durations, counted from the beginning of the plan."""

    earliest_start: float
    earliest_finish: float
    latest_start: float
    """Beginning later than that delays the whole."""
    latest_finish: float

    @property
    def slack(self) -> float:
        """How long it can be late without delaying the whole."""
        return self.latest_start - self.earliest_start

    @property
    def critical(self) -> bool:
        """Whether any delay of it delays the whole."""
        return self.slack <= _TOLERANCE


def critical_path(durations: Mapping[str, float], depends: Mapping[str, Sequence[str]]) -> dict[str, Times]:
    """The times of each task where everybody has time for everything: a forward and a backward pass over the dependencies.

    Args:
        durations: of each task, in order: each after those that it depends on.
        depends: what each depends on; names that have no duration are done.
    """
    start: dict[str, float] = {}
    for task in durations:
        start[task] = max((start[needed] + durations[needed] for needed in depends[task] if needed in start), default=0.0)
    end = max((start[task] + durations[task] for task in durations), default=0.0)
    latest = dict.fromkeys(durations, end)
    for task in reversed(list(durations)):
        for needed in depends[task]:
            if needed in latest:
                latest[needed] = min(latest[needed], latest[task] - durations[task])
    return {
        task: Times(start[task], start[task] + took, latest[task] - took, latest[task]) for task, took in durations.items()
    }  # fmt: skip


def longest_chain(durations: Mapping[str, float], depends: Mapping[str, Sequence[str]]) -> list[str]:
    """The critical path: a chain of tasks without slack from the beginning to the end; the first in the plan where there are several."""
    times = critical_path(durations, depends)
    if not times:
        return []
    last = max(times, key=lambda task: times[task].earliest_finish)
    chain = [last]
    while before := [needed for needed in depends[chain[0]] if needed in times]:
        chain.insert(0, max(before, key=lambda task: times[task].earliest_finish))
    return chain


def days_left(plan: Plan, hours: Mapping[str, float]) -> tuple[dict[str, float], dict[str, Sequence[str]]]:
    """What `critical_path` takes, of what is not done, in working days: of a person at their share, of the machine around the clock.

    Args:
        hours: what each task is likely to take.
    """
    shares = {person.name: person.share for person in plan.people}
    tasks = in_order(task for task in plan.tasks if task.state != "done")
    durations = {task.id: hours[task.id] / (24 if task.kind == "machine" else plan.working.hours * shares[task.owner]) for task in tasks}
    return durations, {task.id: task.depends for task in tasks}
