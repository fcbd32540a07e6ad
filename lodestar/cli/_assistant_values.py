"""The types of what assistants are told, from which the JSON Schemas of their tools follow: what each command prints with `--json`."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from typing_extensions import TypedDict

from ..contracts.forecast import Forecast
from ..contracts.score import Score, Target
from ..venture.decision import Comparison, Problem
from ..venture.plan import PlanTask
from ..venture.product import Override


class WordsValue(TypedDict):
    en: str
    zh: str


class StageValue(TypedDict):
    name: Literal["vision", "decision", "execution", "product", "success"]
    state: Literal["done", "under way", "open"]
    words: WordsValue


class NextValue(TypedDict):
    command: str
    why: WordsValue


class StatusValue(TypedDict):
    venture: str
    stages: list[StageValue]
    running: str | None
    overdue: list[str]
    next: NextValue


class GateValue(TypedDict):
    target: Target
    score: Score | None
    kept: bool
    reason: str


class AsServedValue(TypedDict):
    metric: str
    value: float
    kept: bool


class TargetsValue(TypedDict):
    venture: str
    release: str | None
    override: Override | None
    gates: list[GateValue]
    as_served: list[AsServedValue]


class DifferenceValue(TypedDict):
    metric: str
    a: float
    b: float
    verdict: Literal["a", "b", "unknown"]
    needed: int | None
    value: float
    low: float
    high: float
    standard_error: float
    detectable: float


class ComparedValue(TypedDict):
    a: str
    b: str
    comparisons: list[DifferenceValue]


class WeighedValue(TypedDict):
    problem: Problem
    comparison: Comparison


class DecisionValue(TypedDict):
    number: int
    choice: str
    hash: str


class DecisionsValue(TypedDict):
    decisions: list[DecisionValue]


class DurationValue(TypedDict):
    hours: float
    source: str


class BandValue(TypedDict):
    level: float
    low: str
    high: str


class TaskOutlookValue(TypedDict):
    start: str
    finish: str
    sure: str
    critical: float


class FinishValue(TypedDict):
    at: str
    seed: int
    draws: int
    by: dict[str, str]
    bands: list[BandValue]
    tasks: dict[str, TaskOutlookValue]


class DueValue(TypedDict):
    metric: str
    by: date
    chance: float


class PlanValue(TypedDict):
    venture: str
    tasks: list[PlanTask]
    critical_path: list[str]
    durations: dict[str, DurationValue]
    forecast: FinishValue
    throughput: dict[str, Any] | None
    targets: list[DueValue]
    changes: list[WordsValue]


class ForecastValue(Forecast):
    overdue: bool


class ForecastsValue(TypedDict):
    forecasts: list[ForecastValue]
    resolved_events: int
    events: dict[str, Any] | None
    resolved_quantities: int
    quantities: dict[str, Any] | None


class MistakeValue(TypedDict):
    text: str
    expected: str
    answered: str


class ReportValue(TargetsValue):
    usage: dict[str, Any] | None
    heard: list[dict[str, Any]]
    complaints: list[dict[str, Any]]
    economics: dict[str, Any] | None
    retention: dict[str, Any] | None
    rollout: dict[str, Any] | None
    forecasts: ForecastsValue
    pictures: list[str]
    mistakes: list[MistakeValue]
    next: NextValue
    steps: list[NextValue]


class StepValue(TypedDict):
    step: str
    id: str
    status: Literal["started", "finished", "failed"]
    started: str
    finished: str | None
    why: str | None


class ProgressValue(TypedDict):
    name: str
    command: str
    begun: str
    state: Literal["running", "done", "refused", "cut off"]
    outcome: Any
    sentence: str | None
    steps: list[StepValue]
    training: dict[str, Any] | None
    log: list[str]
