"""The ledger, with real processes that write at once and are killed."""

from __future__ import annotations

import math
import sqlite3
import statistics
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from lodestar.contracts.errors import UserError
from lodestar.contracts.forecast import Forecast, Resolution
from lodestar.contracts.record import RunRecord
from lodestar.contracts.score import Cost
from lodestar.store import ledger as ledger_module
from lodestar.store.glance import requests_served
from lodestar.store.ledger import FeedbackRow, Ledger, Request, journal_mode
from lodestar.store.migrations import MIGRATIONS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Ledger:
    return Ledger(f"sqlite:///{path}")


def record(step: str = "train") -> RunRecord:
    return RunRecord(
        step=step, id="abc", started="2026-01-01T00:00:00Z", finished="2026-01-01T00:01:00Z", config={"名": 1}, inputs={}, outputs={},
        cost=Cost(seconds=1.5, cpu_seconds=3, peak_memory_bytes=10), versions={}, seed=0,
    )  # fmt: skip


def test_an_attempt_is_started_then_finished_or_failed(ledger, path):
    done, cut, broken = (ledger.start_run("train", "abc") for _ in range(3))
    ledger.finish_run(done, record())
    ledger.fail_run(broken, "no data")
    again = Ledger(f"sqlite:///{path}")
    runs = again.runs("train")
    assert [run.attempt for run in runs] == [done, cut, broken]
    assert [run.status for run in runs] == ["finished", "started", "failed"]
    assert RunRecord.model_validate(runs[0].record) == record()
    assert runs[1].finished is None
    assert runs[2].why == "no data"
    assert again.runs("prepare") == []


def test_a_release_is_noted_once_and_never_changed(ledger):
    for name in ["v2", "v10", "v1"]:
        ledger.add_release(name, f"hash of {name}", {"task": "x"}, [{"kept": True}])
    ledger.add_release("v1", "hash of v1", {"task": "other"}, [], override=("me", "because"))
    releases = {release.name: release for release in ledger.releases()}
    assert list(releases) == ["v1", "v2", "v10"]
    assert releases["v1"].scorecard == {"task": "x"}
    assert releases["v1"].override_who is None
    with pytest.raises(UserError, match="another release 'v1'"):
        ledger.add_release("v1", "hash of something else", {}, [])


def test_usage_sums_requests_and_ranks_latencies(ledger, path):
    assert requests_served(path.with_name("none")) == 0
    assert ledger.usage().requests == 0
    assert math.isnan(ledger.usage().latency_ms_p50)
    latencies = [float(1 + (37 * number) % 31) for number in range(31)]
    served = [
        Request(time=f"2026-01-01T00:00:{number % 60:02}Z", release="v1", route="/v1/classify", tokens_in=3, tokens_out=2,
                latency_ms=latency, status=200)
        for number, latency in enumerate(latencies)
    ]  # fmt: skip
    for row in [
        *served,
        Request(time="2026-01-02", release="v1", route="/v1/classify", tokens_in=1, tokens_out=0, latency_ms=9999.0, status=500),
        Request(time="2026-01-03", release="v2", route="/v1/classify", tokens_in=100, tokens_out=100, latency_ms=1.0, status=200),
    ]:
        ledger.add_request(row)
    usage = ledger.usage("v1")
    assert (usage.requests, usage.failed, usage.tokens_in, usage.tokens_out) == (32, 1, 94, 62)
    assert usage.latency_ms_p50 == statistics.median(latencies)
    assert usage.latency_ms_p95 == sorted(latencies)[29]  # nearest rank: ceil(0.95 · 31) = 30th
    assert ledger.usage().requests == requests_served(path) == 33
    assert (usage.first, usage.last) == ("2026-01-01T00:00:00Z", "2026-01-02")


def test_events_are_kept_in_order(ledger):
    ledger.add_event("served", {"port": 1})
    ledger.add_event("stopped", {"原因": "关机"})
    assert [event.kind for event in ledger.events()] == ["served", "stopped"]
    assert ledger.events("stopped")[0].detail == {"原因": "关机"}


