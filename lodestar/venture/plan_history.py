"""The history of a plan: the ledger keeps every version that was seen, with who changed what, so that "what changed" is a fact."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..contracts.language import Words
from .plan import Plan, PlanTask

if TYPE_CHECKING:
    from ..store.ledger import Ledger

PLAN_EVENT = "plan"
_FIELDS = {
    "title": Words("title", "标题"),
    "owner": Words("owner", "负责人"),
    "kind": Words("kind", "类别"),
    "step": Words("step", "步骤"),
    "depends": Words("dependencies", "依赖"),
    "estimate": Words("estimate", "估时"),
    "state": Words("state", "状态"),
    "started": Words("started", "开始"),
    "finished": Words("finished", "完成"),
    "hours": Words("hours", "工时"),
    "blocked": Words("blocked", "受阻"),
}
_STATES = {"open": Words("open", "未开始"), "started": Words("started", "进行中"), "done": Words("done", "已完成")}


@dataclass(frozen=True)
class Change:
    """What happened to one task between two versions."""

    what: str
    """added, removed or changed."""
    task: str
    title: str
    fields: Mapping[str, tuple[Any, Any]]
    """Of a changed task: field → before and after."""

    def without(self, fields: Collection[str]) -> Change:
        """The same without what happened to some fields."""
        return replace(self, fields={name: values for name, values in self.fields.items() if name not in fields})

    @property
    def words(self) -> Words:
        """For a person, in one line."""
        if self.what != "changed":
            verb = {"added": Words("added", "新增"), "removed": Words("removed", "移除")}[self.what]
            return Words(f"{verb.en} {self.task}: {self.title}", f"{verb.zh} {self.task}：{self.title}")
        english = "; ".join(f"{_FIELDS[field].en} {_shown(old, 'en')} → {_shown(new, 'en')}" for field, (old, new) in self.fields.items())
        chinese = "；".join(f"{_FIELDS[field].zh} {_shown(old, 'zh')} → {_shown(new, 'zh')}" for field, (old, new) in self.fields.items())
        return Words(f"{self.task}: {english}", f"{self.task}：{chinese}")


@dataclass(frozen=True)
class Version:
    """A plan as it was noted."""

    time: str
    """ISO 8601 in UTC."""
    who: str
    why: str
    changes: Sequence[Change]
    plan: Plan


def versions(ledger: Ledger) -> list[Version]:
    """Every version of the plan, oldest first."""
    found: list[Version] = []
    for event in ledger.events(PLAN_EVENT):
        plan = Plan.parse(event.detail["plan"], where="ledger")
        changes = changes_between(found[-1].plan if found else None, plan)
        found.append(Version(event.time, event.detail["who"], event.detail["why"], changes, plan))
    return found


def note_plan(ledger: Ledger, plan: Plan, who: str, why: str) -> list[Change]:
    """Note the plan as it is now, where it is another than the one noted last; returns what changed.

    Args:
        who: who changed it, or found it changed.
        why: what they did: the command, or that the file was edited.
    """
    events = ledger.events(PLAN_EVENT)
    before = Plan.parse(events[-1].detail["plan"], where="ledger") if events else None
    if plan == before:
        return []
    changes = changes_between(before, plan)
    detail = {
        "who": who,
        "why": why,
        "changes": [change.words.en for change in changes],
        "plan": plan.model_dump(mode="json", exclude_defaults=True),
    }
    ledger.add_event(PLAN_EVENT, detail)
    return changes


def changes_between(before: Plan | None, after: Plan) -> list[Change]:
    """What happened to the tasks."""
    old = {task.id: task for task in before.tasks} if before else {}
    new = {task.id: task for task in after.tasks}
    changes = [Change("removed", id, task.title, {}) for id, task in old.items() if id not in new]
    for id, task in new.items():
        if id not in old:
            changes.append(Change("added", id, task.title, {}))
        elif fields := _differing(old[id], task):
            changes.append(Change("changed", id, task.title, fields))
    return changes


def growth(history: Sequence[Version], plan: Plan) -> tuple[int, int]:
    """How many of the people's tasks came into the plan after its work had begun, and how many were finished since.

    What is added before the first task is begun is planning.
    """
    begun = next((version.plan for version in history if any(task.state != "open" for task in _peoples(version.plan))), None)
    if begun is None:
        return 0, 0
    at_first, done_then = {task.id for task in begun.tasks}, {task.id for task in begun.tasks if task.state == "done"}
    added = {task.id for task in _peoples(plan)} - at_first
    done = {task.id for task in _peoples(plan) if task.state == "done"} - done_then
    return len(added), len(done)


def _peoples(plan: Plan) -> list[PlanTask]:
    return [task for task in plan.tasks if task.kind == "person"]


def _differing(before: PlanTask, after: PlanTask) -> dict[str, tuple[Any, Any]]:
    return {
        field: (getattr(before, field), getattr(after, field)) for field in _FIELDS if getattr(before, field) != getattr(after, field)
    }  # fmt: skip


def _shown(value: Any, which: str) -> str:
    """A field's value in a line."""
    if value is None or value == []:
        return "–"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, tuple):
        return "–".join(f"{each:g}" for each in value) + " h"
    if value in _STATES:
        return _STATES[value].zh if which == "zh" else _STATES[value].en
    return f"{value:g}" if isinstance(value, float) else str(value)
