"""What users made of the product: what they thought of answers, what came of them, and who came back.

Users are known only where a client names them, and only as hashes with the venture's own salt (cli/_serving.py). A cohort is the users of
whom the first request came in the same period; of fewer than `SMALLEST` no figure is shown, since it could point at somebody.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

from ..contracts.intervals import exact_share
from ..contracts.score import Target

if TYPE_CHECKING:
    from ..store.ledger import FeedbackRow, Request, Usage

SMALLEST = 5
"""Users of a cohort that is shown."""
MOST = 12
"""Cohorts, and periods of each, that are shown: the latest ones."""
WEEKS_FROM = 15
"""Days of use from which cohorts are by week; by day before."""


@dataclass(frozen=True)
class Share:
    """A share of so many, with its exact 95% interval."""

    part: int
    whole: int
    low: float
    high: float

    @classmethod
    def of(cls, part: int, whole: int) -> Share:
        return cls(part, whole, *exact_share(part, whole))

    @property
    def value(self) -> float:
        return self.part / self.whole


@dataclass(frozen=True)
class Served:
    """A promise, held against what was served."""

    target: Target
    value: float
    unit: str
    kept: bool


@dataclass(frozen=True)
class Complaint:
    """An answer that somebody found bad: the next one to look at, and to label."""

    request: str
    """The answer's id, by which the client's own log knows what was asked."""
    release: str
    comment: str


@dataclass(frozen=True)
class Heard:
    """The feedback on the answers of one release; the last word on each answer counts."""

    release: str
    answered: int
    good: Share | None
    """Of the answers that were rated; None where none was."""
    succeeded: Share | None
    """Of the answers of which it was told what came; None where nothing was."""


@dataclass(frozen=True)
class Cohort:
    """Users who came first in the same period."""

    first: date
    """Its first day."""
    users: int | None
    """None where they are fewer than `SMALLEST`."""
    returned: tuple[float | None, ...]
    """The share that was back one period later, two periods later, …; periods that are not over are left out."""


@dataclass(frozen=True)
class Retention:
    """Who came back."""

    period: Literal["day", "week"]
    users: int
    cohorts: tuple[Cohort, ...]


def as_served(targets: Sequence[Target], usage: Usage) -> list[Served]:
    """Those targets that the ledger measures of what was served, too: the latencies of requests that succeeded."""
    measured = {"latency_ms_p50": usage.latency_ms_p50, "latency_ms_p95": usage.latency_ms_p95}
    known = [(target, measured[target.metric]) for target in targets if target.metric in measured]
    return [Served(target, value, "ms", target.kept_by(value)) for target, value in known if not math.isnan(value)]


def heard(requests: Sequence[Request], feedback: Sequence[FeedbackRow]) -> list[Heard]:
    """The feedback by release, in the order of their first request."""
    ratings, outcomes = _last_words(feedback)
    by_release: dict[str, list[str | None]] = defaultdict(list)
    for request in requests:
        if request.status < 400:
            by_release[request.release].append(request.id)
    found = []
    for release, ids in by_release.items():
        rated = [ratings[id] for id in ids if id in ratings]
        told = [outcomes[id] for id in ids if id in outcomes]
        good = Share.of(rated.count("up"), len(rated)) if rated else None
        found.append(Heard(release, len(ids), good, Share.of(sum(told), len(told)) if told else None))
    return found


def complaints(feedback: Sequence[FeedbackRow]) -> list[Complaint]:
    """The answers of which the last word is bad, the newest first."""
    ratings, _ = _last_words(feedback)
    last = {row.request: row for row in feedback if row.rating}
    return [Complaint(id, row.release, row.comment) for id, row in reversed(last.items()) if ratings[id] == "down"]


def retention(requests: Sequence[Request], today: date) -> Retention | None:
    """The cohorts of the users that clients named; None where they named none."""
    days_of: dict[str, set[date]] = defaultdict(set)
    for request in requests:
        if request.user_hash is not None:
            days_of[request.user_hash].add(date.fromisoformat(request.time[:10]))
    if not days_of:
        return None
    first_day = min(min(days) for days in days_of.values())
    length = 7 if (today - first_day).days >= WEEKS_FROM else 1
    periods_of = {user: {(day - first_day).days // length for day in days} for user, days in days_of.items()}
    # The period that today is in is not over, and would look like a loss.
    over = (today - first_day).days // length
    cohorts = _cohorts(periods_of, over, first_day, length)
    return Retention("week" if length == 7 else "day", len(days_of), tuple(cohorts[-MOST:]))


def _cohorts(periods_of: Mapping[str, set[int]], over: int, first_day: date, length: int) -> list[Cohort]:
    members: dict[int, list[set[int]]] = defaultdict(list)
    for periods in periods_of.values():
        members[min(periods)].append(periods)
    found = []
    for start, users in sorted(members.items()):
        shown = len(users) >= SMALLEST
        later = range(start + 1, min(over, start + 1 + MOST))
        returned = tuple(sum(period in periods for periods in users) / len(users) if shown else None for period in later)
        found.append(Cohort(first_day + timedelta(days=start * length), len(users) if shown else None, returned))
    return found


def _last_words(feedback: Sequence[FeedbackRow]) -> tuple[dict[str, str], dict[str, bool]]:
    """Answer → its last rating; answer → what was last told to have come of it."""
    ratings = {row.request: str(row.rating) for row in feedback if row.rating}
    outcomes = {row.request: row.outcome for row in feedback if row.outcome is not None}
    return ratings, outcomes
