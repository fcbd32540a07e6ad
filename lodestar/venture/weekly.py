"""The week's update, drafted from what the ledger knows: what was promised, what happened, what changed, what is blocked, what comes next.

A draft: people add why. What was promised is what the update before it said would be done, noted then, so that nobody has to remember it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from ..contracts.language import say
from ..store.files import write_atomic
from .budget import spending
from .execution import Execution, overdue, who_am_i
from .page import bullets, document, section
from .plan import PlanTask
from .plan_history import Version
from .plan_records import local, seconds_of
from .plan_words import STATES, chance_line, day, finish_lines, state_of
from .words import length_words

if TYPE_CHECKING:
    from ..store.ledger import Run

WEEK_EVENT = "week"
FOLDER = "updates"
_SAID_BEFORE = {"state", "started", "finished", "hours", "blocked"}
"""Fields whose changes are what happened, not changes of the plan."""


@dataclass(frozen=True)
class Week:
    """The facts of an update."""

    name: str
    """As ISO 8601 numbers it: 2026-W49."""
    since: datetime
    until: datetime
    promised: Sequence[tuple[str, str, str]]
    """(id, title, what became of it)."""
    happened: Sequence[str]
    changed: Sequence[str]
    blocked: Sequence[str]
    coming: Sequence[PlanTask]
    """The tasks that are likely done within a week: what is promised now."""


def write_week(found: Execution) -> tuple[dict[str, Any], str]:
    """Draft the update into updates/WEEK.md and .html, note what it promises, and return it for machines and for the terminal.

    A second one in the same week takes the place of the first.
    """
    week = draft(found)
    parts = parts_of(found, week)
    title = f"{found.venture.file.name} · {week.name}"
    text = _markdown(title, parts)
    folder = found.venture.folder / FOLDER
    files = {kind: folder / f"{week.name}.{kind}" for kind in ("md", "html")}
    write_atomic(files["md"], text)
    write_atomic(files["html"], _html(found, week, parts))
    promise = {
        "week": week.name, "who": who_am_i(), "promised": {task.id: task.title for task in week.coming},
        "by": found.forecast.to_json()["by"],
    }  # fmt: skip
    found.venture.ledger.add_event(WEEK_EVENT, promise)
    value = {
        "week": week.name,
        "since": week.since.isoformat(timespec="minutes"),
        "until": week.until.isoformat(timespec="minutes"),
        "promised": [{"task": id, "title": title, "became": became} for id, title, became in week.promised],
        "happened": list(week.happened),
        "changed": list(week.changed),
        "blocked": list(week.blocked),
        "next": [task.id for task in week.coming],
        "files": {kind: str(path) for kind, path in files.items()},
    }
    return value, f"{text}\n{say('Draft: ', '草稿：')}{files['md']}"


def draft(found: Execution) -> Week:
    """The facts since the last update of an earlier week; since a week ago where there is none."""
    plan, at = found.plan, found.forecast.at
    name = f"{at.isocalendar().year}-W{at.isocalendar().week:02d}"
    earlier = [event for event in found.venture.ledger.events(WEEK_EVENT) if event.detail["week"] != name]
    last = earlier[-1] if earlier else None
    since = local(last.time, plan.timezone) if last else at - timedelta(weeks=1)
    recent = [version for version in found.history if local(version.time, plan.timezone) > since]
    now_there = {task.id: task for task in plan.tasks}
    promised = [
        (id, title, str(STATES[state_of(now_there[id])]) if id in now_there else say("no longer in the plan", "已移出计划"))
        for id, title in (last.detail["promised"] if last else {}).items()
    ]
    runs = [run for run in found.venture.ledger.runs() if local(run.started, plan.timezone) > since]
    return Week(
        name, since, at, promised, [*_tasks_that_moved(plan.tasks, since), *_machine(found, runs, since)],
        [*_changes(recent, first=len(recent) == len(found.history)), *_forecast_moved(found, last.detail["by"] if last else None)],
        _stuck(found, runs), _due_within_a_week(found, at),
    )  # fmt: skip


def _tasks_that_moved(tasks: Sequence[PlanTask], since: datetime) -> list[str]:
    lines = []
    for task in tasks:
        who = "" if task.kind == "machine" else say(f" ({task.owner})", f"（{task.owner}）")
        if task.finished and datetime.fromisoformat(task.finished) >= _morning(since):
            lines.append(say(f"done: {task.title}{who}", f"已完成：{task.title}{who}"))
        elif task.state == "started" and task.started and datetime.fromisoformat(task.started) >= _morning(since):
            lines.append(say(f"begun: {task.title}{who}", f"已开始：{task.title}{who}"))
    return lines


def _morning(moment: datetime) -> datetime:
    """A task's day has no time: what was done on the day of the last update may have been done after it."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _machine(found: Execution, runs: Sequence[Run], since: datetime) -> list[str]:
    """What the machine did, what it cost, and what was released."""
    lines = []
    finished = [run for run in runs if run.status == "finished"]
    failed = [run for run in runs if run.status == "failed"]
    if runs:
        steps = ", ".join(f"{run.step} ({length_words(seconds_of(run))})" for run in finished) or "–"
        lines.append(
            say(f"the machine finished: {steps}; attempts that failed: {len(failed)}", f"机器完成：{steps}；失败 {len(failed)} 次")
        )
    made = [row for row in found.venture.ledger.releases() if local(row.created, found.plan.timezone) > since]
    lines += [say(f"released {row.name}", f"发布 {row.name}") for row in made]
    spent = spending(found.venture)
    if spent.budget is not None and spent.hours:
        lines.append(str(spent.words))
    return lines


