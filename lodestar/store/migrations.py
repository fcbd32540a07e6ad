"""The ledger's schema as named, ordered steps, each run once. A step that has been released is never edited: add the next one."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import JSON, Boolean, Column, Connection, Double, Index, Integer, MetaData, String, Table, inspect, select

from ..contracts.clock import timestamp
from ..contracts.errors import UserError

Migration = Callable[[Connection], None]

_APPLIED = Table("migrations", MetaData(), Column("name", String, primary_key=True), Column("applied", String, nullable=False))


def m0001_runs_releases_requests_events(connection: Connection) -> None:
    tables = MetaData()
    Table(
        "runs", tables,
        Column("attempt", Integer, primary_key=True),
        Column("step", String, nullable=False),
        Column("id", String, nullable=False),
        Column("status", String, nullable=False),
        Column("started", String, nullable=False),
        Column("finished", String),
        Column("record", JSON),
        Column("why", String),
        Index("runs_by_step", "step", "id"),
    )  # fmt: skip
    Table(
        "releases", tables,
        Column("name", String, primary_key=True),
        Column("artefact", String, nullable=False, unique=True),
        Column("created", String, nullable=False),
        Column("scorecard", JSON, nullable=False),
        Column("gates", JSON, nullable=False),
        Column("override_who", String),
        Column("override_why", String),
    )  # fmt: skip
    Table(
        "requests", tables,
        Column("number", Integer, primary_key=True),
        Column("time", String, nullable=False),
        Column("release", String, nullable=False),
        Column("route", String, nullable=False),
        Column("tokens_in", Integer, nullable=False),
        Column("tokens_out", Integer, nullable=False),
        Column("latency_ms", Double, nullable=False),
        Column("status", Integer, nullable=False),
        Column("id", String),
        Column("first_token_ms", Double),
        Index("requests_by_release", "release", "time"),
    )  # fmt: skip
    Table(
        "events", tables,
        Column("number", Integer, primary_key=True),
        Column("time", String, nullable=False),
        Column("kind", String, nullable=False),
        Column("detail", JSON, nullable=False),
    )  # fmt: skip
    tables.create_all(connection, checkfirst=False)


def m0002_forecasts_feedback_servers(connection: Connection) -> None:
    tables = MetaData()
    Table(
        "forecasts", tables,
        Column("number", Integer, primary_key=True),
        Column("id", String, nullable=False, unique=True),
        Column("content", JSON, nullable=False),
        Column("resolution", JSON),
    )  # fmt: skip
    Table(
        "feedback", tables,
        Column("number", Integer, primary_key=True),
        Column("time", String, nullable=False),
        Column("release", String, nullable=False),
        Column("request", String, nullable=False),
        Column("rating", String),
        Column("comment", String, nullable=False),
        Column("outcome", Boolean),
        Index("feedback_by_request", "request"),
    )  # fmt: skip
    Table(
        "servers", tables,
        Column("number", Integer, primary_key=True),
        Column("release", String, nullable=False),
        Column("started", String, nullable=False),
        Column("seen", String, nullable=False),
    )  # fmt: skip
    tables.create_all(connection, checkfirst=False)
    connection.exec_driver_sql("ALTER TABLE requests ADD COLUMN user_hash VARCHAR")
    connection.exec_driver_sql("ALTER TABLE requests ADD COLUMN retries INTEGER NOT NULL DEFAULT 0")
    connection.exec_driver_sql("ALTER TABLE requests ADD COLUMN arm VARCHAR")
    connection.exec_driver_sql("CREATE INDEX requests_by_id ON requests (id)")


def m0003_users_sessions(connection: Connection) -> None:
    tables = MetaData()
    Table(
        "users", tables,
        Column("name", String, primary_key=True),
        Column("role", String, nullable=False),
        Column("password", String, nullable=False),
        Column("created", String, nullable=False),
        Column("added_by", String, nullable=False),
    )  # fmt: skip
    Table(
        "sessions", tables,
        Column("token", String, primary_key=True),
        Column("name", String, nullable=False),
        Column("expires", String, nullable=False),
        Index("sessions_by_name", "name"),
    )  # fmt: skip
    tables.create_all(connection, checkfirst=False)


MIGRATIONS: tuple[Migration, ...] = (m0001_runs_releases_requests_events, m0002_forecasts_feedback_servers, m0003_users_sessions)


def pending(connection: Connection) -> list[Migration]:
    """The steps that this ledger still lacks.

    Raises:
        UserError: the ledger has steps that this version does not know.
    """
    if not inspect(connection).has_table(_APPLIED.name):
        return list(MIGRATIONS)
    applied = set(connection.scalars(select(_APPLIED.c.name)))
    known = {migration.__name__ for migration in MIGRATIONS}
    if newer := sorted(applied - known):
        raise UserError(f"the ledger was written by a newer version of Lodestar ({newer[-1]})", fix="upgrade Lodestar")
    return [migration for migration in MIGRATIONS if migration.__name__ not in applied]


def apply(connection: Connection) -> None:
    """Run the missing steps, in order, in the transaction of `connection`, which must already hold the write lock."""
    _APPLIED.metadata.create_all(connection)
    for migration in pending(connection):
        migration(connection)
        connection.execute(_APPLIED.insert().values(name=migration.__name__, applied=timestamp()))
