"""The plan in the forms of other tools: GitHub issues (JSON), CSV for spreadsheets, iCalendar for calendars; out, and in again.

Each form carries the whole task, so that what was written out comes in as it was; what people change there (a title, who it is assigned
to, that it is closed) comes in changed. What such a tool made itself comes in as far as it says anything: a task without an estimate is
forecast as the plan's other tasks are.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ..contracts.errors import UserError, missing_extra, nearest, quoted
from .plan import MACHINE, Plan, PlanTask, end_of, load_plan
from .plan_history import note_plan
from .plan_records import in_zone, with_records
from .venture import Venture

if TYPE_CHECKING:
    from icalendar import Calendar

    from .execution import Execution
    from .schedule import TaskForecast

COLUMNS = ("id", "title", "owner", "kind", "step", "depends", "low", "likely", "high", "state", "started", "finished", "hours", "blocked")
"""Of the CSV file."""
_HIDDEN = re.compile(r"<!-- lodestar (\{.*\}) -->", re.DOTALL)
_FORMULA = re.compile(r"^'*[=+\-@\t\r]")
"""What a spreadsheet would compute rather than show."""
_TASK_PROPERTY, _DOMAIN = "X-LODESTAR-TASK", "@lodestar"
_RECORDED = ("state", "started", "finished", "hours")
"""Of a step of the machine: the ledger knows, and no other tool does."""


def export_tasks(found: Execution, kind: str) -> str:
    """The plan as `github`, `csv` or `ics`."""
    if kind == "github":
        return json.dumps(to_github(found.plan), ensure_ascii=False, indent=2) + "\n"
    if kind == "csv":
        # Spreadsheets take a CSV without this mark for one in their own country's encoding.
        return "\ufeff" + to_csv(found.plan)
    return to_ics(found.plan, found.forecast.tasks, found.venture.file.name)


def import_tasks(venture: Venture, path: Path, *, owner: str | None, who: str) -> tuple[int, int]:
    """Take tasks over into plan.yaml: those whose id it knows are changed, others added at its end, none removed.

    Args:
        owner: who takes what names nobody.

    Returns:
        How many were changed, and how many added.

    Raises:
        UserError: the file is of none of the three forms, damaged, or says what cannot be; plan.yaml is as it was.
    """
    from .execution import rewrite

    plan = load_plan(venture.plan_path)
    incoming = read_tasks(path, plan, owner)
    places = {task.id: number for number, task in enumerate(plan.tasks)}
    changes: list[tuple[int | None, dict[str, Any]]] = []
    for task in incoming:
        number = places.get(task.id)
        if number is None:
            changes.append((None, _fields(task)))
        elif fields := _changed_fields(plan.tasks[number], task):
            changes.append((number, fields))
    if changes:
        after = rewrite(venture, changes)
        note_plan(venture.ledger, with_records(after, venture), who, f"plan --import {path.name}")
    return sum(number is not None for number, _ in changes), sum(number is None for number, _ in changes)


def read_tasks(path: Path, plan: Plan, owner: str | None = None) -> list[PlanTask]:
    """The tasks of a file, by its ending."""
    readers = {".json": from_github, ".csv": from_csv, ".ics": from_ics}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise UserError("its ending tells none of the forms that can be imported", where=path, fix="name a .json, .csv or .ics file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path, fix="check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 at byte {error.start}", where=path, fix="save the file as UTF-8") from None
    if owner is not None and owner not in [person.name for person in plan.people]:
        known = [person.name for person in plan.people]
        guess = nearest(owner, known)
        raise UserError(
            f"--owner: nobody of the plan is called {quoted(owner)}",
            fix=f"did you mean {guess!r}?" if guess else f"name one of {', '.join(known)}",
        )
    return read(text, plan, owner, path)


# GitHub


def to_github(plan: Plan) -> list[dict[str, Any]]:
    """Issues as GitHub's interface takes them for new ones (`gh api repos/OWNER/REPO/issues --input -`), and `from_github` reads."""
    logins = {person.name: person.github for person in plan.people}
    issues = []
    for task in plan.tasks:
        lines = []
        if task.depends:
            lines.append(f"Depends on: {', '.join(task.depends)}")
        if isinstance(task.estimate, tuple):
            lines.append(f"Estimate: {task.estimate[0]:g} to {task.estimate[2]:g} hours, likely {task.estimate[1]:g}")
        if task.blocked:
            lines.append(f"Blocked: {task.blocked}")
        # Escaped, so that no text of a task ends the comment.
        hidden = json.dumps(_fields(task), ensure_ascii=False).replace(">", "\\u003e")
        login = logins.get(task.owner)
        issues.append(
            {
                "title": task.title,
                "body": "\n".join([*lines, "", f"<!-- lodestar {hidden} -->"]),
                "labels": [task.kind, *(["blocked"] if task.blocked else [])],
                "assignees": [login] if login else [],
                "state": "closed" if task.state == "done" else "open",
            }
        )
    return issues


