"""Founders' templates: one file a product, found by listing this folder; its name is the template's name.

A template is a venture.yaml in both languages and a sample to begin with. All samples were written for this project and are in the public
domain (CC0); nobody and nothing in them exists. Where a task's own sample is that very product, the template takes that.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from ...contracts.errors import unknown
from ...contracts.language import Words

SAMPLE_LICENCE: Mapping[str, str] = {"data/*": "CC0-1.0"}
"""venture.yaml: `licences`, of a sample that a template brings."""
BUDGET: Mapping[str, Any] = {"amount": 500, "currency": "USD", "per_hour": 0.5, "hours": 200}
"""An example, to be changed by whoever pays: 200 hours of a small machine, and as much again for what goes wrong."""


class Template(NamedTuple):
    """What a venture begins with."""

    words: Words
    """The product in one line."""
    venture: Mapping[str, Any]
    """venture.yaml less the name, its words in both languages."""
    files: Callable[[], Mapping[str, str]] = dict
    """What else is put into the new folder: name → content."""


def names() -> list[str]:
    """The names of all templates, in alphabetical order; imports none of them."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def find(name: str) -> Template:
    """The template called `name`; imports its file and no other.

    Raises:
        UserError: when no template has this name, with the nearest one that does.
    """
    known = names()
    if name not in known:
        raise unknown("template", name, known)
    found = import_module(f"{__name__}.{name.replace('-', '_')}").TEMPLATE
    assert isinstance(found, Template)
    return found
