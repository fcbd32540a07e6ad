"""One file an application; a task is found by listing this folder.

A package of your own adds tasks through the entry-point group `lodestar.tasks`, whose names are the tasks' names and whose values
are modules (or classes). There is no registry: see docs/add-a-task.md.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

from ..contracts.errors import UserError, unknown
from ..contracts.task import Task

ENTRY_POINTS = "lodestar.tasks"


def names() -> list[str]:
    """The names of all tasks, in alphabetical order; imports none of them."""
    own = {module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)}
    return sorted(own | {entry.name for entry in metadata.entry_points(group=ENTRY_POINTS)})


def find(name: str) -> type[Task]:
    """The task called `name`; imports its module and no other.

    Raises:
        UserError: when no task has this name, with the nearest one that does.
    """
    known = names()
    if name not in known:
        raise unknown("task", name, known)
    if any(module.name == name.replace("-", "_") for module in pkgutil.iter_modules(__path__)):
        found: Any = import_module(f"{__name__}.{name.replace('-', '_')}")
    else:
        found = next(entry for entry in metadata.entry_points(group=ENTRY_POINTS) if entry.name == name).load()
    task = _only_task(found) if isinstance(found, ModuleType) else found
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise UserError(
            f"the task {name!r} is {task!r}, which is no subclass of Task", fix="point its entry point at the module or the class"
        )
    task.name = name
    return task


def load(description: Mapping[str, Any]) -> Task:
    """The task that `Task.describe` told of: {"task": name, "options": …, "state": …}."""
    return find(str(description["task"]))(description.get("options"), description.get("state"))


def _only_task(module: ModuleType) -> type[Task]:
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise UserError(f"the module defines {len(own)} tasks", where=module.__file__, fix="define exactly one subclass of Task in a file")
    return own[0]
