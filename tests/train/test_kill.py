"""A training process killed at random moments, again and again, ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

KILLS = 4


def start(out: Path, settings: str) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("toy_run.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([sys.executable, str(script), str(out), settings], env=environment, stderr=subprocess.PIPE)


def lines(out: Path) -> int:
    file = out / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


@pytest.mark.slow
def test_killed_at_random_moments(toy: ModuleType, tmp_path: Path) -> None:
    # A checkpoint every other step: many of the kills hit one that is being written.
    chosen = toy.make_settings(60, checkpoint_every=2, evaluate_every=20, ema=0.9, accumulate=True)
    toy.run(tmp_path / "whole", chosen)
    settings = chosen.model_dump_json()
    killed, chance = tmp_path / "killed", random.Random()
    for number in range(KILLS):
        process = start(killed, settings)
        goal = (number + 1) * 60 // (KILLS + 1) + chance.randrange(-3, 4)
        while lines(killed) < goal and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert not (killed / "record.json").exists(), "it was to be killed before its end"
    finish(start(killed, settings))
    assert (tmp_path / "whole/model/model.safetensors").read_bytes() == (killed / "model/model.safetensors").read_bytes()
    records = [json.loads((out / "record.json").read_text()) for out in (tmp_path / "whole", killed)]
    assert records[0]["facts"] == records[1]["facts"]
    losses = [
        [row.get("loss", row.get("validation_loss")) for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())]
        for out in (tmp_path / "whole", killed)
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_sentence_and_loses_nothing(toy: ModuleType, tmp_path: Path) -> None:
    # The system refuses files over a limit, as a full disk does: the checkpoint of step 0, without AdamW's moments, still fits.
    chosen = toy.make_settings(10, optimizer="adamw")
    settings = chosen.model_dump_json()
    weights = toy.make_model().parameter_count() * 4
    script = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({weights + 8192}, {weights + 8192}));"
        f"sys.argv = ['toy_run.py', {str(tmp_path / 'out')!r}, {settings!r}];"
        f"runpy.run_path({str(Path(__file__).with_name('toy_run.py'))!r}, run_name='__main__')"
    )
    full = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert full.returncode != 0
    assert "step-000005: no space to write (File too large); free some space and run it again." in full.stderr
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-000000"]
    toy.run(tmp_path / "out", chosen)
    toy.run(tmp_path / "whole", chosen)
    assert (tmp_path / "whole/model/model.safetensors").read_bytes() == (tmp_path / "out/model/model.safetensors").read_bytes()
