"""The steps as a user runs them: real processes on a small venture, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.cli._studio import COMPARE
from lodestar.studio.access import Person
from lodestar.venture.venture import Venture

TINY = {"size": "tiny", "context": 256, "overrides": {"depth": 1, "width": 32, "heads": 1}}


def make_venture(folder: Path, **changes: Any) -> Path:
    """A text venture on the task's own sample, trained for a moment."""
    venture = {
        "name": "small",
        "statement": "Continues a text.",
        "audience": "testers",
        "north_star": "bits_per_byte",
        "task": "text-generation",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": TINY,
        "train": {"tokens": 20_000},
        "evaluate": {"resamples": 100},
        "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }
    folder.mkdir(exist_ok=True)
    (folder / "venture.yaml").write_text(yaml.safe_dump(venture | changes, allow_unicode=True), "utf-8")
    return folder


def lodestar(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lodestar.cli.main", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "LODESTAR_LANGUAGE": "en", **environment}
    )


def run(venture: Path, *arguments: str) -> dict[str, Any]:
    done = lodestar(*arguments, "--venture", venture, "--json")
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.mark.slow
def test_two_releases_are_compared_and_a_second_run_skips_what_is_done(tmp_path: Path) -> None:
    venture = make_venture(tmp_path / "venture", train={"tokens": 256})
    first = run(venture, "run")
    assert [step["skipped"] for step in first.values()] == [False, False, False]
    again = run(venture, "run")
    assert [step["skipped"] for step in again.values()] == [True, True, True]
    assert {name: step["folder"] for name, step in again.items()} == {name: step["folder"] for name, step in first.items()}
    assert run(venture, "release")["name"] == "v1"

    # Another training is another run beside the first; the prepared data is the same.
    make_venture(venture, train={"tokens": 4_096})
    second = run(venture, "run")
    assert second["train"]["record"]["facts"]["tokens"] == 4_096
    assert second["prepare"]["skipped"]
    assert second["train"]["folder"] != first["train"]["folder"]
    assert run(venture, "release")["name"] == "v2"
    compared = run(venture, "compare", "v1", "v2")
    assert {found["metric"]: found["verdict"] for found in compared["comparisons"]}["bits_per_byte"] == "b"
    alike = run(venture, "compare", "v1", "v1")
    assert {found["verdict"] for found in alike["comparisons"]} == {"unknown"}
    noted = [json.loads(path.read_text()) for path in (venture / ".lodestar" / "comparisons").iterdir()]
    ends = [{found["metric"]: (found["low"], found["high"]) for found in pair["differences"]} for pair in noted]
    assert ends == [{found["metric"]: (found["low"], found["high"]) for found in compared["comparisons"]}], "the two, and once"
    opened = Venture.open(venture)
    asked = COMPARE.answers(opened, {"a": "v1", "b": "v2"})
    assert "v2 is better" in COMPARE.do(opened, Person("Ada", "engineer"), asked).en, "from the studio as from the command line"
    told = lodestar("compare", "v1", "v2", "--venture", venture)
    assert told.stdout.startswith("v2 is better.")


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_and_the_second_one_at_once_is_told_who_holds_it(tmp_path: Path) -> None:
    venture = make_venture(tmp_path / "venture", train={"tokens": 2_000_000, "checkpoint_every": 5})
    run(venture, "prepare")
    command = [sys.executable, "-m", "lodestar.cli.main", "train", "--venture", str(venture)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as training:
        deadline = time.monotonic() + 120
        while not list(venture.glob("runs/train-*/checkpoints/step-*5")):
            assert training.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        refused = lodestar("run", "--venture", venture)
        assert refused.returncode == 2
        assert f"process {training.pid}" in refused.stderr or f"pid {training.pid}" in refused.stderr
        training.send_signal(signal.SIGKILL)
        training.communicate()
    make = yaml.safe_load((venture / "venture.yaml").read_text("utf-8"))
    assert make["train"]["tokens"] == 2_000_000
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as resumed:
        assert resumed.stderr is not None
        for line in resumed.stderr:
            if "going on from step" in line:
                break
        else:
            pytest.fail("it did not go on")
        resumed.send_signal(signal.SIGTERM)
        resumed.communicate(timeout=60)
    assert resumed.returncode != 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": {"sources": ["nowhere/*.txt"]}}, "nowhere"),
        ({"model": TINY | {"overrides": {"heads": 5}}}, "heads (5) does not divide width"),
        ({"model": TINY | {"overrides": {"widht": 5}}}, "did you mean 'width'"),
        ({"targets": [{"metric": "accuracy", "at_least": 1}]}, "has no metric 'accuracy'"),
        ({"task": "text-generatoin"}, "did you mean 'text-generation'"),
        ({"model": TINY | {"context": 100_000}}, "too few for one row of the context 100000"),
        ({"train": {"tokens": "many"}}, "train.tokens"),
        ({"train": {"tokens": 4096, "batch_tokens": 100}}, "batch_tokens is 100, less than one row of the context 256"),
        ({"train": {"tokens": 4096, "micro_batch_tokens": 8192}}, "micro_batch_tokens is 8192, more than a whole step of 256 tokens"),
        ({"train": {"tokes": 5}}, "did you mean 'tokens'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    venture = make_venture(tmp_path / "venture", **changes)
    done = lodestar("run", "--venture", venture)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("lodestar: ")
    assert "Traceback" not in done.stderr
    assert not list(venture.glob("runs/*/record.json"))
    assert not list(venture.glob("runs/train-*"))


@pytest.mark.parametrize("overrides", [{"heads": 5}, {"widht": 5}], ids=str)
def test_the_vision_does_not_hold_of_a_model_that_cannot_be(tmp_path: Path, overrides: dict[str, int]) -> None:
    venture = make_venture(tmp_path / "venture", model=TINY | {"overrides": overrides})
    done = lodestar("vision", "--venture", venture)
    assert done.returncode == 2
    assert next(iter(overrides)) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in venture.iterdir()] == ["venture.yaml"]


def test_a_step_whose_input_is_missing_says_what_to_run(tmp_path: Path) -> None:
    venture = make_venture(tmp_path / "venture")
    for step, first in (("train", "prepare"), ("evaluate", "prepare"), ("release", "run"), ("serve", "release")):
        done = lodestar(step, "--venture", venture)
        assert done.returncode == 2
        assert f"lodestar {first}" in done.stderr
