"""The guide to preferences and rewards does what it says, in both languages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lodestar.contracts.settings import PreferenceSettings
from lodestar.venture.vision import VentureFile

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [(DOCS / f"preference-tuning{ending}.md").read_text("utf-8") for ending in ("", ".zh")]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_both_pages_show_the_same() -> None:
    for language in ("py", "yaml", "sh"):
        assert blocks(PAGES[0], language) == blocks(PAGES[1], language)
    kinds = [re.findall(r"^\| `(\w+)` \|", page.split("\n## ")[1], re.MULTILINE) for page in PAGES]
    assert kinds[0] == kinds[1] == ["dpo", "ipo", "orpo", "kto"]


def test_the_settings_are_settings() -> None:
    shown, venture = blocks(PAGES[0], "yaml")
    assert PreferenceSettings.parse(yaml.safe_load(shown)["preference"], where="the guide") == PreferenceSettings(label_smoothing=0.1)
    assert VentureFile.parse(yaml.safe_load(venture), where="the guide").reward is not None


def test_the_programs_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks(PAGES[0], "py")), {})
    assert (tmp_path / "runs" / "dpo" / "record.json").is_file()
    assert (tmp_path / "runs" / "grpo" / "record.json").is_file()
    printed = capsys.readouterr().out
    assert "'signal'" in printed
    assert "'landlock'" in printed


@pytest.mark.slow
def test_the_venture_runs_as_written(tmp_path: Path) -> None:
    (tmp_path / "venture.yaml").write_text(blocks(PAGES[0], "yaml")[1], "utf-8")
    (commands,) = blocks(PAGES[0], "sh")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "LODESTAR_LANGUAGE": "en", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-e", "-c", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rounds = json.loads(next(tmp_path.glob("runs/train-*/rounds.json")).read_text())
    assert len(rounds) == 10
    assert f"the mean reward was {rounds[0]['reward']:.2f} in the first round" in done.stderr