def from_github(text: str, plan: Plan, owner: str | None, where: Path) -> list[PlanTask]:
    """Issues as `gh issue list --state all --json number,title,body,state,labels,assignees,closedAt` or the REST interface writes them."""
    try:
        issues = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"this is not JSON: {error.msg}", where=f"{where}:{error.lineno}", fix="export it again") from None
    if not isinstance(issues, list) or not all(isinstance(issue, dict) and isinstance(issue.get("title"), str) for issue in issues):
        raise UserError("this is no list of issues with titles", where=where, fix="write one with `gh issue list --state all --json …`")
    names = {person.github.lower(): person.name for person in plan.people if person.github}
    tasks = []
    for number, issue in enumerate(issues, 1):
        if "pull_request" in issue:  # which the REST interface counts among the issues
            continue
        here = f"{where}: issue {issue.get('number', number)}"
        fields = _hidden(issue.get("body") or "", here)
        labels = [label["name"] if isinstance(label, Mapping) else label for label in issue.get("labels") or []]
        logins = [each["login"] if isinstance(each, Mapping) else each for each in issue.get("assignees") or []]
        assigned = next((names[login.lower()] for login in logins if login.lower() in names), None)
        if logins and assigned is None and "owner" not in fields and owner is None:
            raise UserError(
                f"it is assigned to {logins[0]!r}, whom the plan does not know", where=here,
                fix=f"write `github: {logins[0]}` to one of its people, or say with --owner who takes it",
            )  # fmt: skip
        if "blocked" in labels and "blocked" not in fields:
            fields["blocked"] = f"issue {issue.get('number', number)} has the label blocked"
        closed_at = issue.get("closedAt") or issue.get("closed_at")
        fields.setdefault("id", f"gh-{issue.get('number', number)}")
        fields |= {"title": issue["title"]} | ({"owner": assigned} if assigned and fields.get("kind") != "machine" else {})
        closed = str(issue.get("state", "open")).lower() == "closed"
        tasks.append(_task(_as_stated(fields, closed, _day_of(closed_at, plan, here)), owner, here))
    return tasks


def _hidden(body: str, where: str) -> dict[str, Any]:
    found = _HIDDEN.search(body)
    if found is None:
        return {}
    try:
        fields = json.loads(found[1])
    except json.JSONDecodeError:
        raise UserError("what lodestar wrote into its body is damaged", where=where, fix="take the hidden comment out of it") from None
    return dict(fields)


# CSV


def to_csv(plan: Plan) -> str:
    """A row a task, for spreadsheets."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for task in plan.tasks:
        fields = _fields(task)
        estimate = fields.pop("estimate", None)
        low, likely, high = ("", "measured", "") if estimate == "measured" else estimate or ("", "", "")
        row = {**fields, "depends": " ".join(task.depends), "low": low, "likely": likely, "high": high}
        writer.writerow({name: _shown_as_text(value) for name, value in row.items()})
    return table.getvalue()


def from_csv(text: str, plan: Plan, owner: str | None, where: Path) -> list[PlanTask]:
    """Rows with at least an id and a title."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = reader.fieldnames or []
    for name in header:
        if name not in COLUMNS:
            guess = nearest(name, COLUMNS)
            fix = f"did you mean {guess!r}?" if guess else f"the columns are {', '.join(COLUMNS)}"
            raise UserError(f"unknown column {quoted(name)}", where=f"{where}:1", fix=fix)
    for name in ("id", "title"):
        if name not in header:
            raise UserError(f"no column {name!r}", where=f"{where}:1", fix="add it; each task needs one")
    tasks = []
    for row in reader:
        here = f"{where}:{reader.line_num}"
        if None in row:
            raise UserError("a row has more cells than the header", where=here, fix="put cells with commas into quotes")
        cells: dict[str, Any] = {name: _as_written(value) for name, value in row.items() if value}
        hours = [cells.pop(name, None) for name in ("low", "likely", "high")]
        if hours[1] == "measured":
            cells["estimate"] = "measured"
        elif any(hours):
            cells["estimate"] = [_number(each, name, here) for each, name in zip(hours, ("low", "likely", "high"), strict=True)]
        if "hours" in cells:
            cells["hours"] = _number(cells["hours"], "hours", here)
        cells["depends"] = cells.get("depends", "").split()
        tasks.append(_task(cells, owner, here))
    return tasks


