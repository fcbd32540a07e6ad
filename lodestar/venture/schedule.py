"""When the plan will be finished: a Monte Carlo simulation of its tasks on people's calendars, with bands.

Each draw is one way the future may go: how far this team runs over (overruns.py), how long each task takes given that, what work turns
up with it, and then a schedule: whoever is free takes, of the tasks whose dependencies are done, the one that can begin first, and of
several the one with the longest way to the end (Kolisch 1996: a parallel schedule generation scheme, whose schedules leave nobody idle who
could work). Nobody does two tasks at once; people work in their working hours, the machine around the clock.

Draws are common: each task has a stream of its own, so that a changed estimate moves no other task's draw, and two plans can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..contracts.language import say
from ..contracts.progress import track
from ..contracts.randomness import generator
from .critical_path import critical_path, days_left
from .durations import Diary, Duration, first_day, likely_hours, size_of_a_task
from .overruns import Overruns, found_tasks, found_work, learn
from .plan import MACHINE, Plan, PlanTask, beginning_of, days_of, in_order
from .working_time import WorkingTime, working_time

if TYPE_CHECKING:
    import numpy as np

DRAWS = 10_000
BANDS = (0.5, 0.8, 0.95)
"""The shares of the draws that the bands hold, in their middle."""
LEAST_SPREAD = 0.02
"""In logs, of a machine's time whose estimate has none: a spread of nothing could not be drawn from."""
MOST_DAYS = 36_525
"""A hundred years: what would be finished after that ends there."""


@dataclass(frozen=True)
class Band:
    """An interval of times, and what share of the draws lies within."""

    level: float
    low: datetime
    high: datetime


@dataclass(frozen=True)
class TaskForecast:
    """When a task will be begun and finished, and how often it decides when all is."""

    start: datetime
    """The median."""
    finish: datetime
    """The median."""
    sure: datetime
    """It is finished by then in 80% of the draws."""
    critical: float
    """The criticality index: the share of the draws in which the finish of the whole waits for it."""


@dataclass(frozen=True)
class ScheduleForecast:
    """When all is done."""

    at: datetime
    """When this was forecast, in the plan's time zone."""
    seed: int
    calendar: WorkingTime
    finish: np.ndarray
    """Hours since the calendar's origin, in ascending order, (draws,)."""
    tasks: Mapping[str, TaskForecast]
    """Those that are not done."""
    overrun: tuple[float, float, float]
    """How many times the estimated hours the team's tasks take: 10th, 50th and 90th percentile."""
    found: tuple[float, float, float]
    """How many tasks are found for each one done, likewise."""
    learnt_from: int
    """The finished tasks behind that."""

    def by(self, share: float) -> datetime:
        """The time by which all is done in this share of the draws."""
        place = min(len(self.finish) - 1, int(share * len(self.finish)))
        return self.calendar.moment(float(self.finish[place]))

    def bands(self) -> list[Band]:
        """The middle 50, 80 and 95% of the draws."""
        return [Band(level, self.by((1 - level) / 2), self.by((1 + level) / 2)) for level in BANDS]

    def chance(self, day: date) -> float:
        """The share of the draws that are done by the end of a day."""
        import numpy as np

        end = self.calendar.hours(datetime.combine(day, datetime.min.time()) + timedelta(days=1))
        return float(np.searchsorted(self.finish, end, side="right") / len(self.finish))

    def to_json(self) -> dict[str, Any]:
        """For machines, and for who may not wait for the simulation."""
        return {
            "at": self.at.isoformat(timespec="minutes"),
            "seed": self.seed,
            "draws": len(self.finish),
            "by": {f"{share:.0%}": self.by(share).isoformat(timespec="minutes") for share in BANDS},
            "bands": [
                {"level": band.level, "low": band.low.isoformat(timespec="minutes"), "high": band.high.isoformat(timespec="minutes")}
                for band in self.bands()
            ],
            "tasks": {
                id: {
                    **{name: getattr(task, name).isoformat(timespec="minutes") for name in ("start", "finish", "sure")},
                    "critical": round(task.critical, 4),
                }
                for id, task in self.tasks.items()
            },
            "overrun": [round(each, 4) for each in self.overrun],
            "found": [round(each, 4) for each in self.found],
            "learnt_from": self.learnt_from,
        }


