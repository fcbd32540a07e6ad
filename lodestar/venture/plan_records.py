"""What the ledger and the runs know of a plan: which of the machine's steps are done, what they took, and what the next will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from .durations import Duration, Measured
from .plan import Plan, PlanTask
from .venture import STEPS, Venture

if TYPE_CHECKING:
    from ..store.ledger import Ledger, Run

PREDICTION_EVENT = "prediction"
"""What the look before a step told of it: {step, id, seconds}."""


def with_records(plan: Plan, venture: Venture) -> Plan:
    """The plan with the machine's steps as far as they have come: done where they ran with the settings that venture.yaml has now.

    A state that somebody wrote into plan.yaml stays as it is.
    """
    if venture.settings_changed():
        return plan
    return plan.model_copy(update={"tasks": [_with_record(task, plan, venture) for task in plan.tasks]})


def _with_record(task: PlanTask, plan: Plan, venture: Venture) -> PlanTask:
    run = venture.latest(task.step) if task.step and task.state == "open" else None
    if run is None:
        return task
    started, finished = (in_zone(text, plan.timezone) for text in (run.record.started, run.record.finished))
    return task.model_copy(update={"state": "done", "started": started, "finished": finished, "hours": run.record.cost.seconds / 3600})


def in_zone(timestamp: str, zone: str) -> str:
    """A time in UTC, as records have it, in the plan's zone, to the minute."""
    return local(timestamp, zone).isoformat(timespec="minutes")


def local(timestamp: str, zone: str) -> datetime:
    """The same as a time of day."""
    return datetime.fromisoformat(timestamp).astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def measured(ledger: Ledger, decided: Mapping[str, Duration] = MappingProxyType({})) -> dict[str, Measured]:
    """What is known of each step: what its runs took, the prediction of one that has not been finished, and what was decided on.

    Args:
        decided: step → how long it takes by the decision that is carried out.
    """
    attempts = ledger.runs()
    predictions = {event.detail["step"]: event.detail for event in ledger.events(PREDICTION_EVENT)}
    found = {}
    for step in STEPS:
        mine = [run for run in attempts if run.step == step]
        ready = {run.id for run in mine if run.status == "finished"}
        told = predictions.get(step)
        predicted = float(told["seconds"]) if told is not None and told["id"] not in ready else None
        found[step] = Measured(_whole_times(mine), predicted, decided.get(step))
    return found


def _whole_times(attempts: Sequence[Run]) -> list[float]:
    """What each finished run took, with the attempts at the same work that failed before it."""
    spent: dict[str, float] = {}
    done: dict[str, float] = {}
    for run in attempts:
        spent[run.id] = spent.get(run.id, 0.0) + seconds_of(run)
        if run.status == "finished":
            done[run.id] = spent[run.id]
    return list(done.values())


def attempted(ledger: Ledger, id: str) -> float:
    """Seconds that attempts at this work have taken so far."""
    return sum(seconds_of(run) for run in ledger.runs() if run.id == id)


def seconds_of(run: Run) -> float:
    """The time between an attempt's beginning and its end; 0 where it never ended."""
    if run.finished is None:
        return 0.0
    return (datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds()
