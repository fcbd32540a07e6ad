"""The ledger: what ran, on what, with which outcome; what was released; what was served. SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from ..contracts.clock import timestamp
from ..contracts.errors import UserError, unknown
from ..contracts.forecast import Forecast, Resolution
from ..contracts.record import RunRecord
from . import migrations
from .database import BOOLEAN, JSON, AnyRow, Row, open_database
from .people import People, SessionRow, UserRow

RunStatus = Literal["started", "finished", "failed"]


@dataclass(kw_only=True)
class Run(Row):
    """One attempt at one step; a step that was cut off and resumed has several."""

    table: ClassVar[str] = "runs"
    counted: ClassVar[str | None] = "attempt"
    attempt: int = 0
    step: str
    id: str
    """The fingerprint of the work, as in its `RunRecord`."""
    status: RunStatus
    """An attempt that was killed stays `started`."""
    started: str
    finished: str | None = None
    record: dict[str, Any] | None = field(default=None, metadata=JSON)
    """The `RunRecord` of a finished attempt."""
    why: str | None = None
    """What a failed attempt failed of."""


@dataclass(kw_only=True)
class ReleaseRow(Row):
    """One release: an immutable version of the model, with the evidence that it was let out on."""

    table: ClassVar[str] = "releases"
    counted: ClassVar[str | None] = None
    name: str
    artefact: str
    """The hash of its content in the artefact store."""
    created: str
    scorecard: dict[str, Any] = field(metadata=JSON)
    gates: list[Any] = field(metadata=JSON)
    override_who: str | None = None
    override_why: str | None = None


@dataclass(kw_only=True)
class Request(Row):
    """One request that was served."""

    table: ClassVar[str] = "requests"
    number: int = 0
    time: str
    release: str
    route: str
    tokens_in: int
    tokens_out: int
    latency_ms: float
    status: int
    """The HTTP status."""
    id: str | None = None
    """The answer's id, by which feedback names it."""
    first_token_ms: float | None = None
    user_hash: str | None = None
    """Whose it was, as a name that cannot be turned back into the client's; absent where the client named nobody."""
    retries: int = 0
    """How often the client had tried before, as it says itself."""
    arm: Literal["current", "canary"] | None = None
    """In a roll-out, which of the two releases the draw gave it to; absent where nothing was drawn."""


@dataclass(kw_only=True)
class FeedbackRow(Row):
    """What was heard of one answer: an opinion, or what came of it. A later one on the same answer stands beside the earlier."""

    table: ClassVar[str] = "feedback"
    number: int = 0
    time: str
    release: str
    request: str
    """The answer's id."""
    rating: Literal["up", "down"] | None = None
    comment: str = ""
    outcome: bool | None = field(default=None, metadata=BOOLEAN)
    """Whether the answer did what it was for."""


@dataclass(kw_only=True)
class ServerRow(Row):
    """A server at work: its machine is paid for from `started` to `seen`, idle or not."""

    table: ClassVar[str] = "servers"
    number: int = 0
    release: str
    started: str
    seen: str
    """When it last said that it is there; a killed one says nothing more."""


@dataclass(kw_only=True)
class _ForecastRow(Row):
    table: ClassVar[str] = "forecasts"
    number: int = 0
    id: str
    content: dict[str, Any] = field(metadata=JSON)
    resolution: dict[str, Any] | None = field(default=None, metadata=JSON)

    def forecast(self) -> Forecast:
        return Forecast.parse({**self.content, "resolution": self.resolution}, where=f"forecast {self.id}")


@dataclass(kw_only=True)
class Event(Row):
    """Anything else worth remembering."""

    table: ClassVar[str] = "events"
    number: int = 0
    time: str
    kind: str
    detail: dict[str, Any] = field(metadata=JSON)


ROWS: tuple[type[Row], ...] = (Run, ReleaseRow, Request, FeedbackRow, ServerRow, _ForecastRow, Event, UserRow, SessionRow)
"""Everything that a ledger keeps; the first field is the key."""


@dataclass(frozen=True)
class Usage:
    """What was served, in sum. Latencies are of the requests that succeeded (status below 400), NaN where there is none."""

    requests: int
    failed: int
    tokens_in: int
    tokens_out: int
    latency_ms_p50: float
    latency_ms_p95: float
    first: str | None
    last: str | None


@dataclass(frozen=True)
class Day:
    """What was served on one day (UTC)."""

    date: str
    requests: int
    failed: int
    tokens_in: int
    tokens_out: int