def forecast(
    plan: Plan, known: Mapping[str, Duration], *, at: datetime, added: int = 0, done: int = 0, seed: int = 0, draws: int = DRAWS
) -> ScheduleForecast:
    """Simulate what is left of a plan.

    Args:
        known: how long each task takes, as estimated or measured.
        at: now, in the plan's time zone; nothing begins before it.
        added: tasks that came into the plan after its work had begun.
        done: people's tasks that were finished since.
    """
    import numpy as np

    diary = Diary(plan, first_day(plan), max(at, beginning_of(plan.begin)))
    finished = diary.finished(plan, known)
    left = _by_urgency(plan, known)
    overruns = learn(finished, [person.name for person in plan.people], draws, generator(seed, "plan", "team"))
    rate = found_tasks(added, done, draws, generator(seed, "plan", "found"))
    elapsed = np.array([diary.hours_taken(task) or 0.0 if task.state == "started" else 0.0 for task in left])
    overruns = _still_running(left, elapsed, known, overruns, generator(seed, "plan", "running"))
    hours, found = _hours(plan, left, elapsed, known, overruns, rate, seed)
    calendar = _long_enough(plan, diary, hours + found)
    begin = calendar.hours(diary.at)
    workers = np.array([diary.workers.index(task.owner) for task in left], dtype=np.int64)
    # It waits for what is known, and nothing waits for it but the end: half of what is found holding up others, too, was no better.
    later = np.stack([found[:, workers == worker].sum(axis=1) for worker in range(len(diary.workers))], axis=1)
    starts, ends, before = simulate(hours, left, calendar, diary.workers, begin, later)
    finish = ends.max(axis=1) if left else np.full(draws, _when_done(plan, calendar, begin))
    return ScheduleForecast(
        at=at, seed=seed, calendar=calendar, finish=np.sort(finish),
        tasks=_told(left, starts, ends, criticality(ends, before), calendar),
        overrun=_quantiles(np.exp(overruns.team)), found=_quantiles(rate), learnt_from=len(finished),
    )  # fmt: skip


