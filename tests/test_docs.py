"""Every command of the READMEs and of the guides is run, as a reader would, in an empty folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lodestar import tasks

ROOT = Path(__file__).parents[1]
VENTURE = Path("venture.yaml")
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
    printed = run_tour(tour, tmp_path, language)
    assert '"text"' in printed
    assert ("Next:" if language == "en" else "下一步：") in printed
    assert (tmp_path / "poet" / "report.html").is_file()
    assert (tmp_path / "poet" / "releases" / "v1" / "card.md").is_file()


PAGES = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")) if not path.stem.endswith(".zh")}
# add-a-task.md needs its own code installed; tests/tasks/test_add_a_task_guide.py runs it.
TOURS = [name for name, page in PAGES.items() if "lodestar new" in page and name != "add-a-task"]
GUIDES = [name for name in TOURS if name not in ("assistants", "decide", "explain", "plan", "studio", "success", "templates", "vision")]


def test_every_task_has_a_guide_in_both_languages() -> None:
    assert tasks.names() == GUIDES


@pytest.mark.slow
@pytest.mark.parametrize("guide", TOURS)
def test_the_guide_runs_as_written(guide: str, tmp_path: Path) -> None:
    english, chinese = (blocks(f"docs/{guide}{ending}") for ending in (".md", ".zh.md"))
    assert english == chinese
    for block in english:
        # A founders' template runs as it stands, in seconds, and keeps what it promises of its model.
        printed = run_tour(block, tmp_path, "en", change="be_patient" if guide == "templates" else "shorten")
    if "lodestar release" in PAGES[guide]:
        assert "Released v1" in printed


def run_tour(block: str, folder: Path, language: str, *, change: str = "shorten") -> str:
    """Run the commands in `folder` and return what they print. A reader waits minutes for a training; `change`, a function of this file
    that is run in the venture before it, makes it seconds.
    """
    block = block.replace("lodestar run", "lodestar-change && lodestar run", 1)
    changing = folder / "bin" / "lodestar-change"
    changing.parent.mkdir(exist_ok=True)
    changing.write_text(f"#!/bin/sh\nexec {sys.executable} {__file__} {change}\n")
    changing.chmod(0o755)
    path = os.pathsep.join([str(changing.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "LODESTAR_LANGUAGE": language, "OMP_NUM_THREADS": "1"}
    bash = shutil.which("bash")
    assert bash is not None
    # -m: a job of its own for the server, as in a terminal, so that `kill %1` reaches it.
    command = [bash, "-e", "-m", "-c", block]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            printed, complaints = running.communicate(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, printed + complaints
    return printed


def shorten() -> None:
    """Give the venture in this folder a training of a few seconds, and targets that this still keeps."""
    venture = yaml.safe_load(VENTURE.read_text("utf-8"))
    venture["train"] = {"tokens": 20_000}
    venture["model"] = {"size": "tiny", "context": 256, "overrides": {"depth": 1, "width": 64}}
    venture["data"] = {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300}
    venture["targets"] = [{"metric": "latency_ms_p50", "at_most": 60_000}]
    venture["north_star"] = "latency_ms_p50"
    VENTURE.write_text(yaml.safe_dump(venture, allow_unicode=True), "utf-8")


def be_patient() -> None:
    """Let the venture in this folder answer as slowly as a busy machine does."""
    venture = yaml.safe_load(VENTURE.read_text("utf-8"))
    for target in venture["targets"]:
        if target["metric"].startswith("latency"):
            target["at_most"] = 60_000
    VENTURE.write_text(yaml.safe_dump(venture, allow_unicode=True), "utf-8")


if __name__ == "__main__":
    {"shorten": shorten, "be_patient": be_patient}[sys.argv[1]]()
