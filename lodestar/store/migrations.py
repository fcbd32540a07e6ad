"""The ledger's schema as named, ordered steps, each run once. A step that has been released is never edited: add the next one."""

from __future__ import annotations

from ..contracts.clock import timestamp
from ..contracts.errors import UserError
from .database import Transaction

MIGRATIONS: dict[str, tuple[str, ...]] = {
    "m0001_runs_releases_requests_events": (
        """CREATE TABLE runs (
            attempt {number}, step {text} NOT NULL, id {text} NOT NULL, status {text} NOT NULL, started {text} NOT NULL,
            finished {text}, record JSON, why {text}
        )""",
        "CREATE INDEX runs_by_step ON runs (step, id)",
        """CREATE TABLE releases (
            name {text} PRIMARY KEY NOT NULL, artefact {text} NOT NULL UNIQUE, created {text} NOT NULL, scorecard JSON NOT NULL,
            gates JSON NOT NULL, override_who {text}, override_why {text}
        )""",
        """CREATE TABLE requests (
            number {number}, time {text} NOT NULL, release {text} NOT NULL, route {text} NOT NULL, tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL, latency_ms DOUBLE PRECISION NOT NULL, status INTEGER NOT NULL, id {text},
            first_token_ms DOUBLE PRECISION
        )""",
        "CREATE INDEX requests_by_release ON requests (release, time)",
        "CREATE TABLE events (number {number}, time {text} NOT NULL, kind {text} NOT NULL, detail JSON NOT NULL)",
    ),
    "m0002_forecasts_feedback_servers": (
        "CREATE TABLE forecasts (number {number}, id {text} NOT NULL UNIQUE, content JSON NOT NULL, resolution JSON)",
        """CREATE TABLE feedback (
            number {number}, time {text} NOT NULL, release {text} NOT NULL, request {text} NOT NULL, rating {text},
            comment {text} NOT NULL, outcome BOOLEAN
        )""",
        "CREATE INDEX feedback_by_request ON feedback (request)",
        "CREATE TABLE servers (number {number}, release {text} NOT NULL, started {text} NOT NULL, seen {text} NOT NULL)",
        "ALTER TABLE requests ADD COLUMN user_hash {text}",
        "ALTER TABLE requests ADD COLUMN retries INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE requests ADD COLUMN arm {text}",
        "CREATE INDEX requests_by_id ON requests (id)",
    ),
    "m0003_users_sessions": (
        """CREATE TABLE users (
            name {text} PRIMARY KEY NOT NULL, role {text} NOT NULL, password {text} NOT NULL, created {text} NOT NULL,
            added_by {text} NOT NULL
        )""",
        "CREATE TABLE sessions (token {text} PRIMARY KEY NOT NULL, name {text} NOT NULL, expires {text} NOT NULL)",
        "CREATE INDEX sessions_by_name ON sessions (name)",
    ),
    "m0004_first_view": (  # each answers a question of the first view without a look at the rows, whose records are large
        "CREATE INDEX runs_by_status ON runs (step, status, attempt)",
        "CREATE INDEX requests_by_time ON requests (time, status, tokens_in, tokens_out)",
        "CREATE INDEX events_by_kind ON events (kind, number)",
    ),
}
"""Name → statements; `{number}` and `{text}` stand for types of the database's dialect."""


def pending(transaction: Transaction) -> list[str]:
    """The steps that this ledger still lacks.

    Raises:
        UserError: the ledger has steps that this version does not know.
    """
    if not transaction.has_table("migrations"):
        return list(MIGRATIONS)
    applied = {name for (name,) in transaction.execute("SELECT name FROM migrations")}
    if newer := sorted(applied - set(MIGRATIONS)):
        raise UserError(f"the ledger was written by a newer version of Lodestar ({newer[-1]})", fix="upgrade Lodestar")
    return [name for name in MIGRATIONS if name not in applied]


def apply(transaction: Transaction) -> None:
    """Run the missing steps, in order, in a transaction that may write."""
    transaction.be_only_migrator()
    types = {"number": transaction.dialect.number, "text": transaction.dialect.text}
    transaction.execute("CREATE TABLE IF NOT EXISTS migrations (name {text} PRIMARY KEY NOT NULL, applied {text} NOT NULL)".format(**types))
    for name in pending(transaction):
        for statement in MIGRATIONS[name]:
            transaction.execute(statement.format(**types))
        transaction.execute("INSERT INTO migrations VALUES (?, ?)", name, timestamp())
