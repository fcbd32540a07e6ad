"""Forecasts are kept in the ledger, and resolved from it where it can tell.

They are resolved when their last day is over and not before, even where the answer is plain earlier: what comes true is seen sooner than
what does not, so that scores of early answers would flatter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from ..contracts.errors import UserError, unknown
from ..contracts.forecast import Forecast, Resolution
from ..contracts.language import Words
from .product import Release, releases
from .venture import Venture

if TYPE_CHECKING:
    from ..contracts.score import Metric
    from ..store.ledger import FeedbackRow, Request, Run


@dataclass(frozen=True)
class Reading:
    """What a quantity came to, and where that can be looked up."""

    value: float
    reference: str


@dataclass(frozen=True)
class Window:
    """What the ledger holds of the days of one forecast, from the one it was made on to its last, both included."""

    venture: Venture
    first: date
    last: date

    def holds(self, moment: str) -> bool:
        """Whether an ISO 8601 moment lies within."""
        return self.first.isoformat() <= moment[:10] <= self.last.isoformat()

    @cached_property
    def runs(self) -> list[Run]:
        """The attempts that came to an end, finished or failed: both were paid for."""
        return [run for run in self.venture.ledger.runs() if run.finished and self.holds(run.started)]

    @cached_property
    def requests(self) -> list[Request]:
        return [request for request in self.venture.ledger.requests() if self.holds(request.time)]

    @cached_property
    def feedback(self) -> list[FeedbackRow]:
        return [row for row in self.venture.ledger.feedback() if self.holds(row.time)]

    @cached_property
    def releases(self) -> list[Release]:
        return [made for made in releases(self.venture) if self.holds(made.created)]

    @property
    def days(self) -> int:
        return (self.last - self.first).days


@dataclass(frozen=True)
class LedgerMetric:
    """A quantity that the ledger knows without an evaluation."""

    words: Words
    unit: str
    read: Callable[[Window], Reading | None]
    """What it came to; None where nothing happened that it could be told from."""


def ledger_metrics(venture: Venture) -> dict[str, LedgerMetric]:
    """Every quantity that a forecast on this venture can be about, beside the metrics of its task and of the system."""
    budget = venture.file.budget
    found = dict(_METRICS)
    if budget is not None and budget.per_hour is not None:
        found["machine_cost"] = LedgerMetric(
            Words("What the runs cost, at budget.per_hour.", "按 budget.per_hour 计算的运行费用。"), budget.currency, _machine_cost
        )
    return found


def check_forecast(venture: Venture, forecast: Forecast, metrics: Mapping[str, Metric]) -> None:
    """Refuse a forecast on what nobody measures, or in another unit than it is measured in.

    Args:
        metrics: those of the task and of the system, by name.

    Raises:
        UserError: the metric is unknown, or the unit is not its own.
    """
    if not forecast.metric:
        return
    known: dict[str, Metric | LedgerMetric] = {**metrics, **ledger_metrics(venture)}
    units = {name: metric.unit for name, metric in known.items()}
    if forecast.metric not in units:
        raise unknown("metric", forecast.metric, units, where=f"forecast {forecast.id}")
    if forecast.unit != units[forecast.metric]:
        own = units[forecast.metric] or "no unit"
        raise UserError(
            f"the unit is {forecast.unit!r}, and {forecast.metric!r} is measured in {own}", where=f"forecast {forecast.id}",
            fix=f"convert the figures, and give the unit {units[forecast.metric]!r}",
        )  # fmt: skip


def resolve_due(venture: Venture, today: date) -> list[Forecast]:
    """Resolve every forecast whose last day is over and of which the ledger can tell what came; returns those resolved now."""
    resolved = []
    for forecast in open_forecasts(venture.ledger.forecasts()):
        found = _resolution(venture, forecast, today) if forecast.metric and forecast.is_due(today) else None
        if found is not None:
            resolved.append(venture.ledger.resolve_forecast(forecast.id, found))
    return resolved


def open_forecasts(forecasts: Sequence[Forecast]) -> list[Forecast]:
    """Those of which it is not known yet what came."""
    return [forecast for forecast in forecasts if forecast.resolution is None]


def overdue(forecasts: Sequence[Forecast], today: date) -> list[Forecast]:
    """Those whose last day is over and which the ledger could not resolve: somebody has to."""
    return [forecast for forecast in open_forecasts(forecasts) if forecast.is_due(today)]


def next_id(forecasts: Sequence[Forecast]) -> str:
    """A name that no forecast has: f1, f2, …"""
    taken = {forecast.id for forecast in forecasts}
    return next(name for number in range(1, len(taken) + 2) if (name := f"f{number}") not in taken)


def _resolution(venture: Venture, forecast: Forecast, today: date) -> Resolution | None:
    window = Window(venture, forecast.made, forecast.resolve_by)
    known = ledger_metrics(venture).get(forecast.metric)
    reading = known.read(window) if known else _released_score(window, forecast.metric)
    if not forecast.is_event:
        return None if reading is None else Resolution(value=reading.value, when=today, source="ledger", reference=reading.reference)
    if reading is not None:
        return Resolution(outcome=forecast.happened(reading.value), when=today, source="ledger", reference=reading.reference)
    return _without_a_release(window, forecast, today)


def _without_a_release(window: Window, forecast: Forecast, today: date) -> Resolution | None:
    """What came of an event on a release where there was none by its last day.

    It took longer than the days that there were; and no metric of it is kept.
    """
    where = f"no release by {forecast.resolve_by}"
    if forecast.metric == "release_days":
        late = forecast.at_least is not None and window.days + 1 >= forecast.at_least
        # Still open where it was said to take even longer than there were days to look.
        known = late or forecast.at_most is not None
        return Resolution(outcome=late, when=today, source="ledger", reference=where) if known else None
    if forecast.metric in ledger_metrics(window.venture) or _newest(window) is not None:
        return None
    return Resolution(outcome=False, when=today, source="ledger", reference=where)


def _newest(window: Window) -> Release | None:
    """The release that was in force at the end, whenever it was made."""
    made = [release for release in releases(window.venture) if release.created[:10] <= window.last.isoformat()]
    return made[-1] if made else None


def _released_score(window: Window, metric: str) -> Reading | None:
    release = _newest(window)
    score = release.scorecard.score(metric) if release else None
    return Reading(score.value, f"release {release.name}") if release and score else None


def _release_days(window: Window) -> Reading | None:
    if not window.releases:
        return None
    first = window.releases[0]
    return Reading(float((date.fromisoformat(first.created[:10]) - window.first).days), f"release {first.name}")


def _machine_hours(window: Window) -> Reading:
    seconds = [(datetime.fromisoformat(str(run.finished)) - datetime.fromisoformat(run.started)).total_seconds() for run in window.runs]
    return Reading(sum(seconds) / 3600, f"{len(seconds)} runs")


def _machine_cost(window: Window) -> Reading:
    budget = window.venture.file.budget
    assert budget is not None
    assert budget.per_hour is not None
    hours = _machine_hours(window)
    return Reading(hours.value * budget.per_hour, f"{hours.reference}, {budget.per_hour:g} {budget.currency} an hour")


def _peak_memory(window: Window) -> Reading | None:
    peaks = [run.record["cost"]["peak_memory_bytes"] for run in window.runs if run.record]
    return Reading(float(max(peaks)), f"{len(peaks)} runs") if peaks else None


def _requests(window: Window) -> Reading:
    return Reading(float(len(window.requests)), "requests served")


def _failed_share(window: Window) -> Reading | None:
    failed = [request.status >= 400 for request in window.requests]
    return Reading(sum(failed) / len(failed), f"{len(failed)} requests") if failed else None


def _good_share(window: Window) -> Reading | None:
    # The last word on an answer counts.
    ratings = {row.request: row.rating for row in window.feedback if row.rating}
    good = sum(rating == "up" for rating in ratings.values())
    return Reading(good / len(ratings), f"{len(ratings)} answers rated") if ratings else None


_METRICS: Mapping[str, LedgerMetric] = {
    "release_days": LedgerMetric(
        Words("Days from the forecast to the first release after it.", "自预测之日到其后首次发布的天数。"), "days", _release_days
    ),
    "machine_hours": LedgerMetric(
        Words("Hours that the runs took, failed ones included.", "运行用时（小时），含失败的运行。"), "h", _machine_hours
    ),
    "peak_memory_bytes": LedgerMetric(Words("The most memory that a run took.", "单次运行的内存峰值。"), "bytes", _peak_memory),
    "requests": LedgerMetric(Words("Requests that were served.", "服务的请求数。"), "", _requests),
    "failed_share": LedgerMetric(Words("The share of requests that failed.", "失败请求所占比例。"), "", _failed_share),
    "good_share": LedgerMetric(Words("The share of rated answers that were found good.", "获评价的回答中好评所占比例。"), "", _good_share),
}
