"""What a view of the studio is. The views are found by listing the folder `views`; there is no list to edit.

A view's body is HTML that its module wrote: what people wrote stands in it escaped. It is built of venture/page.py's blocks, so that one
style sheet dresses the pages that are files and those that are served; what a view needs beside it stands in a style sheet of page/,
all of which are loaded. No script and no `<style>` may stand in it: the page's Content-Security-Policy stops both.

What the page does for every view:

* An element with an `id` and `data-live` is kept up to date while something runs: the page asks for itself again, and puts the new
  element in place of the old one.
* Every `<svg class="plot">`, and every `<svg>` and `<img>` in a `<figure>`, can be saved; its figcaption, or else its aria-label or alt
  text, names the file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from ..contracts.language import Words
from ..venture.venture import Venture
from . import views as folder

StageName = Literal["vision", "decision", "execution", "product", "success"]
STAGES: tuple[StageName, ...] = get_args(StageName)


@dataclass(frozen=True)
class View:
    """One view of a venture."""

    name: str
    """Its place in the address: /decision, /execution, ..."""
    stage: StageName
    """The stage that it belongs to, whose own view has the stage's name."""
    heading: Words
    body: Callable[[Venture, Mapping[str, str]], str]
    """HTML of the view from the venture's records and the address's query."""
    data: Callable[[Venture, Mapping[str, str]], Any] | None = None
    """What /api/NAME answers, as JSON."""


@cache
def views() -> dict[str, View]:
    """Every view by its name, stage by stage; within one, the stage's own view first."""
    modules = [importlib.import_module(f"{folder.__name__}.{found.name}") for found in pkgutil.iter_modules(folder.__path__)]
    found: list[View] = [module.VIEW for module in modules]
    found.sort(key=lambda view: (STAGES.index(view.stage), view.name != view.stage, view.name))
    return {view.name: view for view in found}
