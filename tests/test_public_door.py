"""The names that `import lodestar` offers, and what it must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import lodestar

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there() -> None:
    for name in lodestar.__all__:
        assert getattr(lodestar, name).__name__ == name
    assert set(lodestar.__all__) <= set(dir(lodestar))
    assert not hasattr(lodestar, "Transfomer")


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pydantic', 'sklearn', 'psycopg', 'fastapi'} & set(sys.modules)"
    found = subprocess.run([sys.executable, "-c", f"import sys, lodestar; print({heavy})"], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "set()"


def test_status_of_a_venture_needs_no_torch() -> None:
    code = "import sys, lodestar.venture.status, lodestar.venture.success; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_architecture_page_names_every_room_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = {path.parent.name for path in (ROOT / "lodestar").glob("*/__init__.py")}
    told = {line.split("`")[1].removeprefix("lodestar/") for line in page.splitlines() if line.startswith("| `lodestar/")}
    assert told == rooms


def test_time_and_randomness_come_through_their_modules() -> None:
    """What reads the clock or draws at random anywhere else could not be held still or replayed."""
    homes = {"contracts/clock.py", "contracts/randomness.py", "train/random_state.py"}  # the last keeps the state of Python's own generator
    found = []
    for path in sorted((ROOT / "lodestar").rglob("*.py")):
        where = path.relative_to(ROOT / "lodestar").as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found += [f"{where}:{node.lineno} {alias.name}" for alias in node.names if alias.name in {"time", "random"}]
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in {"time", "random"}:
                # Sleeping reads no clock.
                found += [f"{where}:{node.lineno} {node.module}.{alias.name}" for alias in node.names if alias.name != "sleep"]
    assert not [line for line in found if line.split(":")[0] not in homes]
