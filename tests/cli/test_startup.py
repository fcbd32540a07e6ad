"""Which modules the commands that only read records leave alone: what makes them quick, held without a clock.

python -m bench.startup has the times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lodestar.cli.main import main

NUMPY = {"numpy"}
SCIPY = {"numpy", "scipy"}
HEAVY = {
    "torch",
    "numpy",
    "scipy",
    "sklearn",
    "matplotlib",
    "jinja2",
    "pyarrow",
    "sqlalchemy",
    "fastapi",
    "PIL",
    "transformers",
    "asyncio",
    "mcp",
}
COMMANDS = {
    "vision": NUMPY,  # its task's module, which says what can be measured
    "status": set(),
    "decide --verify": set(),
    "forecast": set(),
    "forecast list": set(),
    "report": NUMPY,
    "plan history": SCIPY,
    "plan": SCIPY,  # simulates the finish
}
OF_OURS = {
    "status": {"lodestar.venture.plan", "lodestar.venture.decision", "lodestar.tasks", "lodestar.evaluate"},
    "forecast": {"lodestar.venture.plan", "lodestar.venture.decision", "lodestar.tasks"},
}
"""What a venture without a plan and a decision does not need either."""


@pytest.fixture(scope="module")
def venture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("startup") / "x"
    assert main(["new", "x", "--template", "classification", "--path", str(folder)]) == 0
    return folder


def imported(folder: Path, command: str) -> set[str]:
    """The modules that a process has imported by the end of a command."""
    code = (
        f"import sys, json; from lodestar.cli.main import main; main({[*command.split(), '--venture', str(folder)]!r});"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_reads_records_imports_what_it_needs(venture, command):
    found = imported(venture, command)
    assert "lodestar.venture.venture" in found
    assert found & (HEAVY - COMMANDS[command]) == set()
    assert found & OF_OURS.get(command, set()) == set()
