"""Every command of both READMEs is run, as a reader would, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
READMES = {"en": "README.md", "zh": "README.zh-CN.md"}


def blocks(readme: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / readme).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands, their comments taken off."""
    return [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]


def test_both_readmes_give_the_same_commands() -> None:
    assert [commands(block) for block in blocks(READMES["en"])] == [commands(block) for block in blocks(READMES["zh"])]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    first = [command.split("#")[0].strip() for command in commands(blocks(READMES["en"])[0])]
    assert first == ["make demo", "make test"]
    for command in first:
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("language", READMES)
def test_the_tour_runs_as_written(language: str, tmp_path: Path) -> None:
    tour = next(block for block in blocks(READMES[language]) if "lodestar new" in block)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        tour = tour.replace("8000", str(probe.getsockname()[1]))
    # A reader waits two minutes for the training; the test does not.
    tour = tour.replace("lodestar run ", "lodestar-shorten && lodestar run ")
    shorten = tmp_path / "bin" / "lodestar-shorten"
    shorten.parent.mkdir()
    shorten.write_text(f"#!/bin/sh\nexec {sys.executable} {__file__}\n")
    shorten.chmod(0o755)
    path = os.pathsep.join([str(shorten.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "LODESTAR_LANGUAGE": language, "OMP_NUM_THREADS": "1"}
    bash = shutil.which("bash")
    assert bash is not None
    # -m: a job of its own for the server, as in a terminal, so that `kill %1` reaches it.
    done = subprocess.run(
        [bash, "-e", "-m", "-c", tour], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"text"' in done.stdout
    assert ("Next:" if language == "en" else "下一步：") in done.stdout
    assert (tmp_path / "poet" / "report.html").is_file()
    assert (tmp_path / "poet" / "releases" / "v1" / "card.md").is_file()


def shorten() -> None:
    """Give the venture in this folder a training of a few seconds, and targets that this still keeps."""
    file = Path("venture.yaml")
    venture = yaml.safe_load(file.read_text("utf-8"))
    venture["train"] = {"tokens": 20_000}
    venture["model"] = {"size": "tiny", "context": 64, "overrides": {"depth": 1, "width": 64}}
    venture["targets"] = [{"metric": "bits_per_byte", "at_most": 12}]
    file.write_text(yaml.safe_dump(venture, allow_unicode=True), "utf-8")


if __name__ == "__main__":
    shorten()
