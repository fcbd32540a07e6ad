"""Success: what was promised against what is, for the team and for whoever paid for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.clock import now
from ..contracts.errors import UserError
from ..contracts.forecast import Forecast
from ..contracts.language import Words, say
from ..contracts.record import Scorecard
from ..contracts.score import Metric, Score
from .advice import advice
from .economics import Economics, unit_economics
from .economics_words import economics_value
from .forecast_words import forecasts_value
from .forecasts import overdue, resolve_due
from .found import Found, read_findings
from .product import LAST_PREVIEW, Gate, Release, evaluated_runs, gates, previews, read_scorecard, releases
from .rollout import Rollout, latest_rollout, rollout_value
from .status import Next
from .success_page import report_html
from .success_text import report_text
from .usage import Complaint, Heard, Retention, Served, as_served, complaints, heard, retention
from .usage_words import heard_value, retention_value
from .venture import Venture

if TYPE_CHECKING:
    from ..store.ledger import FeedbackRow, Request, Usage

REPORT_FILE = "report.html"
PICTURES = ("scorecard.png", "loss.png")
SHOWN_PREVIEWS = 4
"""Of the course of a training: the first, the last, and some between."""


@dataclass(frozen=True)
class Report:
    """What was promised against what is."""

    value: dict[str, Any]
    """For machines."""
    text: str
    """For the terminal."""
    html: str
    """For everybody else: self-contained, pictures included."""


@dataclass(frozen=True)
class Facts:
    """All that the report tells."""

    venture: Venture
    words: Mapping[str, Words]
    """A metric → what it says."""
    release: Release | None
    """The newest one; None where only an evaluation exists."""
    scorecard: Scorecard
    held: list[Gate]
    history: list[Release]
    requests: list[Request]
    """All that were served, of whichever release."""
    usage: Usage | None
    """Of the newest release; None where nothing was served."""
    as_served: list[Served]
    heard: list[Heard]
    complaints: list[Complaint]
    economics: Economics | None
    """None where venture.yaml says nothing of money, or no server was up."""
    retention: Retention | None
    forecasts: list[Forecast]
    rollout: Rollout | None
    """The last one that was begun."""
    pictures: list[Path]
    previews: list[Path]
    """What the model made in the course of its training."""
    found: Found
    """What the evaluation found beyond its scores."""
    next: list[Next]
    """What to do now, the most urgent first."""

    @property
    def baseline(self) -> dict[str, Score]:
        return {score.metric: score for score in self.scorecard.baseline}

    @property
    def subject(self) -> str:
        """What is reported on."""
        return self.release.name if self.release else say("not released yet", "尚未发布")


def report(venture: Venture, metrics: Mapping[str, Metric]) -> Report:
    """Hold the vision's targets, as they are now, against the newest release (before the first one: the latest evaluation), what was
    served against its costs, and forecasts against what came. Forecasts of which the ledger can tell what came are resolved first.

    Args:
        metrics: those that the task and the system measure, for their words.

    Raises:
        UserError: nothing is evaluated yet.
    """
    if venture.has_ledger:
        resolve_due(venture, now().date())
    facts = gather(venture, {name: metric.words for name, metric in metrics.items()})
    return Report(facts_value(facts), report_text(facts), report_html(facts))


@dataclass(frozen=True)
class _Kept:
    """What the ledger holds of the product in use."""

    requests: list[Request] = field(default_factory=list)
    feedback: list[FeedbackRow] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    economics: Economics | None = None
    rollout: Rollout | None = None

    @classmethod
    def of(cls, venture: Venture) -> _Kept:
        ledger, file = venture.ledger, venture.file
        requests = ledger.requests()
        found = None
        if file.economics is not None:
            assert file.machine_hour is not None  # venture.yaml is refused without
            found = unit_economics(requests, ledger.servers(), file.economics, file.machine_hour)
        return cls(requests, ledger.feedback(), ledger.forecasts(), found, latest_rollout(venture))


@dataclass(frozen=True)
class _Subject:
    """What is reported on, and where its evidence stands."""

    release: Release | None
    scorecard: Scorecard
    evidence: Path
    judged: Path
    """The evaluation's folder; the mistakes stay there, and it may have been removed since."""
    pictures: list[Path]
    course: list[Path]
    """Previews of the training, which stay with its run; of a training that has been removed since, the last one."""


