"""Tasks are found by listing a folder and asking the entry points, and listing them is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lodestar import tasks
from lodestar.contracts.errors import UserError

ROOT = Path(tasks.__file__).parent


def test_names_are_the_files_of_the_folder() -> None:
    assert tasks.names() == sorted(file.stem.replace("_", "-") for file in ROOT.glob("*.py") if file.stem != "__init__")


def test_listing_names_and_words_imports_neither_torch_nor_scikit_learn() -> None:
    program = """
import sys
from lodestar import tasks
lines = [f"{name}: {tasks.find(name).words.en} {tasks.find(name).words.zh}" for name in tasks.names()]
assert len(lines) >= 3 and not {"torch", "sklearn", "scipy", "tokenizers"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_finding_one_task_imports_no_other() -> None:
    program = """
import sys
from lodestar import tasks
tasks.find("classification")
assert not {"lodestar.tasks.text_generation", "lodestar.tasks.code_generation"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_task_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="unknown task 'clasification'; did you mean 'classification'\\?"):
        tasks.find("clasification")


def test_a_task_is_made_again_from_its_description() -> None:
    task = tasks.find("classification")(state={"labels": ["no", "yes"]})
    again = tasks.load(task.describe())
    assert type(again) is type(task)
    assert again.describe() == task.describe() == {"task": "classification", "options": {}, "state": {"labels": ["no", "yes"]}}


def test_a_package_adds_a_task_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_task.py").write_text(
        "from lodestar.tasks.classification import Classification\n\nclass Theirs(Classification):\n    pass\n"
    )
    (tmp_path / "two_tasks.py").write_text((tmp_path / "their_task.py").read_text() + "\n\nclass More(Classification):\n    pass\n")
    _install(tmp_path, "theirs", {"their-task": "their_task", "two-tasks": "two_tasks", "no-task": "pathlib:Path"})
    monkeypatch.syspath_prepend(tmp_path)
    assert {"their-task", "two-tasks", "no-task"} <= set(tasks.names())
    found = tasks.find("their-task")
    assert (found.name, found.__module__) == ("their-task", "their_task")
    with pytest.raises(UserError, match="defines 2 tasks; define exactly one"):
        tasks.find("two-tasks")
    with pytest.raises(UserError, match="no subclass of Task"):
        tasks.find("no-task")


def _install(place: Path, package: str, entry_points: dict[str, str]) -> None:
    """What installing a package leaves for importlib.metadata to find."""
    metadata = place / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("[lodestar.tasks]\n" + "\n".join(lines) + "\n")