def _changes(recent: Sequence[Version], *, first: bool) -> list[str]:
    """What people changed of the plan itself, and who; the first version of a plan changes nothing."""
    changes = [(version.who, change.without(_SAID_BEFORE)) for version in (recent[1:] if first else recent) for change in version.changes]
    return [f"{change.words}{say(f' ({who})', f'（{who}）')}" for who, change in changes if change.what != "changed" or change.fields]


def _forecast_moved(found: Execution, before: dict[str, str] | None) -> list[str]:
    if before is None or not found.forecast.tasks:
        return []
    then, now = before["80%"][:10], day(found.forecast.by(0.8))
    if then == now:
        return [say(f"the finish is forecast as before: 80% sure by {now}", f"完成预测不变：80% 把握在 {now} 前")]
    return [say(f"the finish moved: 80% sure by {now}, was {then}", f"完成预测有变：80% 把握由 {then} 变为 {now}")]


def _stuck(found: Execution, runs: Sequence[Run]) -> list[str]:
    """What cannot go on, what takes longer than it should, and runs that failed and were not made up for."""
    waiting = [task for task in found.plan.tasks if task.blocked and task.state != "done"]
    lines = [
        say(f"{task.title} ({task.owner}) waits for: {task.blocked}", f"{task.title}（{task.owner}）在等：{task.blocked}")
        for task in waiting
    ]
    lines += [
        say(
            f"{task.title} ({task.owner}) has taken longer than the estimate's high, which one task in ten does",
            f"{task.title}（{task.owner}）用时已超过估计的上限，这种情况十次只有一次",
        )
        for task in overdue(found.plan, found.known)
    ]
    last = {run.step: run for run in runs}
    lines += [
        say(f"the step {step} failed: {run.why}", f"步骤 {step} 失败：{run.why}") for step, run in last.items() if run.status == "failed"
    ]
    return lines


def _due_within_a_week(found: Execution, at: datetime) -> list[PlanTask]:
    told = found.forecast.tasks
    return [task for task in found.plan.tasks if task.id in told and not task.blocked and told[task.id].finish <= at + timedelta(weeks=1)]


# As a text


def parts_of(found: Execution, week: Week) -> list[tuple[str, list[str]]]:
    """The update's headings, and the lines under each."""
    coming = [
        f"{task.title}{say(' (', '（')}{say('machine', '机器') if task.kind == 'machine' else task.owner}{say(')', '）')}"
        for task in week.coming
    ]
    kept = [f"{title}{say(': ', '：')}{became}" for _, title, became in week.promised]
    nothing = [say("nothing", "无")]
    return [
        (say("Promised last time", "上次承诺"), kept or [say("nothing was promised before", "此前没有承诺")]),
        (say("What happened", "本周进展"), list(week.happened) or nothing),
        (say("What changed", "计划变动"), list(week.changed) or nothing),
        (say("What is blocked", "受阻事项"), list(week.blocked) or nothing),
        (say("Likely done within a week", "预计一周内完成"), coming or nothing),
        (say("When all is done", "整体完成日期"), [*finish_lines(found), *(chance_line(*each) for each in found.chances())]),
    ]


def _markdown(title: str, parts: Sequence[tuple[str, list[str]]]) -> str:
    lines = [f"# {title}"]
    for heading, inner in parts:
        lines += ["", f"## {heading}", "", *(f"- {line}" for line in inner)]
    return "\n".join(lines) + "\n"


def _html(found: Execution, week: Week, parts: Sequence[tuple[str, list[str]]]) -> str:
    kind = say("Weekly update", "周报")
    name = found.venture.file.name
    span = say(f"{day(week.since)} to {day(week.until)}", f"{day(week.since)} 至 {day(week.until)}")
    head = f'<h1>{escape(name)} <span class="version">{week.name}</span></h1><p class="audience">{span}</p>'
    closing = say("A draft from the ledger; the team adds why.", "由账本自动起草，原因由团队补充。")
    return document(
        f"{name} · {week.name}", kind, day(week.until), [head, *(section(heading, bullets(lines)) for heading, lines in parts)], closing
    )
