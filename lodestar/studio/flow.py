"""The mission's flow: the five stages as stars on one line, each with its state, each the door to its views."""

from __future__ import annotations

from html import escape
from typing import Literal

from ..contracts.language import Words, say
from ..venture.status import STAGE_TITLES, Status
from .view import STAGES, StageName, views

Mark = Literal["done", "next", "under-way", "waiting"]
MARK_WORDS: dict[Mark, Words] = {
    "done": Words("done", "已完成"),
    "next": Words("next", "下一步"),
    "under-way": Words("under way", "进行中"),
    "waiting": Words("waiting", "等待"),
}
_CURRENT = ' aria-current="page"'
_STAR = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 0l2.4 9.6L24 12l-9.6 2.4L12 24l-2.4-9.6L0 12l9.6-2.4z"/></svg>'


def marks(status: Status | None) -> dict[StageName, Mark]:
    """Each stage's state: done, next (the first that is not), under way beside it, or waiting for those before."""
    if status is None:
        return {name: "next" if name == STAGES[0] else "waiting" for name in STAGES}
    states = {stage.name: stage.state for stage in status.stages}
    first = next((name for name in STAGES if states[name] != "done"), None)

    def mark(name: StageName) -> Mark:
        if states[name] == "done":
            return "done"
        return "next" if name == first else "under-way" if states[name] == "under way" else "waiting"

    return {name: mark(name) for name in STAGES}


def flow(status: Status | None, current: StageName | None) -> str:
    """The drawn flow; `current` is the stage whose view is open."""
    said = {stage.name: str(stage.words) for stage in status.stages} if status else {}
    items = []
    for name, mark in marks(status).items():
        here = _CURRENT if name == current else ""
        title, state = escape(str(STAGE_TITLES[name])), escape(str(MARK_WORDS[mark]))
        inner = f"<b>{title}</b><span>{state}</span>"
        link = f'<a href="/{name}"{here} title="{escape(said.get(name, ""))}">{_STAR}{inner}</a>'
        items.append(f'<li class="is-{mark}">{link}</li>')
    label = say("The five stages", "五个阶段")
    return f'<nav class="flow" id="flow" data-live aria-label="{label}"><ol>{"".join(items)}</ol></nav>'


def tabs(stage: StageName, current: str) -> str:
    """The views of one stage, where it has several."""
    mine = [view for view in views().values() if view.stage == stage]
    if len(mine) < 2:
        return ""
    links = "".join(f'<a href="/{view.name}"{_CURRENT if view.name == current else ""}>{escape(str(view.heading))}</a>' for view in mine)
    return f'<nav class="tabs" aria-label="{say("Views of this stage", "本阶段的视图")}">{links}</nav>'