def _subject(venture: Venture, history: list[Release]) -> _Subject:
    if history:
        newest = history[-1]
        evidence = venture.releases / newest.name
        judged = next((run.folder for run in venture.finished("evaluate") if run.record.id == newest.runs.get("evaluate")), evidence)
        trained = next((run.folder for run in venture.finished("train") if run.record.id == newest.runs.get("train")), evidence)
        course = previews(trained) or [path for path in [evidence / LAST_PREVIEW] if path.exists()]
        return _Subject(newest, newest.scorecard, evidence, judged, [evidence / name for name in PICTURES], course)
    if venture.evaluation() is None:
        raise UserError("nothing to report on yet", where=venture.path, fix="run `lodestar run`")
    runs = evaluated_runs(venture)
    folder = runs["evaluate"].folder
    pictures = [runs[step].folder / name for step, name in zip(("evaluate", "train"), PICTURES, strict=True)]
    return _Subject(None, read_scorecard(folder), folder, folder, pictures, previews(runs["train"].folder))


def _some(course: list[Path]) -> list[Path]:
    """The last of the previews, and some before it as far apart as they can be."""
    if len(course) <= SHOWN_PREVIEWS:
        return course
    return [course[round(place * (len(course) - 1) / (SHOWN_PREVIEWS - 1))] for place in range(SHOWN_PREVIEWS)]


def gather(venture: Venture, words: Mapping[str, Words]) -> Facts:
    """All that `report` tells, as it stands: nothing is resolved.

    Args:
        words: a metric → what it says.

    Raises:
        UserError: nothing is evaluated yet.
    """
    history = releases(venture)
    subject, today = _subject(venture, history), now().date()
    kept = _Kept.of(venture) if venture.has_ledger else _Kept()
    usage = venture.ledger.usage(subject.release.name) if subject.release and kept.requests else None
    served = usage.requests if usage else 0
    promises = as_served(venture.file.targets, usage) if usage and served else []
    late, bad = overdue(kept.forecasts, today), complaints(kept.feedback)
    return Facts(
        venture, words, subject.release, subject.scorecard, gates(venture.file.targets, subject.scorecard), history,
        kept.requests, usage if served else None, promises, heard(kept.requests, kept.feedback), bad, kept.economics,
        retention(kept.requests, today), kept.forecasts, kept.rollout, [path for path in subject.pictures if path.exists()],
        _some(subject.course), read_findings(subject.evidence, subject.judged),
        advice(venture, history, served, promises, kept.economics, late, bad),
    )  # fmt: skip


def facts_value(facts: Facts) -> dict[str, Any]:
    """For machines."""
    usage = asdict(facts.usage) if facts.usage else None
    release = facts.release
    steps = [{"command": step.command, "why": step.why._asdict()} for step in facts.next]
    return {
        "venture": facts.venture.file.name,
        "release": release.name if release else None,
        "override": release.override.model_dump() if release and release.override else None,
        "gates": [gate.model_dump(mode="json") | {"reason": gate.reason().en} for gate in facts.held],
        "usage": usage and {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in usage.items()},
        "as_served": [{"metric": each.target.metric, "value": each.value, "kept": each.kept} for each in facts.as_served],
        "heard": heard_value(facts.heard),
        "complaints": [asdict(each) for each in facts.complaints],
        "economics": facts.economics and economics_value(facts.economics),
        "retention": facts.retention and retention_value(facts.retention),
        "rollout": facts.rollout and rollout_value(facts.rollout),
        "forecasts": forecasts_value(facts.forecasts, now().date()),
        "pictures": [str(path) for path in [*facts.pictures, *facts.previews, *facts.found.pictures.values()]],
        "mistakes": [each.model_dump(mode="json") for each in facts.found.mistakes],
        "next": steps[0],
        "steps": steps,
    }
