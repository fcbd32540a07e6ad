"""The ledger: what ran, on what, with which outcome; what was released; what was served. SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import JSON, Connection, Engine, NullPool, String, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ..contracts.clock import timestamp
from ..contracts.errors import UserError, unknown
from ..contracts.forecast import Forecast, Resolution
from ..contracts.record import RunRecord
from . import migrations
from .files import writing
from .people import People

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another one's transaction, which takes milliseconds."""
SAFE_WAL = (3, 51, 3)
"""The first SQLite whose WAL cannot lose a commit under concurrent checkpoints (decisions/0002-sqlite-journal.md)."""

_EXPLAINED = {
    "SQLITE_FULL": ("no space to write the ledger", "free some space and run it again"),
    "SQLITE_CANTOPEN": ("the ledger cannot be opened", "check the path and its permissions"),
    "SQLITE_READONLY": ("the ledger cannot be written", "check the path and its permissions"),
    "SQLITE_IOERR": ("the disk of the ledger fails", "check its space and its health"),
    "SQLITE_BUSY": ("the ledger is busy", "stop the process that holds it, and try again"),
    "SQLITE_NOTADB": ("the ledger is damaged", "restore the file from a backup, or move it away to start a new one"),
    "SQLITE_CORRUPT": ("the ledger is damaged", "restore the file from a backup, or move it away to start a new one"),
}


class _Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}


class Run(_Base):
    """One attempt at one step; a step that was cut off and resumed has several."""

    __tablename__ = "runs"
    attempt: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[str]
    id: Mapped[str]
    """The fingerprint of the work, as in its `RunRecord`."""
    status: Mapped[Literal["started", "finished", "failed"]] = mapped_column(String)
    """An attempt that was killed stays `started`."""
    started: Mapped[str]
    finished: Mapped[str | None] = mapped_column(default=None)
    record: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """The `RunRecord` of a finished attempt."""
    why: Mapped[str | None] = mapped_column(default=None)
    """What a failed attempt failed of."""


class ReleaseRow(_Base):
    """One release: an immutable version of the model, with the evidence that it was let out on."""

    __tablename__ = "releases"
    name: Mapped[str] = mapped_column(primary_key=True)
    artefact: Mapped[str]
    """The hash of its content in the artefact store."""
    created: Mapped[str]
    scorecard: Mapped[dict[str, Any]]
    gates: Mapped[list[Any]]
    override_who: Mapped[str | None] = mapped_column(default=None)
    override_why: Mapped[str | None] = mapped_column(default=None)


class Request(_Base):
    """One request that was served."""

    __tablename__ = "requests"
    number: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[str]
    release: Mapped[str]
    route: Mapped[str]
    tokens_in: Mapped[int]
    tokens_out: Mapped[int]
    latency_ms: Mapped[float]
    status: Mapped[int]
    """The HTTP status."""
    id: Mapped[str | None] = mapped_column(default=None)
    """The answer's id, by which feedback names it."""
    first_token_ms: Mapped[float | None] = mapped_column(default=None)
    user_hash: Mapped[str | None] = mapped_column(default=None)
    """Whose it was, as a name that cannot be turned back into the client's; absent where the client named nobody."""
    retries: Mapped[int] = mapped_column(default=0)
    """How often the client had tried before, as it says itself."""
    arm: Mapped[Literal["current", "canary"] | None] = mapped_column(String, default=None)
    """In a roll-out, which of the two releases the draw gave it to; absent where nothing was drawn."""


class FeedbackRow(_Base):
    """What was heard of one answer: an opinion, or what came of it. A later one on the same answer stands beside the earlier."""

    __tablename__ = "feedback"
    number: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[str]
    release: Mapped[str]
    request: Mapped[str]
    """The answer's id."""
    rating: Mapped[Literal["up", "down"] | None] = mapped_column(String, default=None)
    comment: Mapped[str] = mapped_column(default="")
    outcome: Mapped[bool | None] = mapped_column(default=None)
    """Whether the answer did what it was for."""


class ServerRow(_Base):
    """A server at work: its machine is paid for from `started` to `seen`, idle or not."""

    __tablename__ = "servers"
    number: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str]
    started: Mapped[str]
    seen: Mapped[str]
    """When it last said that it is there; a killed one says nothing more."""


class _ForecastRow(_Base):
    __tablename__ = "forecasts"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    content: Mapped[dict[str, Any]]
    resolution: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)

    def forecast(self) -> Forecast:
        return Forecast.parse({**self.content, "resolution": self.resolution}, where=f"forecast {self.id}")


