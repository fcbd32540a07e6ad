"""docs/add-a-task.md, taken at its word: its code is a task, and its commands make a release of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall((DOCS / page).read_text("utf-8")) if kind == language]


def test_both_languages_show_the_same_code() -> None:
    assert BLOCK.findall((DOCS / "add-a-task.md").read_text("utf-8")) == BLOCK.findall((DOCS / "add-a-task.zh.md").read_text("utf-8"))


def test_the_classes_for_pictures_encode_one() -> None:
    from lodestar.contracts import media, task
    from lodestar.prepare.pictures import png, read_square

    (code,) = blocks("add-a-task.md", "py")
    known: dict[str, Any] = {**vars(task), **vars(media), "read_square": read_square}
    exec(code, known)
    fields = known["Photo"].of_file("photos/cat/1.jpg")
    pixels = np.arange(3 * 32 * 32, dtype=np.uint8).reshape(3, 32, 32)
    photo = known["Photo"](image=media.Picture.of(png(pixels)), **fields)
    row = known["Photos"].encode(SimpleNamespace(state={"labels": ["bird", "cat"]}), photo, None)
    np.testing.assert_array_equal(row["pixels"], pixels)
    assert row["label"] == 1
    assert known["Photos"].arrays["pixels"].shape == row["pixels"].shape


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guide's file, installed as a package with the guide's entry point, and its venture made and run."""
    folder = tmp_path_factory.mktemp("guide")
    package, work = folder / "package", folder / "work"
    metadata = package / "mirror-1.0.dist-info"
    metadata.mkdir(parents=True)
    work.mkdir()
    (package / "mirror.py").write_text("\n".join(blocks("add-a-task.md", "python")), "utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mirror\nVersion: 1.0\n")
    (group,) = re.findall(r'"(lodestar\.tasks)"\]\n(.*)', blocks("add-a-task.md", "toml")[0])
    (metadata / "entry_points.txt").write_text(f"[{group[0]}]\n{group[1].replace(chr(34), '')}\n")
    outputs = []
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "LODESTAR_LANGUAGE": "en"}
    for line in blocks("add-a-task.md", "sh")[0].splitlines():
        command = [sys.executable, "-m", "lodestar.cli.main", *line.split()[1:]]
        finished = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, f"{line}\n{finished.stdout}\n{finished.stderr}"
        outputs.append(finished.stdout)
    assert "mirror" in outputs[0]
    return work


def test_its_commands_make_a_release(place: Path) -> None:
    cards = list((place / "looking-glass" / "releases").rglob("scorecard.json"))
    assert len(cards) == 1
    scores = {score["metric"]: score for score in json.loads(cards[0].read_text())["scores"]}
    assert 0 <= scores["exact"]["low"] <= scores["exact"]["value"] <= scores["exact"]["high"] <= 1
    assert scores["latency_ms_p95"]["value"] > 0


def test_its_model_learns_to_mirror(place: Path) -> None:
    (metrics,) = (place / "looking-glass" / "runs").glob("train-*/metrics.jsonl")
    losses = [row["loss"] for row in map(json.loads, metrics.read_text().splitlines()) if row.get("loss") is not None]
    assert losses[0] > 4
    assert losses[-1] < 1
