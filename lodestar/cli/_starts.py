"""What a venture can begin from, by the name that `--template` takes: a product, a task, or a use of one as TASK:USE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..contracts.errors import unknown
from ..contracts.language import Words

if TYPE_CHECKING:
    from ..venture.interview import Start


def starts() -> dict[str, Words]:
    """Every start's name → what it is, in one line; the products first, which are what founders think in."""
    from .. import tasks
    from ..venture import templates

    found = {name: templates.find(name).words for name in templates.names()}
    for name in tasks.names():
        task = tasks.find(name)
        found[name] = task.words
        found |= {f"{name}:{use}": variant.template["statement"] for use, variant in task.variants.items()}
    return found


def load_start(name: str) -> Start:
    """A start by its name.

    Raises:
        UserError: there is none of this name.
    """
    from .. import tasks
    from ..evaluate.system import SYSTEM_METRICS
    from ..venture.interview import Start

    words, values, files = _begun_from(name)
    task = tasks.find(values["task"])(values.get("options"))
    return Start(words, values, {metric.name: metric for metric in (*task.metrics, *SYSTEM_METRICS)}, files)


def _begun_from(name: str) -> tuple[Words, Mapping[str, Any], Mapping[str, str]]:
    """What it is, venture.yaml less the name, and what else is put into the folder: name → content."""
    from .. import tasks
    from ..contracts.task import Variant
    from ..venture import templates

    if name in templates.names():
        found = templates.find(name)
        return found.words, found.venture, found.files()
    chosen, _, use = name.partition(":")
    if chosen not in tasks.names():
        raise unknown("template", name, [*templates.names(), *tasks.names()])
    task = tasks.find(chosen)
    if use and use not in task.variants:
        raise unknown("template", name, [chosen, *(f"{chosen}:{known}" for known in task.variants)])
    made = task.variants[use] if use else Variant(task.template)
    words = made.template["statement"] if use else task.words
    return words, made.template, {name: path.read_text("utf-8") for name, path in made.files.items()}
