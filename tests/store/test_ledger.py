"""The ledger in each database, with real processes that write at once and are killed."""

from __future__ import annotations

import math
import sqlite3
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.forecast import Forecast, Resolution
from lodestar.contracts.record import RunRecord
from lodestar.contracts.score import Cost
from lodestar.store.database import SQLITE_URL
from lodestar.store.ledger import Day, FeedbackRow, Ledger, Request


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


def record(step: str = "train") -> RunRecord:
    return RunRecord(
        step=step, id="abc", started="2026-01-01T00:00:00Z", finished="2026-01-01T00:01:00Z", config={"名": 1}, inputs={}, outputs={},
        cost=Cost(seconds=1.5, cpu_seconds=3, peak_memory_bytes=10), versions={}, seed=0,
    )  # fmt: skip


def test_an_attempt_is_started_then_finished_or_failed(ledger, url):
    done, cut, broken = (ledger.start_run("train", "abc") for _ in range(3))
    ledger.finish_run(done, record())
    ledger.fail_run(broken, "no data")
    again = Ledger(url)
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


def test_usage_sums_requests_and_ranks_latencies(ledger, url):
    assert ledger.requests_served() == 0
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
    assert ledger.usage().requests == ledger.requests_served() == 33
    assert (usage.first, usage.last) == ("2026-01-01T00:00:00Z", "2026-01-02")


def test_events_are_kept_in_order(ledger):
    ledger.add_event("served", {"port": 1})
    ledger.add_event("stopped", {"原因": "关机"})
    assert [event.kind for event in ledger.events()] == ["served", "stopped"]
    assert ledger.events("stopped")[0].detail == {"原因": "关机"}


WRITER = """
    import os, signal, sys
    from lodestar.store.ledger import Ledger
    ledger = Ledger(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        ledger.add_event(sys.argv[2], {"number": number})
        print(number, flush=True)
"""


def test_no_commit_is_lost_when_processes_write_at_once_and_one_is_killed(url):
    """All writers open a ledger that does not exist yet, so its migrations race, too."""
    count = 40
    command = [sys.executable, "-c", textwrap.dedent(WRITER), url]
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
    ledger = Ledger(url)
    for name in ["a", "b", "c"]:
        assert [event.detail["number"] for event in ledger.events(name)] == list(range(count))
    survived = [event.detail["number"] for event in ledger.events("killed")]
    assert survived in (list(range(printed)), list(range(printed + 1))), "all it was told of, and at most the one it was writing"
    if url.startswith(SQLITE_URL):
        with closing(sqlite3.connect(url.removeprefix(SQLITE_URL))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def forecast(id: str = "f1", **changes: Any) -> Forecast:
    fields = {"statement": "It will rain.", "by": "Ada", "made": "2026-12-01", "resolve_by": "2026-12-31", "probability": 0.7}
    return Forecast.parse({"id": id, **fields, **changes}, where="x")


def test_forecasts_are_noted_once_and_resolved_once(ledger, url):
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
    assert [each.resolution for each in Ledger(url).forecasts()] == [rained, None]


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


def test_of_many_who_resolve_a_forecast_at_once_one_does(url):
    """Each on connections of its own, as several processes have them."""
    Ledger(url).add_forecasts([forecast()])

    def resolve(who: int) -> UserError | None:
        rained = Resolution(outcome=True, when=date(2027, 1, 1), source="person", reference=f"{who} saw it")
        return failure(lambda: Ledger(url).resolve_forecast("f1", rained))

    with ThreadPoolExecutor(8) as pool:
        failures = list(pool.map(resolve, range(8)))
    (resolved,) = Ledger(url).forecasts()
    assert resolved.resolution is not None
    assert resolved.resolution.reference == f"{failures.index(None)} saw it"
    assert sum("was resolved on 2027-01-01" in str(each) for each in failures) == 7


def test_of_many_who_note_a_release_at_once_one_does(url):
    ledger = Ledger(url)
    with ThreadPoolExecutor(8) as pool:
        failures = list(pool.map(lambda who: failure(lambda: ledger.add_release("v1", f"hash {who}", {}, [])), range(8)))
    (release,) = ledger.releases()
    assert release.artefact == f"hash {failures.index(None)}"
    assert sum("another release 'v1'" in str(each) for each in failures) == 7


def failure(work: Callable[[], object]) -> UserError | None:
    """What the user is told, of work that fails."""
    try:
        work()
    except UserError as error:
        return error
    return None


def test_the_last_attempts_are_found_by_step_and_by_page(ledger):
    assert (ledger.last_runs(10), ledger.last_run_by_step(), ledger.run_counts()) == ([], {}, {})
    attempts = [ledger.start_run(step, "x") for step in ("prepare", "train", "train", "evaluate", "train")]
    ledger.finish_run(attempts[0], record("prepare"))
    ledger.fail_run(attempts[1], "no data")
    assert [run.attempt for run in ledger.last_runs(2)] == [attempts[4], attempts[3]]
    assert [run.attempt for run in ledger.last_runs(9, before=attempts[3])] == attempts[2::-1]
    trained = [run.attempt for run in ledger.runs("train")]
    assert [run.attempt for run in ledger.last_runs(9, step="train")] == trained[::-1]
    assert [run.attempt for run in ledger.last_runs(1, step="train", before=trained[-1])] == [trained[-2]]
    assert [(step, run.attempt) for step, run in ledger.last_run_by_step().items()] == [
        ("train", attempts[4]), ("evaluate", attempts[3]), ("prepare", attempts[0])
    ]  # fmt: skip
    assert ledger.run_counts() == {"evaluate": {"started": 1}, "prepare": {"finished": 1}, "train": {"failed": 1, "started": 2}}


def test_requests_are_summed_by_day(ledger):
    for time, status in [
        ("2026-11-30T23:59:59.999Z", 200),
        ("2026-12-01T00:00:00Z", 200),
        ("2026-12-01T09:00:00.5Z", 503),
        ("2026-12-03", 200),
    ]:
        ledger.add_request(Request(time=time, release="v1", route="/", tokens_in=3, tokens_out=2, latency_ms=1, status=status))
    assert ledger.days(since="2026-12-01") == [Day("2026-12-01", 2, 1, 6, 4), Day("2026-12-03", 1, 0, 3, 2)]


def test_any_text_is_kept(ledger):
    """Also what PostgreSQL has no way to keep: a zero character becomes the mark of a lost one."""
    text = "名 \U0001f31f \x7f ' \" % %s ? {} \\ \n"
    ledger.add_feedback(FeedbackRow(time="t", release="v1", request="a", comment=text + "\0"))
    ledger.add_event("x", {text: [text + "\0\ud800", None, True, 0.1, 2**60]})
    assert ledger.feedback()[0].comment == text + "\N{REPLACEMENT CHARACTER}"
    assert ledger.events()[0].detail == {text: [text + "\0\ud800", None, True, 0.1, 2**60]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.add_event("x", {"share": math.nan})
