"""The plan: plan.yaml says who does what, after what, and how long that takes. People edit it by hand; it is checked when it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..contracts.clock import now
from ..contracts.config import Config, LineOf
from ..contracts.errors import UserError, nearest, quoted
from .venture import PLAN_FILE
from .yaml_file import read_yaml

MACHINE = "machine"
"""Who owns what the machine does."""
LONGEST = 10_000.0
"""Hours that one task may be estimated at: five years of one person. What is longer is not one task."""
_RANGE = ".."


def _as_text(value: object) -> object:
    """Refuse what is not written as a text, before it is taken for a number of seconds."""
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is no date; write it as YYYY-MM-DD")
    return value


def _is_day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is no date; write it as YYYY-MM-DD") from None
    return text


def _is_moment(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is no date; write it as YYYY-MM-DD or YYYY-MM-DDTHH:MM") from None
    if found.tzinfo is not None:
        raise ValueError(f"{quoted(text)} names a time zone of its own; leave it out, and set `timezone` for the whole plan")
    return text


def _is_days(text: str) -> str:
    first, _, last = text.partition(_RANGE)
    _is_day(first)
    if last and date.fromisoformat(_is_day(last)) < date.fromisoformat(first):
        raise ValueError(f"{quoted(text)} ends before it begins; write the earlier day first")
    return text


def _is_hour(text: str) -> str:
    try:
        time.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is no time of day; write it as HH:MM") from None
    return text


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{quoted(name)} is no time zone; write it as Asia/Shanghai, Europe/Berlin or UTC") from None
    return name


def _as_estimate(value: object) -> object:
    """Three hours above 0, or the word: told here in one sentence, where a union would tell of each of its members."""
    if value is None or value == "measured":
        return value
    if not (isinstance(value, list | tuple) and len(value) == 3 and all(type(each) in (int, float) for each in value)):
        raise ValueError(f"{quoted(value)} is not three numbers of hours; write [low, likely, high]")
    shown = f"[{', '.join(f'{each:g}' for each in value)}]"
    if not all(math.isfinite(each) and each > 0 for each in value):
        raise ValueError(f"{shown} are not hours above 0; write low, likely and high as such")
    if list(value) != sorted(value):
        raise ValueError(f"{shown} is upside down; write low, likely and high in this order")
    if value[-1] > LONGEST:
        raise ValueError(f"{shown} is longer than {LONGEST:,.0f} hours; split the task")
    return tuple(value)


Day = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_day)]
Days = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_days)]
"""A day, or a first and a last one: `2026-12-24..2026-12-31`."""
Moment = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_moment)]
"""A day, or a time of it."""
Estimate = tuple[float, float, float]
"""Low, likely and high, in hours: one task in ten is done in less than low, and one in ten takes more than high."""
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
State = Literal["open", "started", "done"]


class Working(Config):
    """When people work."""

    days: list[Weekday] = Field(list(WEEKDAYS[:5]), min_length=1)
    """The days of the week."""
    start: Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_hour)] = "09:00"
    """When a day's work begins."""
    hours: float = Field(8, gt=0, le=24)
    """Working hours in a day."""
    off: list[Days] = []
    """Days off for everybody: public holidays."""

    @model_validator(mode="after")
    def _a_day_is_long_enough(self) -> Working:
        if self.begins + self.hours > 24:
            raise ValueError(f"{self.hours:g} hours from {self.start} on end after midnight; begin earlier, or work less")
        return self

    @property
    def begins(self) -> float:
        """Hours after midnight."""
        start = time.fromisoformat(self.start)
        return start.hour + start.minute / 60


class Person(Config):
    """One who does tasks."""

    name: str = Field(min_length=1)
    """As the tasks call them."""
    share: float = Field(1, gt=0, le=1)
    """The share of their working hours that this plan gets."""
    off: list[Days] = []
    """Their days off, beside everybody's."""
    github: str | None = None
    """Their log-in on GitHub, where issues are exchanged."""