WRITER = """
    import os, signal, sys
    from lodestar.store.ledger import Ledger
    ledger = Ledger(f"sqlite:///{sys.argv[1]}")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        ledger.add_event(sys.argv[2], {"number": number})
        print(number, flush=True)
"""


def test_no_commit_is_lost_when_processes_write_at_once_and_one_is_killed(path):
    """All writers open a ledger that does not exist yet, so its migrations race, too."""
    count = 40
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    writers = {
        name: subprocess.Popen([*command, name, str(count if name != "killed" else 100_000)], stdin=-1, stdout=-1, text=True)
        for name in ["a", "b", "c", "killed"]
    }
    for writer in writers.values():
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
        writer.stdin.write("\n")
        writer.stdin.flush()
    killed = writers["killed"]
    assert killed.stdout is not None
    for _ in range(10):
        killed.stdout.readline()
    killed.kill()
    printed = 10 + len(killed.communicate()[0].split())
    for name in ["a", "b", "c"]:
        writers[name].communicate(timeout=120)
        assert writers[name].returncode == 0
    ledger = Ledger(f"sqlite:///{path}")
    for name in ["a", "b", "c"]:
        assert [event.detail["number"] for event in ledger.events(name)] == list(range(count))
    survived = [event.detail["number"] for event in ledger.events("killed")]
    assert survived in (list(range(printed)), list(range(printed + 1))), "all it was told of, and at most the one it was writing"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_the_journal_is_one_that_this_sqlite_is_safe_with(ledger, path):
    assert journal_mode((3, 51, 2)) == "truncate"
    assert journal_mode((3, 51, 3)) == "wal"
    assert journal_mode((3, 53, 0)) == "wal"
    with ledger._engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == journal_mode()
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == ledger_module.BUSY_TIMEOUT_MS


def test_a_ledger_in_wal_from_a_newer_sqlite_is_taken_back(path):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    Ledger(f"sqlite:///{path}").add_event("x", {})
    connection = sqlite3.connect(path)
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()
    assert (mode == "wal") == (journal_mode() == "wal")


def test_migrations_make_the_tables_that_the_code_reads(ledger, path):
    Ledger(f"sqlite:///{path}")
    migrated = inspect(create_engine(f"sqlite:///{path}"))
    assert set(migrated.get_table_names()) == {"migrations", *ledger_module._Base.metadata.tables}
    for name, table in ledger_module._Base.metadata.tables.items():
        columns = {column["name"]: (str(column["type"]), column["nullable"]) for column in migrated.get_columns(name)}
        assert columns == {column.name: (str(column.type), column.nullable) for column in table.columns}
    with ledger._engine.connect() as connection:
        applied = connection.execute(text("SELECT name FROM migrations")).scalars().all()
    assert applied == [migration.__name__ for migration in MIGRATIONS]


def test_a_ledger_of_the_first_schema_keeps_its_requests(path):
    path.parent.mkdir()
    with create_engine(f"sqlite:///{path}").begin() as connection:
        connection.execute(text("CREATE TABLE migrations (name VARCHAR PRIMARY KEY, applied VARCHAR NOT NULL)"))
        MIGRATIONS[0](connection)
        connection.execute(text("INSERT INTO migrations VALUES (:name, 'then')"), {"name": MIGRATIONS[0].__name__})
        connection.execute(text("INSERT INTO requests VALUES (1, 'then', 'v1', '/v1/classify', 3, 2, 5.0, 200, 'clsf-1', NULL)"))
    (request,) = Ledger(f"sqlite:///{path}").requests()
    assert (request.id, request.user_hash, request.retries) == ("clsf-1", None, 0)


def forecast(id: str = "f1", **changes: Any) -> Forecast:
    fields = {"statement": "It will rain.", "by": "Ada", "made": "2026-12-01", "resolve_by": "2026-12-31", "probability": 0.7}
    return Forecast.parse({"id": id, **fields, **changes}, where="x")


