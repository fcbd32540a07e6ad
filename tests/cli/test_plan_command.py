"""`lodestar plan` as people type it, and the budget's guard over `lodestar run`: real runs that stop, say why, and go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.cli.main import main
from lodestar.store.ledger import Ledger


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sorter(capsys) -> Path:
    assert main(["new", "x", "--template", "classification"]) == 0
    capsys.readouterr()
    return Path("x")


def plan(capsys, *arguments: str) -> Any:
    code = main(["plan", *arguments, "--venture", "x", "--draws", "200", "--json"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return json.loads(shown.out)


def refused(capsys, *arguments: str) -> str:
    assert main(["plan", *arguments, "--venture", "x", "--draws", "200"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_the_first_call_begins_a_plan_and_later_ones_show_it(sorter, capsys):
    first = plan(capsys)
    assert (sorter / "plan.yaml").is_file()
    assert first["critical_path"][:2] == ["collect", "label"]
    assert first["forecast"]["by"]["50%"] < first["forecast"]["by"]["80%"] < first["forecast"]["by"]["95%"]
    assert "看板" not in Path(first["page"]).read_text()
    assert [task["id"] for task in plan(capsys)["tasks"]] == [task["id"] for task in first["tasks"]]
    assert main(["plan", "--venture", "x", "--draws", "200"]) == 0
    text = capsys.readouterr().out
    assert "Critical path: collect → label → prepare" in text
    assert "80% sure by" in text


def test_the_way_of_a_task(sorter, capsys):
    plan(capsys)
    assert plan(capsys, "start", "collect")["tasks"][0]["state"] == "started"
    assert plan(capsys, "block", "hosting", "--because", "the contract", "--by", "Ada")["changes"] == []
    assert plan(capsys, "done", "collect", "--hours", "6")["tasks"][0]["hours"] == 6
    told = plan(capsys, "history")
    assert [version["why"] for version in told] == ["begun", "plan start collect", "plan block hosting", "plan done collect"]
    assert told[2]["who"] == "Ada"
    week = plan(capsys, "week")
    assert any("Collect the data" in line for line in week["happened"])
    assert Path(week["files"]["html"]).is_file()
    assert main(["status", "--venture", "x", "--json"]) == 0
    assert "1 of 10 tasks done, 1 blocked" in json.loads(capsys.readouterr().out)["stages"][2]["words"]["en"]


@pytest.mark.parametrize("kind", ["github", "csv", "ics"])
def test_what_is_exported_can_be_imported(sorter, capsys, kind):
    plan(capsys)
    file = {"github": "x.json", "csv": "x.csv", "ics": "x.ics"}[kind]
    assert plan(capsys, "--export", kind, file) == {"file": file, "tasks": 10}
    before = (sorter / "plan.yaml").read_bytes()
    plan(capsys, "--import", file)
    assert (sorter / "plan.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["start"], "which task is it that is to be 'start'?; name it: lodestar plan start TASK"),
        (["show", "collect"], "the action show takes no task"),
        (["block", "collect"], "a blocked task waits for something; say what for with --because"),
        (["--because", "x"], "--because belongs to the action block"),
        (["--import", "x.csv", "--export", "csv", "y.csv"], "one at a time"),
        (["done", "colect"], "the plan has no task 'colect'; did you mean 'collect'?"),
        (["done", "collect", "--on", "2026-02-30"], "'2026-02-30' is no date"),
        (["start", "collect", "--on", "2999-01-01"], "which is still to come"),
        (["dance"], "dance"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence_and_changes_nothing(sorter, capsys, arguments, sentence):
    plan(capsys)
    before = (sorter / "plan.yaml").read_bytes()
    events = len(Ledger(f"sqlite:///{sorter / '.lodestar/ledger.sqlite'}").events("plan"))
    assert sentence in refused(capsys, *arguments)
    assert (sorter / "plan.yaml").read_bytes() == before
    assert len(Ledger(f"sqlite:///{sorter / '.lodestar/ledger.sqlite'}").events("plan")) == events


def test_a_circle_is_named_by_status_too(sorter, capsys):
    plan(capsys)
    file = sorter / "plan.yaml"
    file.write_text(
        file.read_text().replace("estimate: [8, 24, 80]\n  - id: label", "estimate: [8, 24, 80]\n    depends: [launch]\n  - id: label")
    )
    for command in ("plan", "status"):
        assert main([command, "--venture", "x"]) == 2
        assert "the tasks wait for each other in a circle: collect → launch" in capsys.readouterr().err


# The budget's guard

TINY = {"size": "tiny", "context": 256, "overrides": {"depth": 1, "width": 32, "heads": 1}}


def make_venture(folder: Path, **changes: Any) -> Path:
    venture = {
        "name": "small", "statement": "Continues a text.", "audience": "testers", "north_star": "bits_per_byte", "task": "text-generation",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300}, "model": TINY,
        "train": {"tokens": 20_000}, "evaluate": {"resamples": 100}, "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "venture.yaml").write_text(yaml.safe_dump(venture | changes), "utf-8")
    return folder


def lodestar(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lodestar.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "LODESTAR_LANGUAGE": "en"})


@pytest.mark.slow
def test_a_training_stops_with_a_checkpoint_before_the_hours_run_out_and_goes_on_once_they_are_raised(tmp_path: Path) -> None:
    venture = make_venture(tmp_path / "venture")
    assert lodestar("prepare", "--venture", venture).returncode == 0
    # Minutes in which nothing fits are refused before anything is begun.
    make_venture(venture, train={"minutes": 30}, budget={"amount": 0, "currency": "USD", "hours": 0.1})
    refused = lodestar("run", "--venture", venture)
    assert refused.returncode == 2
    assert "the step train will take about 30 minutes, and budget.hours leaves" in refused.stderr.splitlines()[-1]
    assert not list(venture.glob("runs/train-*"))

    ledger = Ledger(f"sqlite:///{venture / '.lodestar/ledger.sqlite'}")
    # The steps take longer than the look before them told: the guard of the loop itself is what stops.
    long = {"tokens": 3_000_000, "evaluate_every": 100_000, "checkpoint_every": 100_000}
    make_venture(venture, train=long, budget={"amount": 10, "currency": "USD", "per_hour": 10})
    code = (
        "import sys; from lodestar.cli import _budget, _steps; _steps.predicted_seconds = lambda *_: 1.0;"
        "import lodestar.venture.budget as budget;"
        "budget.Spending.hours_left = property(lambda self: 6 / 3600);"
        f"from lodestar.cli.main import main; sys.exit(main(['train', '--venture', {str(venture)!r}]))"
    )
    stopped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=240)
    assert stopped.returncode == 2, stopped.stderr
    last = stopped.stderr.splitlines()[-1]
    assert "venture.yaml: budget.amount: used up: stopped at step" in last
    assert "raise it, and run the same command again to go on." in last
    attempt = ledger.runs("train")[-1]
    assert attempt.status == "failed"
    assert "used up" in (attempt.why or "")
    step = int(last.split("stopped at step ")[1].split(" ")[0].replace(",", ""))
    assert step > 0
    assert list(venture.glob(f"runs/train-*/checkpoints/step-{step:06d}"))

    # As it goes on, it is stopped again; what matters is that it begins where it was.
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=240)
    assert f"going on from step {step:,}" in again.stderr