class PlanTask(Config):
    """One piece of work."""

    id: str = Field(pattern=r"^\w[\w.-]*$", max_length=60)
    """A short name, by which other tasks and the command line name it."""
    title: str = Field(min_length=1)
    """What will be done when it is done."""
    owner: str = MACHINE
    """Who does it: the name of a person of the plan; the machine's tasks need none."""
    kind: Literal["person", "machine"] = "person"
    """Whether a person does it, in working hours, or the machine, around the clock."""
    step: Literal["prepare", "train", "evaluate"] | None = None
    """The step of `lodestar run` that a machine's task is; what the ledger knows of it is then taken from there."""
    depends: list[str] = []
    """The tasks that must be done before it begins."""
    estimate: Annotated[Estimate | Literal["measured"] | None, BeforeValidator(_as_estimate)] = None
    """Low, likely and high, in hours; `measured` for a step of the machine, as earlier runs took; as the other tasks where absent."""
    state: State = "open"
    started: Moment | None = None
    finished: Moment | None = None
    hours: float | None = Field(None, ge=0)
    """Hours that it took, or has taken so far, where that is known better than by the calendar."""
    blocked: str | None = Field(None, min_length=1)
    """What it waits for, where it cannot go on."""

    @model_validator(mode="after")
    def _fields_agree(self) -> PlanTask:
        if self.kind == "person" and self.owner == MACHINE:
            raise ValueError(f"the task {self.id!r} has no owner; name a person of the plan, or set kind to machine")
        if self.kind == "machine" and self.owner != MACHINE:
            raise ValueError(f"the task {self.id!r} is the machine's and its owner is {self.owner!r}; leave one of kind and owner out")
        if self.step is not None and self.kind != "machine":
            raise ValueError(f"the task {self.id!r} is the step {self.step}, which the machine does; set kind to machine")
        if self.estimate == "measured" and self.step is None:
            raise ValueError(f"nothing measures the task {self.id!r}; write its estimate as [low, likely, high] in hours")
        if self.state == "open" and (self.started or self.finished):
            raise ValueError(f"the task {self.id!r} has a date and its state is open; set state to started or done")
        if self.state == "started" and (self.started is None or self.finished is not None):
            raise ValueError(f"the task {self.id!r} is started; give the date it was started on, and no other")
        if self.started and self.finished and end_of(self.finished) < beginning_of(self.started):
            raise ValueError(f"the task {self.id!r} was finished on {self.finished}, before it was started on {self.started}; correct one")
        return self


class Plan(Config):
    """plan.yaml: how the venture gets to its release."""

    begin: Day
    """The first day of the plan."""
    timezone: Annotated[str, AfterValidator(_is_zone)] = "UTC"
    """The time zone that its dates are in."""
    working: Working = Working()
    """When people work."""
    people: list[Person] = Field(min_length=1)
    """Who does its tasks."""
    tasks: list[PlanTask] = Field(min_length=1)
    """What there is to do."""

    def task(self, id: str) -> PlanTask:
        """The task of that id; raises `UserError` where there is none."""
        for task in self.tasks:
            if task.id == id:
                return task
        known = [task.id for task in self.tasks]
        guess = nearest(id, known)
        fix = f"did you mean {guess!r}?" if guess else f"name one of {', '.join(known)}"
        raise UserError(f"the plan has no task {quoted(id)}", where=PLAN_FILE, fix=fix)

    def now(self) -> datetime:
        """The time of day in the plan's own zone, without naming it."""
        return now().astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)


def load_plan(path: Path) -> Plan:
    """Read and check plan.yaml.

    Raises:
        UserError: it is missing or not YAML; a field is unknown, missing or wrong; two tasks have one id; an owner or a dependency is
            unknown; the dependencies go round in a circle. The sentence names the line.
    """
    if not path.exists():
        raise UserError("no plan.yaml here", where=path.parent, fix="run `lodestar plan`, which begins one")
    value, line_of = read_yaml(path)
    plan = Plan.parse(value, where=path, line_of=line_of)
    check(plan, where=path, line_of=line_of)
    return plan


