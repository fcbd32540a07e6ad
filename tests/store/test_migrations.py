"""The schema in each database: new, brought up to date from each older one, and from a newer one."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store import migrations
from lodestar.store.database import SQLITE_URL, open_database
from lodestar.store.ledger import ROWS, Ledger
from lodestar.store.migrations import MIGRATIONS


def test_migrations_make_the_tables_that_the_code_reads(url):
    Ledger(url)
    Ledger(url)
    with open_database(url).transaction(write=False) as transaction:
        for kind in ROWS:
            cursor = transaction._connection.execute(f"SELECT * FROM {kind.table}")
            assert {column[0] for column in cursor.description} == {field.name for field in fields(kind)}
        assert [name for (name,) in transaction.execute("SELECT name FROM migrations ORDER BY name")] == list(MIGRATIONS)


@pytest.mark.parametrize("known", range(1, len(MIGRATIONS)))
def test_an_older_ledger_keeps_what_it_holds(url, known, monkeypatch):
    with monkeypatch.context() as then:
        then.setattr(migrations, "MIGRATIONS", dict(list(MIGRATIONS.items())[:known]))
        Ledger(url)
    with open_database(url).transaction(write=True) as transaction:
        transaction.execute(
            "INSERT INTO requests (time, release, route, tokens_in, tokens_out, latency_ms, status, id) "
            "VALUES ('then', 'v1', '/v1/classify', 3, 2, 5.0, 200, 'clsf-1')"
        )
    (request,) = Ledger(url).requests()
    assert (request.id, request.latency_ms, request.user_hash, request.retries) == ("clsf-1", 5.0, None, 0)


FIRST_FILES = """
    CREATE TABLE migrations (name VARCHAR NOT NULL, applied VARCHAR NOT NULL, PRIMARY KEY (name));
    CREATE TABLE runs (attempt INTEGER NOT NULL, step VARCHAR NOT NULL, id VARCHAR NOT NULL, status VARCHAR NOT NULL,
        started VARCHAR NOT NULL, finished VARCHAR, record JSON, why VARCHAR, PRIMARY KEY (attempt));
    CREATE INDEX runs_by_step ON runs (step, id);
    CREATE TABLE releases (name VARCHAR NOT NULL, artefact VARCHAR NOT NULL, created VARCHAR NOT NULL, scorecard JSON NOT NULL,
        gates JSON NOT NULL, override_who VARCHAR, override_why VARCHAR, PRIMARY KEY (name), UNIQUE (artefact));
    CREATE TABLE requests (number INTEGER NOT NULL, time VARCHAR NOT NULL, release VARCHAR NOT NULL, route VARCHAR NOT NULL,
        tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, latency_ms DOUBLE NOT NULL, status INTEGER NOT NULL, id VARCHAR,
        first_token_ms DOUBLE, PRIMARY KEY (number));
    CREATE INDEX requests_by_release ON requests (release, time);
    CREATE TABLE events (number INTEGER NOT NULL, time VARCHAR NOT NULL, kind VARCHAR NOT NULL, detail JSON NOT NULL, PRIMARY KEY (number));
    INSERT INTO migrations VALUES ('m0001_runs_releases_requests_events', '2026-11-24T09:00:00Z');
    INSERT INTO runs VALUES (7, 'train', 'abc', 'failed', '2026-11-24T09:00:00Z', '2026-11-24T09:01:00Z', NULL, 'no disk');
    INSERT INTO events VALUES (1, '2026-11-24T09:02:00Z', 'x', '{"\\u540d": "\\u503c", "n": [1, null]}');
"""
"""As the first files were made, in the words that they were made in."""


def test_a_file_of_the_first_days_is_read_and_written_on(path: Path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_FILES)
    ledger = Ledger(f"{SQLITE_URL}{path}")
    assert [(run.attempt, run.status, run.record, run.why) for run in ledger.runs()] == [(7, "failed", None, "no disk")]
    assert ledger.events()[0].detail == {"名": "值", "n": [1, None]}
    assert ledger.start_run("train", "abc") == 8


def test_of_many_who_open_a_new_ledger_at_once_one_makes_it(url):
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(Ledger, [url] * 8))
    for ledger in ledgers:
        ledger.add_event("x", {})
    assert len(Ledger(url).events()) == 8


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(url):
    Ledger(url)
    database = open_database(url)
    with database.transaction(write=True) as transaction:
        transaction.execute("DELETE FROM migrations WHERE name = ?", list(MIGRATIONS)[-1])
        transaction.execute("INSERT INTO migrations VALUES ('m9999_the_future', 'later')")
    with pytest.raises(UserError, match=r"newer version of Lodestar \(m9999_the_future\); upgrade Lodestar"):
        Ledger(url)
    with database.transaction(write=False) as transaction:
        applied = [name for (name,) in transaction.execute("SELECT name FROM migrations ORDER BY name")]
    assert applied == [*list(MIGRATIONS)[:-1], "m9999_the_future"]