class Ledger:
    """A ledger, opened; a new one is made, an older one is brought up to date.

    Every method is one transaction, safe between threads and processes: a method that has returned is on the disk.

    Args:
        url: `sqlite:///PATH` or `postgresql://USER@HOST/DATABASE`. A password is libpq's to find: in PGPASSWORD or ~/.pgpass.

    Raises:
        UserError: (any method) the database is damaged, full, locked for too long, not writable, or does not answer.
    """

    def __init__(self, url: str) -> None:
        self._database = open_database(url)
        self.place = self._database.place
        """Where it is, for a person to read."""
        with self._database.transaction(write=False) as transaction:
            missing = migrations.pending(transaction)
        if missing:
            with self._database.transaction(write=True) as transaction:
                migrations.apply(transaction)

    # Runs

    def start_run(self, step: str, id: str) -> int:
        """Note that work begins; returns the attempt's number, by which it is finished or failed."""
        run = Run(step=step, id=id, status="started", started=timestamp())
        self._add(run)
        return run.attempt

    def finish_run(self, attempt: int, record: RunRecord) -> None:
        """Note that an attempt is done."""
        self._end_run(attempt, "finished", record=record.model_dump(mode="json"))

    def fail_run(self, attempt: int, why: str) -> None:
        """Note that an attempt failed, and of what."""
        self._end_run(attempt, "failed", why=why)

    def _end_run(self, attempt: int, status: RunStatus, *, record: dict[str, Any] | None = None, why: str | None = None) -> None:
        statement = "UPDATE runs SET status = ?, finished = ?, record = ?, why = ? WHERE attempt = ? RETURNING attempt"
        with self._database.transaction(write=True) as transaction:
            ended = transaction.execute(statement, status, timestamp(), record, why, attempt)
            assert ended, f"attempt {attempt} was not started"

    def runs(self, step: str | None = None) -> list[Run]:
        """All attempts, oldest first."""
        if step is None:
            return self._find(Run, "ORDER BY attempt")
        return self._find(Run, "WHERE step = ? ORDER BY attempt", step)

    def last_runs(self, count: int, *, step: str | None = None, before: int | None = None) -> list[Run]:
        """The newest attempts (at a step), newest first; where `before` is given, of those that are older than that attempt."""
        wanted = [(text, value) for text, value in (("step = ?", step), ("attempt < ?", before)) if value is not None]
        where = f"WHERE {' AND '.join(text for text, _ in wanted)} " if wanted else ""
        return self._find(Run, f"{where}ORDER BY attempt DESC LIMIT ?", *(value for _, value in wanted), count)

    def last_run_by_step(self) -> dict[str, Run]:
        """The newest attempt at each step, newest first."""
        newest = self._find(Run, "WHERE attempt IN (SELECT max(attempt) FROM runs GROUP BY step) ORDER BY attempt DESC")
        return {run.step: run for run in newest}

    def run_counts(self) -> dict[str, dict[RunStatus, int]]:
        """How many attempts each step has: step → status → how many."""
        counts: dict[str, dict[RunStatus, int]] = {}
        with self._database.transaction(write=False) as transaction:
            for step, status, count in transaction.execute("SELECT step, status, count(*) FROM runs GROUP BY step, status ORDER BY step"):
                counts.setdefault(step, {})[status] = count
        return counts

    # Releases

    def add_release(
        self, name: str, artefact: str, scorecard: dict[str, Any], gates: list[Any], override: tuple[str, str] | None = None
    ) -> None:
        """Note a release; one that is noted already, with the same content, is left as it is."""
        who, why = override or (None, None)
        row = ReleaseRow(
            name=name, artefact=artefact, created=timestamp(), scorecard=scorecard, gates=gates, override_who=who, override_why=why
        )
        with self._database.transaction(write=True) as transaction:
            transaction.be_only_writer(ReleaseRow)
            known = transaction.find(ReleaseRow, "WHERE name = ?", name)
            if not known:
                transaction.add(row)
            elif known[0].artefact != artefact:
                raise UserError(f"the ledger has another release {name!r}", where=self.place, fix="restore its folder from a backup")

    def releases(self) -> list[ReleaseRow]:
        """All releases, in the order of their versions."""
        return self._find(ReleaseRow, "ORDER BY length(name), name")

    # Requests

    def add_request(self, request: Request) -> None:
        """Note one served request."""
        self._add(request)

    def requests(self) -> list[Request]:
        """All requests, in the order of their arrival."""
        return self._find(Request, "ORDER BY time, number")

    def requests_served(self) -> int:
        """How many requests there are."""
        with self._database.transaction(write=False) as transaction:
            return int(transaction.execute("SELECT count(*) FROM requests")[0][0])

    def release_of(self, id: str) -> str | None:
        """The release that gave the answer of this id; None where there is no such answer."""
        found = self._find(Request, "WHERE id = ? AND status < 400 LIMIT 1", id)
        return found[0].release if found else None

    def usage(self, release: str | None = None) -> Usage:
        """What was served, of one release or of all."""
        here, given = ("", ()) if release is None else ("release = ? AND", (release,))
        sums = "SELECT count(*), sum(tokens_in), sum(tokens_out), min(time), max(time) FROM requests WHERE"
        with self._database.transaction(write=False) as transaction:
            ((count, tokens_in, tokens_out, first, last),) = transaction.execute(f"{sums} {here} true", *given)
            ((good,),) = transaction.execute(f"SELECT count(*) FROM requests WHERE {here} status < 400", *given)

            def percentile(share: float) -> float:
                """By nearest rank, so that it is the latency of a real request."""
                if not good:
                    return math.nan
                ranked = f"SELECT latency_ms FROM requests WHERE {here} status < 400 ORDER BY latency_ms LIMIT 1 OFFSET ?"
                return float(transaction.execute(ranked, *given, math.ceil(share * good) - 1)[0][0])

            return Usage(count, count - good, tokens_in or 0, tokens_out or 0, percentile(0.5), percentile(0.95), first, last)

    def days(self, since: str) -> list[Day]:
        """What was served on each day from `since` on (`2026-12-01`, in UTC), days without a request left out."""
        failed = "sum(CASE WHEN status >= 400 THEN 1 ELSE 0 END)"
        sums = f"SELECT substr(time, 1, 10), count(*), {failed}, sum(tokens_in), sum(tokens_out) FROM requests"
        with self._database.transaction(write=False) as transaction:
            rows = transaction.execute(f"{sums} WHERE time >= ? GROUP BY substr(time, 1, 10) ORDER BY substr(time, 1, 10)", since)
        return [Day(*row) for row in rows]

    def add_feedback(self, feedback: FeedbackRow) -> None:
        """Note what was heard of an answer."""
        self._add(feedback)

    def feedback(self) -> list[FeedbackRow]:
        """All feedback, oldest first."""
        return self._find(FeedbackRow, "ORDER BY number")

    # Servers

    def start_server(self, release: str, now: str) -> int:
        """Note that a server begins to be there; returns its number, by which it says that it still is."""
        server = ServerRow(release=release, started=now, seen=now)
        self._add(server)
        return server.number

    def see_server(self, number: int, now: str) -> None:
        """Note that a server is there."""
        with self._database.transaction(write=True) as transaction:
            seen = transaction.execute("UPDATE servers SET seen = ? WHERE number = ? RETURNING number", now, number)
            assert seen, f"server {number} was not started"

    def servers(self) -> list[ServerRow]:
        """All servers that ever were, oldest first."""
        return self._find(ServerRow, "ORDER BY number")

    # Forecasts

    def add_forecasts(self, forecasts: Sequence[Forecast]) -> None:
        """Note new forecasts, all or none; one that is noted already, word for word, is left as it is.

        Raises:
            UserError: another forecast has the name.
        """
        with self._database.transaction(write=True) as transaction:
            transaction.be_only_writer(_ForecastRow)
            for forecast in forecasts:
                known = transaction.find(_ForecastRow, "WHERE id = ?", forecast.id)
                if not known:
                    transaction.add(_ForecastRow(id=forecast.id, content=forecast.content()))
                elif known[0].content != forecast.content():
                    raise UserError(f"the ledger has another forecast {forecast.id!r}", where=self.place, fix="give it a name of its own")

    def resolve_forecast(self, id: str, resolution: Resolution) -> Forecast:
        """Note what came of a forecast, once.

        Raises:
            UserError: there is no such forecast, it is resolved already, or the resolution is of the other kind.
        """
        with self._database.transaction(write=True) as transaction:
            transaction.be_only_writer(_ForecastRow)
            rows = {row.id: row for row in transaction.find(_ForecastRow, "ORDER BY number")}
            if id not in rows:
                raise unknown("forecast", id, rows, where=self.place)
            resolved = rows[id].forecast().resolved(resolution)
            transaction.execute("UPDATE forecasts SET resolution = ? WHERE id = ?", resolution.model_dump(mode="json"), id)
        return resolved

    def forecasts(self) -> list[Forecast]:
        """All forecasts, oldest first, with what came of them."""
        return [row.forecast() for row in self._find(_ForecastRow, "ORDER BY number")]

    # Events

    def add_event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Note anything else worth remembering."""
        self._add(Event(time=timestamp(), kind=kind, detail=dict(detail)))

    def events(self, kind: str | None = None) -> list[Event]:
        """All events, oldest first."""
        if kind is None:
            return self._find(Event, "ORDER BY number")
        return self._find(Event, "WHERE kind = ? ORDER BY number", kind)

    # People

    @cached_property
    def people(self) -> People:
        """Who may come in to the studio."""
        return People(self._database)

    # All of it

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        with self._database.transaction(write=False) as transaction:
            return {kind.table: transaction.execute(f"SELECT count(*) FROM {kind.table}")[0][0] for kind in ROWS}

    # Transactions of one statement

    def _add(self, row: Row) -> None:
        with self._database.transaction(write=True) as transaction:
            transaction.add(row)

    def _find(self, kind: type[AnyRow], rest: str, *values: Any) -> list[AnyRow]:
        with self._database.transaction(write=False) as transaction:
            return transaction.find(kind, rest, *values)
