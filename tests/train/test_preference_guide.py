"""The guide to preferences and rewards does what it says, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lodestar.contracts.settings import PreferenceSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [(DOCS / f"preference-tuning{ending}.md").read_text("utf-8") for ending in ("", ".zh")]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_both_pages_show_the_same() -> None:
    for language in ("py", "yaml"):
        assert blocks(PAGES[0], language) == blocks(PAGES[1], language)
    kinds = [re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) for page in PAGES]
    assert kinds[0] == kinds[1] == ["dpo", "ipo", "orpo", "kto"]


def test_the_settings_are_settings() -> None:
    (shown,) = blocks(PAGES[0], "yaml")
    assert PreferenceSettings.parse(yaml.safe_load(shown)["preference"], where="the guide") == PreferenceSettings(label_smoothing=0.1)


def test_the_programs_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks(PAGES[0], "py")), {})
    assert (tmp_path / "runs" / "dpo" / "record.json").is_file()
    assert (tmp_path / "runs" / "grpo" / "record.json").is_file()
    printed = capsys.readouterr().out
    assert "'signal'" in printed
    assert "'landlock'" in printed
