"""The plan: its board, whose cards are moved here, when all is done and how surely, and the week's update."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ...contracts.language import Words, say
from ...venture.execution import look
from ...venture.page import bullets, next_step, section
from ...venture.plan import PlanTask
from ...venture.plan_page import counted, plan_html
from ...venture.plan_words import state_of
from ...venture.venture import Venture
from ...venture.weekly import draft, parts_of
from ..view import View

_MOVES: Mapping[str, tuple[tuple[str, Words], ...]] = {
    "open": (("start", Words("Begin", "开始")), ("done", Words("Done", "完成"))),
    "started": (("done", Words("Done", "完成")), ("open", Words("Back to do", "退回待办"))),
    "blocked": (("start", Words("Go on", "继续")), ("done", Words("Done", "完成")), ("open", Words("Back to do", "退回待办"))),
    "done": (("open", Words("Back to do", "退回待办")),),
}
"""A column → where a card goes from there."""


def body(venture: Venture, _query: Mapping[str, str]) -> str:
    """The plan as it stands now."""
    heading = f"<h1>{say('The plan', '执行计划')}</h1>"
    if not venture.plan_path.exists():
        why = say(
            "begins a plan of the steps and of what people do, and forecasts when it is done",
            "新建计划（机器步骤与人的任务），并预测完成日期",
        )
        return heading + next_step("lodestar plan", why)
    found = look(venture, who=None)
    week = draft(found)
    update = "".join(f"<h3>{escape(title)}</h3>{bullets(lines)}" for title, lines in parts_of(found, week))
    note = next_step("lodestar plan week", say("writes this update down, and what it promises", "写下这份周报及其承诺"))
    return "".join(
        [
            heading,
            f'<p class="audience">{escape(counted(found))}</p>',
            *plan_html(found, _moves),
            section(say(f"Weekly update {week.name}", f"周报 {week.name}"), f'<div class="update">{update}</div>{note}'),
        ]
    )


def _moves(task: PlanTask) -> str:
    """The buttons of a card. What a step of the machine has come to, its runs tell."""
    if task.step is not None:
        return ""
    state = state_of(task)
    known = f'<form method="post" action="/do/task"><input type="hidden" name="task" value="{escape(task.id)}">'
    about = escape(task.title)
    buttons = "".join(
        f'<button class="plain" name="action" value="{action}" aria-label="{words}: {about}">{words}</button>'
        for action, words in _MOVES[state]
    )
    if state in ("done", "blocked"):
        return f"{known}{buttons}</form>"
    label, ask = say("What it waits for", "在等什么"), say("Blocked", "受阻")
    block = (
        f"<details><summary>{ask}</summary>{known}"
        f'<input type="hidden" name="action" value="block">'
        f'<input name="because" required aria-label="{label}: {about}" placeholder="{label}">'
        f"<button>{say('Note it', '记录')}</button></form></details>"
    )
    return f"{known}{buttons}</form>{block}"


def data(venture: Venture, _query: Mapping[str, str]) -> dict[str, Any] | None:
    """The same as figures; null without a plan."""
    return look(venture, who=None).to_json() if venture.plan_path.exists() else None


VIEW = View("execution", "execution", Words("Plan", "计划"), body, data)