class Event(_Base):
    """Anything else worth remembering."""

    __tablename__ = "events"
    number: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[str]
    kind: Mapped[str]
    detail: Mapped[dict[str, Any]]


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


class Ledger:
    """A ledger, opened; a new one is made, an older one is brought up to date.

    Every method is one transaction, safe between threads and processes: a method that has returned is on the disk.

    Raises:
        UserError: (any method) the file is damaged, full, locked for too long or not writable.
    """

    def __init__(self, url: str) -> None:
        self._engine, self._place = _connect(url)
        with self._explained():
            with self._engine.connect() as connection:
                missing = migrations.pending(connection)
            if missing:
                with self._engine.execution_options(write=True).begin() as connection:
                    migrations.apply(connection)

    # Runs

    def start_run(self, step: str, id: str) -> int:
        """Note that work begins; returns the attempt's number, by which it is finished or failed."""
        run = Run(step=step, id=id, status="started", started=timestamp())
        with self._writing() as session:
            session.add(run)
        return run.attempt

    def finish_run(self, attempt: int, record: RunRecord) -> None:
        """Note that an attempt is done."""
        with self._writing() as session:
            run = session.get_one(Run, attempt)
            run.status, run.finished, run.record = "finished", timestamp(), record.model_dump(mode="json")

    def fail_run(self, attempt: int, why: str) -> None:
        """Note that an attempt failed, and of what."""
        with self._writing() as session:
            run = session.get_one(Run, attempt)
            run.status, run.finished, run.why = "failed", timestamp(), why

    def runs(self, step: str | None = None) -> list[Run]:
        """All attempts, oldest first."""
        query = select(Run).order_by(Run.attempt)
        with self._reading() as session:
            return list(session.scalars(query if step is None else query.where(Run.step == step)))

    def last_runs(self, count: int) -> list[Run]:
        """The newest attempts, newest first."""
        with self._reading() as session:
            return list(session.scalars(select(Run).order_by(Run.attempt.desc()).limit(count)))

    # Releases

    def add_release(
        self, name: str, artefact: str, scorecard: dict[str, Any], gates: list[Any], override: tuple[str, str] | None = None
    ) -> None:
        """Note a release; one that is noted already, with the same content, is left as it is."""
        who, why = override or (None, None)
        row = ReleaseRow(
            name=name, artefact=artefact, created=timestamp(), scorecard=scorecard, gates=gates, override_who=who, override_why=why
        )
        with self._writing() as session:
            known = session.get(ReleaseRow, name)
            if known is None:
                session.add(row)
            elif known.artefact != artefact:
                raise UserError(f"the ledger has another release {name!r}", where=self._place, fix="restore its folder from a backup")

    def releases(self) -> list[ReleaseRow]:
        """All releases, in the order of their versions."""
        with self._reading() as session:
            return list(session.scalars(select(ReleaseRow).order_by(func.length(ReleaseRow.name), ReleaseRow.name)))

    # Requests

    def add_request(self, request: Request) -> None:
        """Note one served request."""
        with self._writing() as session:
            session.add(request)

    def requests(self) -> list[Request]:
        """All requests, in the order of their arrival."""
        with self._reading() as session:
            return list(session.scalars(select(Request).order_by(Request.time, Request.number)))

    def release_of(self, id: str) -> str | None:
        """The release that gave the answer of this id; None where there is no such answer."""
        with self._reading() as session:
            return session.scalar(select(Request.release).where(Request.id == id, Request.status < 400).limit(1))

    def usage(self, release: str | None = None) -> Usage:
        """What was served, of one release or of all."""
        here = [] if release is None else [Request.release == release]
        succeeded = [*here, Request.status < 400]
        with self._reading() as session:
            sums = select(
                func.count(), func.sum(Request.tokens_in), func.sum(Request.tokens_out), func.min(Request.time), func.max(Request.time)
            )
            count, tokens_in, tokens_out, first, last = session.execute(sums.where(*here)).one()
            good = session.scalar(select(func.count()).select_from(Request).where(*succeeded)) or 0

            def percentile(share: float) -> float:
                """By nearest rank, so that it is the latency of a real request."""
                if not good:
                    return math.nan
                ranked = select(Request.latency_ms).where(*succeeded).order_by(Request.latency_ms)
                return float(session.scalars(ranked.offset(math.ceil(share * good) - 1).limit(1)).one())

            return Usage(count, count - good, tokens_in or 0, tokens_out or 0, percentile(0.5), percentile(0.95), first, last)

    def add_feedback(self, feedback: FeedbackRow) -> None:
        """Note what was heard of an answer."""
        with self._writing() as session:
            session.add(feedback)

    def feedback(self) -> list[FeedbackRow]:
        """All feedback, oldest first."""
        with self._reading() as session:
            return list(session.scalars(select(FeedbackRow).order_by(FeedbackRow.number)))

    # Servers

    def start_server(self, release: str, now: str) -> int:
        """Note that a server begins to be there; returns its number, by which it says that it still is."""
        server = ServerRow(release=release, started=now, seen=now)
        with self._writing() as session:
            session.add(server)
        return server.number

    def see_server(self, number: int, now: str) -> None:
        """Note that a server is there."""
        with self._writing() as session:
            session.get_one(ServerRow, number).seen = now

    def servers(self) -> list[ServerRow]:
        """All servers that ever were, oldest first."""
        with self._reading() as session:
            return list(session.scalars(select(ServerRow).order_by(ServerRow.number)))

    # Forecasts

    def add_forecasts(self, forecasts: Sequence[Forecast]) -> None:
        """Note new forecasts, all or none; one that is noted already, word for word, is left as it is.

        Raises:
            UserError: another forecast has the name.
        """
        with self._writing() as session:
            for forecast in forecasts:
                known = session.scalar(select(_ForecastRow).where(_ForecastRow.id == forecast.id))
                if known is None:
                    session.add(_ForecastRow(id=forecast.id, content=forecast.content()))
                elif known.content != forecast.content():
                    raise UserError(f"the ledger has another forecast {forecast.id!r}", where=self._place, fix="give it a name of its own")

    def resolve_forecast(self, id: str, resolution: Resolution) -> Forecast:
        """Note what came of a forecast, once.

        Raises:
            UserError: there is no such forecast, it is resolved already, or the resolution is of the other kind.
        """
        with self._writing() as session:
            row = session.scalar(select(_ForecastRow).where(_ForecastRow.id == id))
            if row is None:
                raise unknown("forecast", id, session.scalars(select(_ForecastRow.id)), where=self._place)
            resolved = row.forecast().resolved(resolution)
            row.resolution = resolution.model_dump(mode="json")
        return resolved

    def forecasts(self) -> list[Forecast]:
        """All forecasts, oldest first, with what came of them."""
        with self._reading() as session:
            return [row.forecast() for row in session.scalars(select(_ForecastRow).order_by(_ForecastRow.number))]

    # Events

    def add_event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Note anything else worth remembering."""
        with self._writing() as session:
            session.add(Event(time=timestamp(), kind=kind, detail=dict(detail)))

    def events(self, kind: str | None = None) -> Sequence[Event]:
        """All events, oldest first."""
        query = select(Event).order_by(Event.number)
        with self._reading() as session:
            return list(session.scalars(query if kind is None else query.where(Event.kind == kind)))

    # People

    @cached_property
    def people(self) -> People:
        """Who may come in to the studio."""
        return People(self._reading, self._writing)

    # Connections

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._explained(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        engine = self._engine.execution_options(write=True)
        with self._explained(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            name = str(getattr(error.orig, "sqlite_errorname", ""))
            for prefix, (what, fix) in _EXPLAINED.items():
                if name.startswith(prefix):
                    raise UserError(what, where=self._place, fix=fix) from error
            raise


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Literal["wal", "truncate"]:
    """The journal that loses no commit with this SQLite: the write-ahead log where it is safe, else a rollback journal."""
    return "wal" if version >= SAFE_WAL else "truncate"


def _connect(url: str) -> tuple[Engine, str]:
    """The engine of a URL, and what to call the place in errors (never with its password)."""
    try:
        parsed = make_url(url)
        # No pool: a connection costs less than a commit, and none is carried over a fork.
        engine = create_engine(parsed, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UserError(f"the ledger's address cannot be used ({error})", fix="write sqlite:///PATH") from None
    if parsed.get_backend_name() != "sqlite":
        return engine, parsed.render_as_string(hide_password=True)
    assert parsed.database, "a ledger in memory is forgotten between two connections"
    path = Path(parsed.database)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine, str(path)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # A writer takes its lock at once: a reader that turns writer can find that another one was faster, and must not wait for it.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")