def simulate(
    hours: np.ndarray,
    tasks: Sequence[PlanTask],
    calendar: WorkingTime,
    workers: Sequence[str],
    begin: float,
    later: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Schedule every draw.

    Args:
        hours: what each task takes, (draws, tasks).
        tasks: the more urgent before the less; those that are started go on at once, whatever they depend on.
        workers: the rows of the calendar.
        begin: hours since the origin.
        later: hours of work that each does after the last of their tasks, with which that one then ends, (draws, workers).

    Returns:
        Starts and ends in hours since the origin, and for each task the one that it waited for last, or -1: all (draws, tasks).
    """
    import numpy as np

    draws, count = hours.shape
    place = {task.id: number for number, task in enumerate(tasks)}
    worker = np.array([workers.index(task.owner) for task in tasks], dtype=np.int64)
    needs = [[place[id] for id in task.depends if id in place] if task.state == "open" else [] for task in tasks]
    followers = np.zeros((count, count), dtype=bool)
    for number, needed in enumerate(needs):
        followers[needed, number] = True
    waiting = np.tile(followers.sum(axis=0), (draws, 1))
    ready, waits_for = np.full((draws, count), begin), np.full((draws, count), -1)
    free, last = np.full((draws, len(workers)), begin), np.full((draws, len(workers)), -1)
    starts, ends, before = np.zeros((draws, count)), np.zeros((draws, count)), np.full((draws, count), -1)
    # When each task that waits for nothing can begin; infinite for those that wait, and for those that have begun.
    possible = np.where(waiting == 0, calendar.next_moment(worker, ready), np.inf)
    rows = np.arange(draws)
    for _ in track(range(count), say("forecast", "预测"), "task"):
        chosen = possible.argmin(axis=1)  # the first, and so the most urgent, of those that can begin at the same time
        who, start = worker[chosen], possible[rows, chosen]
        possible[rows, chosen] = np.inf
        held_up = free[rows, who] >= ready[rows, chosen]
        before[rows, chosen] = np.where(held_up, last[rows, who], waits_for[rows, chosen])
        for each in np.unique(who):
            here = np.flatnonzero(who == each)
            end = calendar.done(int(each), calendar.worked(each, start[here]) + hours[here, chosen[here]])
            free[here, each], last[here, each] = end, chosen[here]
            others = np.ix_(here, np.flatnonzero(worker == each))
            then = calendar.next_moment(each, np.maximum(ready[others], end[:, None]))
            possible[others] = np.where(np.isfinite(possible[others]), then, np.inf)
        end = free[rows, who]
        starts[rows, chosen], ends[rows, chosen] = start, end
        following = followers[chosen]
        waiting -= following
        delayed = following & (end[:, None] > ready)
        ready, waits_for = np.where(delayed, end[:, None], ready), np.where(delayed, chosen[:, None], waits_for)
        row, freed = np.nonzero(following & (waiting == 0))
        possible[row, freed] = calendar.next_moment(worker[freed], np.maximum(ready[row, freed], free[row, worker[freed]]))
    if later is not None:
        for each in range(len(workers)):
            here = np.flatnonzero((later[:, each] > 0) & (last[:, each] >= 0))
            ends[here, last[here, each]] = calendar.done(each, calendar.worked(each, free[here, each]) + later[here, each])
    return starts, ends, before


def criticality(ends: np.ndarray, before: np.ndarray) -> np.ndarray:
    """In which draws the finish waits for a task, going back from the last one over what each waited for: (draws, tasks)."""
    import numpy as np

    draws, count = ends.shape
    decides = np.zeros((draws, count), dtype=bool)
    if not count:
        return decides
    rows, at = np.arange(draws), ends.argmax(axis=1)
    while len(rows):
        decides[rows, at] = True
        at = before[rows, at]
        rows, at = rows[at >= 0], at[at >= 0]
    return decides


def _by_urgency(plan: Plan, known: Mapping[str, Duration]) -> list[PlanTask]:
    """The tasks that are not done: those begun first, then those with the longest way to the end."""
    times = critical_path(*days_left(plan, likely_hours(plan, known)))
    end = max((each.latest_finish for each in times.values()), default=0.0)
    left = [task for task in in_order(plan.tasks) if task.state != "done"]
    return sorted(left, key=lambda task: (task.state != "started", times[task.id].latest_start - end))


def _log_hours(task: PlanTask, known: Mapping[str, Duration], overruns: Overruns) -> tuple[np.ndarray, np.ndarray]:
    """The mean and standard deviation of the log of a task's hours in each draw, (draws,). A machine's overruns are not the team's."""
    import numpy as np

    spread = known[task.id].hours
    if task.owner == MACHINE:
        return np.full_like(overruns.team, spread.mean), np.full_like(overruns.team, max(spread.sd, LEAST_SPREAD))
    return spread.mean + overruns.team + overruns.people[task.owner], np.hypot(spread.sd, overruns.spread)


def _still_running(
    left: Sequence[PlanTask], elapsed: np.ndarray, known: Mapping[str, Duration], overruns: Overruns, stream: np.random.Generator
) -> Overruns:
    """What is known of the team once it is taken in that tasks which were begun are not done: those draws count more that say so.

    Sampling importance resampling (Rubin 1988), systematically. Without it only what is finished would tell of the team, and that is the
    quicker half.
    """
    import numpy as np
    from scipy.special import log_ndtr

    log_weight = np.zeros_like(overruns.team)
    for task, hours in zip(left, elapsed, strict=True):
        if hours > 0 and task.kind == "person":
            mean, sd = _log_hours(task, known, overruns)
            log_weight += log_ndtr((mean - np.log(hours)) / sd)
    if not log_weight.any():
        return overruns
    weight = np.exp(log_weight - log_weight.max())
    draws = len(weight)
    places = (np.arange(draws) + stream.random()) / draws
    return overruns.take(np.searchsorted(np.cumsum(weight) / weight.sum(), places).clip(max=draws - 1))


def _hours(
    plan: Plan,
    left: Sequence[PlanTask],
    elapsed: np.ndarray,
    known: Mapping[str, Duration],
    overruns: Overruns,
    rate: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The hours that each task still takes, and those of what is found with it, (draws, tasks) both."""
    import numpy as np
    from scipy.special import ndtr, ndtri

    size, draws = size_of_a_task(plan, known), len(rate)
    hours, found = np.empty((draws, len(left))), np.zeros((draws, len(left)))
    for number, task in enumerate(left):
        stream = generator(seed, "plan", "task", task.id)
        mean, sd = _log_hours(task, known, overruns)
        uniform = stream.random(draws)
        if elapsed[number] > 0:  # it takes longer than it has: the upper part of the distribution alone
            uniform = uniform * ndtr(np.maximum((mean - np.log(elapsed[number])) / sd, -30.0))
        whole = np.exp(mean - sd * ndtri(np.maximum(uniform, 1e-300)))
        hours[:, number] = np.maximum(whole - elapsed[number], 1 / 60)
        if task.kind == "person":
            found[:, number] = found_work(rate, size, stream) * np.exp(overruns.team + overruns.people[task.owner])
    return hours, found


def _long_enough(plan: Plan, diary: Diary, hours: np.ndarray) -> WorkingTime:
    """The calendar for as many days as the slowest would take for all of it, and everybody's days off."""
    slowest = min(person.share for person in plan.people) * plan.working.hours * len(plan.working.days) / 7
    most = hours.sum(axis=1).max(initial=0.0) / slowest
    off = len(days_of([*plan.working.off, *(day for person in plan.people for day in person.off)]))
    past = (diary.at.date() - diary.calendar.origin).days
    return working_time(plan, diary.workers, diary.calendar.origin, min(MOST_DAYS, past + int(most) + off + 30))


def _when_done(plan: Plan, calendar: WorkingTime, begin: float) -> float:
    """When the last task of a finished plan was done, as far as that was noted."""
    noted = [calendar.hours(beginning_of(task.finished)) for task in plan.tasks if task.finished]
    return max(noted, default=begin)


def _told(
    left: Sequence[PlanTask], starts: np.ndarray, ends: np.ndarray, decides: np.ndarray, calendar: WorkingTime
) -> dict[str, TaskForecast]:
    import numpy as np

    if not left:
        return {}
    start = np.quantile(starts, 0.5, axis=0, method="inverted_cdf")
    finish, sure = np.quantile(ends, [0.5, 0.8], axis=0, method="inverted_cdf")
    critical = decides.mean(axis=0)
    told = {}
    for number, task in enumerate(left):
        begins, ends_by, sure_by = (calendar.moment(float(times[number])) for times in (start, finish, sure))
        told[task.id] = TaskForecast(begins, ends_by, sure_by, float(critical[number]))
    return told


def _quantiles(values: np.ndarray) -> tuple[float, float, float]:
    import numpy as np

    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return float(low), float(middle), float(high)