def test_forecasts_are_noted_once_and_resolved_once(ledger, path):
    ledger.add_forecasts([forecast("f1"), forecast("f2")])
    ledger.add_forecasts([forecast("f1")])
    with pytest.raises(UserError, match="another forecast 'f2'"):
        ledger.add_forecasts([forecast("f3"), forecast("f2", probability=0.5)])
    assert [each.id for each in ledger.forecasts()] == ["f1", "f2"], "all or none"
    rained = Resolution(outcome=True, when=date(2027, 1, 1), source="person", reference="Ada: it did")
    assert ledger.resolve_forecast("f1", rained).resolution == rained
    with pytest.raises(UserError, match="'f1' was resolved on 2027-01-01 as yes"):
        ledger.resolve_forecast("f1", rained)
    with pytest.raises(UserError, match="unknown forecast 'f9'; use one of f1, f2"):
        ledger.resolve_forecast("f9", rained)
    assert [each.resolution for each in Ledger(f"sqlite:///{path}").forecasts()] == [rained, None]


def test_feedback_is_kept_beside_the_answers_that_it_is_on(ledger):
    ledger.add_request(Request(time="t", release="v1", route="/", tokens_in=1, tokens_out=1, latency_ms=1, status=200, id="a"))
    ledger.add_request(Request(time="t", release="v1", route="/", tokens_in=1, tokens_out=1, latency_ms=1, status=503, id="b"))
    assert [ledger.release_of(id) for id in ("a", "b", "c")] == ["v1", None, None], "a failed request is no answer"
    ledger.add_feedback(FeedbackRow(time="t", release="v1", request="a", rating="down", comment="晚了"))
    ledger.add_feedback(FeedbackRow(time="u", release="v1", request="a", outcome=True))
    assert [(row.rating, row.comment, row.outcome) for row in ledger.feedback()] == [("down", "晚了", None), (None, "", True)]


def test_a_server_is_paid_for_until_it_was_last_seen(ledger):
    first, second = ledger.start_server("v1", "2026-12-01T00:00:00Z"), ledger.start_server("v1", "2026-12-01T00:00:05Z")
    ledger.see_server(first, "2026-12-01T01:00:00Z")
    assert [(row.number, row.seen) for row in ledger.servers()] == [(first, "2026-12-01T01:00:00Z"), (second, "2026-12-01T00:00:05Z")]


def test_a_ledger_of_a_newer_version_is_refused(ledger, path):
    with ledger._engine.begin() as connection:
        connection.execute(text("INSERT INTO migrations VALUES ('m9999_the_future', 'later')"))
    with pytest.raises(UserError, match=r"newer version of Lodestar \(m9999_the_future\)"):
        Ledger(f"sqlite:///{path}")


def test_a_damaged_ledger_is_one_sentence(tmp_path):
    (tmp_path / "ledger").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="the ledger is damaged; restore"):
        Ledger(f"sqlite:///{tmp_path / 'ledger'}")
    with pytest.raises(UserError, match="the ledger cannot be read"):
        requests_served(tmp_path / "ledger")


def test_a_ledger_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be opened"):
        Ledger(f"sqlite:///{tmp_path}")
    with pytest.raises(UserError, match=r"address cannot be used .*; write sqlite:///PATH"):
        Ledger("not a url")


WRITE_TOO_MUCH = """
    import resource, sys
    from lodestar.contracts.errors import UserError
    from lodestar.store.ledger import Ledger
    url = f"sqlite:///{sys.argv[1]}/ledger"
    Ledger(url).add_event("kept", {})
    if sys.argv[2] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        Ledger(url).add_event("big", {"text": "x" * 4_000_000})
    except UserError as error:
        print(error)
    print([event.kind for event in Ledger(url).events()])
"""


def write_too_much(folder: Path, mode: str, prefix: list[str]) -> list[str]:
    command = [*prefix, sys.executable, "-c", textwrap.dedent(WRITE_TOO_MUCH), str(folder), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_is_one_sentence_and_what_was_committed_stays(tmp_path, small_disk):
    sentence, kept = write_too_much(tmp_path / "disk", "disk", small_disk)
    assert "no space to write the ledger; free some space" in sentence
    assert kept == "['kept']"


def test_a_failing_disk_is_one_sentence_and_what_was_committed_stays(tmp_path):
    sentence, kept = write_too_much(tmp_path, "limit", [])
    assert "the disk of the ledger fails" in sentence
    assert kept == "['kept']"
