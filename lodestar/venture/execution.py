"""Execution: the plan as it stands, with what the ledger knows and a forecast of its end; and the small changes that people make to it."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from ..contracts.errors import UserError, quoted
from ..contracts.record import fingerprint
from ..contracts.score import Target
from ..store.files import read_json, write_atomic, write_json
from ..store.lock import hold
from .critical_path import days_left, longest_chain
from .decided import decided
from .durations import Diary, Duration, durations, estimate_of, first_day, likely_hours
from .plan import Plan, PlanTask, beginning_of, check, load_plan
from .plan_history import Change, Version, growth, note_plan, versions
from .plan_records import measured, with_records
from .schedule import DRAWS, ScheduleForecast, forecast
from .throughput import Throughput, throughput
from .venture import PLAN_FILE, Venture
from .yaml_edit import edit_items
from .yaml_file import parse

FORECAST_FILE = "forecast.json"
"""In the venture's state folder: the last forecast, for who may not wait for another."""
Action = Literal["start", "done", "open", "block"]


@dataclass(frozen=True)
class Execution:
    """Where the execution of a venture stands."""

    venture: Venture
    plan: Plan
    """With the machine's steps as far as they have come."""
    history: Sequence[Version]
    changes: Sequence[Change]
    """What changed since the plan was last looked at."""
    known: Mapping[str, Duration]
    growth: tuple[int, int]
    """Tasks added since the work began, and tasks done since."""
    forecast: ScheduleForecast
    throughput: Throughput | None
    """The second opinion, where enough weeks have passed for one."""

    @property
    def chain(self) -> list[PlanTask]:
        """The critical path by what each task is likely to take."""
        return [self.plan.task(id) for id in longest_chain(*days_left(self.plan, likely_hours(self.plan, self.known)))]

    def chances(self) -> list[tuple[Target, date, float]]:
        """How likely all is done by the date of each target that has one."""
        return [(target, due, self.forecast.chance(due)) for target, due in due_dates(self.venture)]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "venture": self.venture.file.name,
            "tasks": [task.model_dump(mode="json") for task in self.plan.tasks],
            "critical_path": [task.id for task in self.chain],
            "durations": {
                id: {"hours": round(hours, 4), "source": self.known[id].source, "decision": self.known[id].decision}
                for id, hours in likely_hours(self.plan, self.known).items()
            },
            "forecast": self.forecast.to_json(),
            "throughput": self.throughput.to_json() if self.throughput else None,
            "targets": [{"metric": target.metric, "by": due.isoformat(), "chance": chance} for target, due, chance in self.chances()],
            "changes": [change.words._asdict() for change in self.changes],
        }


def plan_lock(venture: Venture, purpose: str = "plan") -> AbstractContextManager[None]:
    """Be the only one who changes the plan; a run of the machine, which takes hours, holds the venture and not this."""
    return hold(venture.state / "plan", purpose)


def look(venture: Venture, *, who: str | None, why: str = "edited", seed: int = 0, draws: int = DRAWS) -> Execution:
    """Read the plan, note what changed in it, and forecast its end.

    Args:
        who, why: noted with a change that nobody has noted before; for None, who only reads, nothing is noted or written.

    Raises:
        UserError: the plan is missing or wrong; nothing is noted then.
    """
    file = load_plan(venture.plan_path)
    plan = with_records(file, venture)
    due_dates(venture)
    at = plan.now()
    _nothing_lies_ahead(file, at.date())
    changes = [] if who is None else note_plan(venture.ledger, plan, who, why)
    history = versions(venture.ledger)
    known = durations(plan, measured(venture.ledger, decided(venture)))
    added, done = growth(history, plan)
    found = forecast(plan, known, at=at, added=added, done=done, seed=seed, draws=draws)
    pace = throughput(plan, at, added=added, done=done, seed=seed, draws=draws)
    if who is not None:
        write_json(venture.state / FORECAST_FILE, {"plan": fingerprint(file.model_dump(mode="json")), **found.to_json()})
    return Execution(venture, plan, history, changes, known, (added, done), found, pace)