def _shown_as_text(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _as_written(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _number(cell: str | None, name: str, where: str) -> float:
    try:
        return float(cell or "")
    except ValueError:
        raise UserError(
            f"{name} is {quoted(cell or '')}, which is no number of hours", where=where, fix="write one, or leave all three empty"
        ) from None


# iCalendar


def to_ics(plan: Plan, forecasts: Mapping[str, TaskForecast], name: str) -> str:
    """A to-do for each task, due when it is 80% sure to be done, and for each that is left an event from its beginning to its end.

    RFC 5545, with the relation DEPENDS-ON of RFC 9253. The whole task stands in a property of our own.
    """
    icalendar = _icalendar()
    zone = ZoneInfo(plan.timezone)
    calendar: Calendar = icalendar.Calendar()
    calendar.add("prodid", "-//Lodestar//plan//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", name)
    stamp = datetime.combine(plan.now().date(), datetime.min.time(), UTC)
    for task in plan.tasks:
        todo = icalendar.Todo()
        todo.add("uid", task.id + _DOMAIN)
        todo.add("dtstamp", stamp)
        todo.add("summary", task.title)
        todo.add("status", {"open": "NEEDS-ACTION", "started": "IN-PROCESS", "done": "COMPLETED"}[task.state])
        if task.finished:
            todo.add("completed", end_of(task.finished).replace(tzinfo=zone).astimezone(UTC))
        for needed in task.depends:
            todo.add("related-to", needed + _DOMAIN, parameters={"RELTYPE": "DEPENDS-ON"})
        if task.blocked:
            todo.add("comment", task.blocked)
        todo.add(_TASK_PROPERTY, json.dumps(_fields(task), ensure_ascii=False), parameters={"VALUE": "TEXT"})
        told = forecasts.get(task.id)
        if told is not None:
            todo.add("due", told.sure.replace(tzinfo=zone).astimezone(UTC))
        calendar.add_component(todo)
        if told is not None:
            event = icalendar.Event()
            event.add("uid", f"{task.id}-bar{_DOMAIN}")
            event.add("dtstamp", stamp)
            event.add("summary", f"{task.title} ({task.owner})")
            event.add("dtstart", told.start.replace(tzinfo=zone).astimezone(UTC))
            event.add("dtend", max(told.start, told.finish).replace(tzinfo=zone).astimezone(UTC))
            event.add("transp", "TRANSPARENT")
            calendar.add_component(event)
    return str(calendar.to_ical().decode())


def from_ics(text: str, plan: Plan, owner: str | None, where: Path) -> list[PlanTask]:
    """The to-dos of a calendar; its events are nobody's task."""
    icalendar = _icalendar()
    try:
        calendar = icalendar.Calendar.from_ical(text)
    except (ValueError, IndexError) as error:
        raise UserError(f"this is not iCalendar: {error}", where=where, fix="export it again") from None
    tasks = []
    for todo in calendar.walk("VTODO"):
        uid = str(todo.get("uid", ""))
        here = f"{where}: {uid}"
        kept = todo.get(_TASK_PROPERTY)
        try:
            fields: dict[str, Any] = dict(json.loads(str(kept))) if kept is not None else {}
        except ValueError:
            raise UserError(f"its {_TASK_PROPERTY} is damaged", where=here, fix="take the property out") from None
        title = str(todo.get("summary", "")).strip()
        fields |= {"title": title} if title else {}
        fields.setdefault("id", re.sub(r"[^\w.-]+", "-", uid.partition("@")[0]).strip("-.")[:60])
        completed = todo.get("completed")
        moment = completed.dt.astimezone(UTC).isoformat() if completed is not None else None
        done = str(todo.get("status", "")) == "COMPLETED"
        tasks.append(_task(_as_stated(fields, done, _day_of(moment, plan, here)), owner, here))
    return tasks


def _icalendar() -> Any:
    try:
        import icalendar
    except ModuleNotFoundError:
        raise missing_extra("icalendar", "calendar", why="reading and writing calendars") from None
    return icalendar


# What the three share


def _fields(task: PlanTask) -> dict[str, Any]:
    """The fields of a task that say something, as JSON."""
    return task.model_dump(mode="json", exclude_defaults=True)


def _changed_fields(before: PlanTask, after: PlanTask) -> dict[str, Any]:
    """What of a task is to be written anew; None takes a field away."""
    old, new = _fields(before), _fields(after)
    kept = _RECORDED if before.step is not None else ()
    return {name: new.get(name) for name in {**old, **new} if old.get(name) != new.get(name) and name not in kept}


def _as_stated(fields: dict[str, Any], closed: bool, finished: str | None) -> dict[str, Any]:
    """The fields, where the other tool says whether the task is done; its own day of finishing counts where it was not done before."""
    was_done = fields.get("state") == "done"
    if closed and not was_done:
        return {**fields, "state": "done"} | ({"finished": finished} if finished else {})
    if was_done and not closed:
        again = "started" if "started" in fields else "open"
        return {name: value for name, value in fields.items() if name != "finished"} | {"state": again}
    return fields


def _day_of(timestamp: object, plan: Plan, where: str) -> str | None:
    """A time of another tool, in the plan's zone."""
    if not timestamp:
        return None
    try:
        return in_zone(str(timestamp), plan.timezone)
    except ValueError:
        raise UserError(f"{quoted(timestamp)} is no date", where=where, fix="write it as YYYY-MM-DDTHH:MM:SSZ") from None


def _task(fields: dict[str, Any], owner: str | None, where: str) -> PlanTask:
    if fields.get("kind") != "machine" and fields.get("owner", MACHINE) == MACHINE:
        if owner is None:
            raise UserError("it names nobody who does it", where=where, fix="assign it, or say with --owner who takes such tasks")
        fields = {**fields, "owner": owner}
    return PlanTask.parse(fields, where=where)
