"""Status: it always names the one next thing, from an empty venture to a served release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date

import pytest

from lodestar.contracts.forecast import Forecast, Resolution
from lodestar.contracts.record import RECORD_FILE
from lodestar.store.ledger import Request
from lodestar.venture.product import release
from lodestar.venture.status import status
from lodestar.venture.venture import Venture


def states(venture: Venture) -> list[str]:
    return [stage.state for stage in status(venture).stages]


def test_the_way_from_a_vision_to_a_served_release(venture, write_runs, make_decision):
    assert states(venture) == ["under way", "open", "open", "open", "open"]
    assert status(venture).next.command == "lodestar vision"
    (venture.folder / "brief.html").write_text("x")
    assert status(venture).next.command == "lodestar decide"
    make_decision(venture)
    assert states(venture)[1] == "done"
    assert status(venture).next.command == "lodestar run"
    (venture.run_folder("prepare", "unfinished")).mkdir(parents=True)
    assert states(venture)[2] == "under way"
    write_runs(venture)
    assert states(venture) == ["done", "done", "done", "open", "open"]
    assert status(venture).next.command == "lodestar release"
    release(venture)
    assert status(venture).next.command == "lodestar serve"
    venture.ledger.add_request(Request(time="t", release="v1", route="/", tokens_in=1, tokens_out=1, latency_ms=1, status=200))
    assert states(venture) == ["done"] * 5
    assert status(venture).next.command == "lodestar report"
    write_runs(venture, "b", finished="2099-02-01T00:00:00Z")
    assert status(venture).next.command == "lodestar release"


def test_failing_gates_and_a_changed_vision_lead_back_to_the_work(venture, write_runs, score):
    write_runs(venture, scores=(score("accuracy", 0.7, 0.6, 0.8),))
    found = status(venture).next
    assert found.command == "lodestar run"
    assert "accuracy, latency_ms_p95 short of target" in found.why.en


def test_other_settings_lead_back_to_the_work_and_other_words_do_not(make_venture, write_runs):
    venture = make_venture()
    write_runs(venture)
    venture.remember_evaluation(venture.latest("evaluate").folder)
    assert status(venture).next.command == "lodestar release"
    assert status(make_venture(statement="Another word.", values=[])).next.command == "lodestar release"
    found = status(make_venture(model={"size": "tiny"})).next
    assert found.command == "lodestar run"
    assert "settings in venture.yaml have changed" in found.why.en


def test_settings_that_are_taken_back_release_their_own_evaluation(venture, write_runs):
    """Nothing runs anew then, so the evaluation that finished last is of the other settings."""
    write_runs(venture, "first", finished="2099-01-01T00:00:00Z")
    first = venture.latest("evaluate").folder
    write_runs(venture, "second", finished="2099-01-02T00:00:00Z")
    venture.remember_evaluation(first)
    assert release(venture)[0].runs["train"] == "model-first"


def test_a_running_process_is_named(venture):
    assert status(venture).running is None
    with venture.hold("train"):
        assert "'train'" in (status(venture).running or "")
        assert f"process {os.getpid()}" in status(venture).text()


def test_forecasts_that_are_due_and_open_are_named(venture, monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    made = {"statement": "It works.", "by": "Ada", "made": date(2020, 1, 1), "probability": 0.5}
    venture.ledger.add_forecasts([
        Forecast(id=name, resolve_by=date(day, 1, 1), **made) for name, day in (("late", 2021), ("told", 2021), ("open", 2999))
    ])  # fmt: skip
    venture.ledger.resolve_forecast("told", Resolution(outcome=True, when=date(2021, 2, 1), source="person", reference="Ada: it does"))
    assert status(venture).to_json()["overdue"] == ["late"]
    assert "Forecasts that are due: late (lodestar forecast resolve)" in status(venture).text().splitlines()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_reads_well_in_both_languages(venture, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    text = status(venture).text()
    assert ("愿景" in text) == (language == "zh")
    json.dumps(status(venture).to_json(), allow_nan=False)


def test_the_latest_run_is_the_one_that_finished_last_and_an_unfinished_one_is_none(venture, write_runs):
    write_runs(venture, "z", finished="2099-01-01T00:00:00Z")
    write_runs(venture, "a", finished="2099-01-02T00:00:00Z")
    assert venture.latest("train").record.id == "model-a"
    (venture.latest("train").folder / RECORD_FILE).unlink()
    assert venture.latest("train").record.id == "model-z"


def test_nothing_heavy_is_imported(venture, write_runs):
    write_runs(venture)
    release(venture)
    code = (
        "import sys; from pathlib import Path; from lodestar.venture.venture import Venture; from lodestar.venture.status import status;"
        f"status(Venture.open(Path({str(venture.folder)!r})));"
        "print(sorted({'torch', 'sklearn', 'psycopg', 'numpy', 'matplotlib', 'pyarrow', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