def last_forecast(venture: Venture, plan: Plan) -> dict[str, Any] | None:
    """The last forecast, where it was of this plan."""
    path = venture.state / FORECAST_FILE
    found = read_json(path) if path.exists() else None
    return found if found is not None and found["plan"] == fingerprint(plan.model_dump(mode="json")) else None


def not_done_before(venture: Venture) -> list[tuple[PlanTask, PlanTask]]:
    """The machine's steps that are open, each with a person's task that the plan puts before it and that is not done."""
    path = venture.plan_path
    if not path.exists():
        return []
    plan = with_records(load_plan(path), venture)
    steps = [task for task in plan.tasks if task.step is not None and task.state == "open"]
    before = [(step, plan.task(id)) for step in steps for id in step.depends]
    return [(step, task) for step, task in before if task.kind == "person" and task.state != "done"]


def due_dates(venture: Venture) -> list[tuple[Target, date]]:
    """The targets that have a date; raises `UserError` for one that is none."""
    found = []
    for number, target in enumerate(venture.file.targets):
        if target.by is not None:
            try:
                found.append((target, date.fromisoformat(target.by)))
            except ValueError:
                what = f"targets.{number}.by: {quoted(target.by)} is no date"
                raise UserError(what, where=venture.path, fix="write it as YYYY-MM-DD") from None
    return found


def change(
    venture: Venture, action: Action, id: str, *, who: str, on: str | None = None, hours: float | None = None, because: str | None = None
) -> PlanTask:
    """Change the state of one task in plan.yaml, where all else stays as people wrote it.

    Args:
        on: when it was begun or finished; now where absent.
        hours: what it took, or has taken so far.
        because: what a blocked task waits for.

    Raises:
        UserError: there is no such task, or what it would become cannot be. Nothing is changed.
    """
    plan = load_plan(venture.plan_path)
    task = plan.task(id)
    moment = on or plan.now().isoformat(timespec="minutes")
    fields: dict[str, Any] = {} if hours is None else {"hours": hours}
    if action == "start":
        fields |= {"state": "started", "started": moment, "finished": None, "blocked": None}
    elif action == "done":
        fields |= {"state": "done", "finished": moment, "blocked": None}
    elif action == "open":
        fields |= {"state": None, "started": None, "finished": None, "hours": None, "blocked": None}
    else:
        fields |= {"blocked": because or None}
    number = plan.tasks.index(task)
    after = rewrite(venture, [(number, fields)])
    note_plan(venture.ledger, with_records(after, venture), who, f"plan {action} {id}")
    return after.tasks[number]


def rewrite(venture: Venture, changes: Sequence[tuple[int | None, Mapping[str, Any]]]) -> Plan:
    """Change tasks in plan.yaml, as `yaml_edit.edit_items` takes it; what would be no plan is refused before it is written."""
    path = venture.plan_path
    text = edit_items(path.read_text("utf-8"), "tasks", changes, where=path)
    after = Plan.parse(parse(text), where=path)
    check(after, where=path)
    _nothing_lies_ahead(after, after.now().date())
    write_atomic(path, text)
    return after


def who_am_i() -> str:
    """The name that changes are noted under where none is given."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _nothing_lies_ahead(plan: Plan, today: date) -> None:
    for task in plan.tasks:
        for moment in (task.started, task.finished):
            if moment is not None and beginning_of(moment).date() > today:
                what = f"the task {task.id!r} has the date {moment}, which is still to come"
                raise UserError(what, where=PLAN_FILE, fix="write down what has happened; what is to come is forecast")


def overdue(plan: Plan, known: Mapping[str, Duration]) -> list[PlanTask]:
    """The tasks that are under way for longer than nine in ten like them were estimated to take."""
    diary = Diary(plan, first_day(plan), plan.now())
    running = [task for task in plan.tasks if task.state == "started"]
    return [task for task in running if (diary.hours_taken(task) or 0.0) > estimate_of(known[task.id].hours)[2]]