def check(plan: Plan, *, where: str | Path, line_of: LineOf = lambda _: None) -> None:
    """Hold the tasks of a plan against each other; raises `UserError` for the first thing that cannot be."""

    def refuse(path: tuple[int | str, ...], what: str, fix: str) -> UserError:
        line = line_of(path)
        return UserError(what, where=f"{where}:{line}" if line else where, fix=fix)

    people = [person.name for person in plan.people]
    for number, name in enumerate(people):
        if name in people[:number] or name == MACHINE:
            again = "is the machine's" if name == MACHINE else "stands there twice"
            raise refuse(("people", number, "name"), f"the name {name!r} {again}", "give each person a name of their own")
    ids = [task.id for task in plan.tasks]
    for number, task in enumerate(plan.tasks):
        here = ("tasks", number)
        if task.id in ids[:number]:
            raise refuse((*here, "id"), f"two tasks have the id {task.id!r}", "give one of them another")
        if task.owner not in (*people, MACHINE):
            raise refuse(
                (*here, "owner"), f"the task {task.id!r} has an unknown owner {quoted(task.owner)}", _named(task.owner, people, "people")
            )
        for place, needed in enumerate(task.depends):
            if needed not in ids:
                what = f"the task {task.id!r} depends on {quoted(needed)}, which is no task"
                raise refuse((*here, "depends", place), what, _named(needed, ids, "tasks"))
    circle = find_circle({task.id: task.depends for task in plan.tasks})
    if circle:
        where_it_begins = ("tasks", ids.index(circle[0]), "depends")
        raise refuse(
            where_it_begins, f"the tasks wait for each other in a circle: {' → '.join(circle)}", "take one of the dependencies away"
        )


def find_circle(depends: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A circle in the dependencies, its first task named again at the end; None where there is none."""
    done: set[str] = set()
    for first in depends:
        path: list[str] = []
        branches = [iter([first])]
        while branches:
            task = next(branches[-1], None)
            if task is None:
                branches.pop()
                if path:
                    done.add(path.pop())
            elif task in path:
                return [*path[path.index(task) :], task]
            elif task not in done:
                path.append(task)
                branches.append(iter(depends[task]))
    return None


def in_order(tasks: Iterable[PlanTask]) -> list[PlanTask]:
    """The tasks so that each comes after those that it depends on, else in the plan's own order."""
    waiting, placed, ordered = list(tasks), set[str](), list[PlanTask]()
    known = {task.id for task in waiting}
    while waiting:
        ready = next(task for task in waiting if all(needed in placed or needed not in known for needed in task.depends))
        waiting.remove(ready)
        placed.add(ready.id)
        ordered.append(ready)
    return ordered


def beginning_of(moment: str) -> datetime:
    """A moment as the beginning of something: a day is its first minute."""
    return datetime.fromisoformat(moment)


def end_of(moment: str) -> datetime:
    """A moment as the end of something: a day is its last minute."""
    found = datetime.fromisoformat(moment)
    return found + timedelta(days=1) if re.fullmatch(r"[\dW-]+", moment) else found


def days_of(ranges: Iterable[str]) -> set[date]:
    """Every day of such days and ranges of days."""
    found: set[date] = set()
    for each in ranges:
        first, _, last = each.partition(_RANGE)
        begin = date.fromisoformat(first)
        end = date.fromisoformat(last) if last else begin
        found.update(begin + timedelta(days=number) for number in range((end - begin).days + 1))
    return found


def _named(name: str, known: Sequence[str], field: str) -> str:
    guess = nearest(name, known)
    return f"did you mean {guess!r}?" if guess else f"name one of {', '.join(known)}, or add it to {field}"
