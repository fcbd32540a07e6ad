"""The plan on a page: when it is done, a board, a Gantt chart with bands, what decides the finish, and how that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ..contracts.language import say
from .durations import likely_hours
from .gantt import gantt
from .page import SKY, bullets, document, section, table
from .plan import PlanTask
from .plan_words import STATES, chance_line, day, finish_lines, owner_word, state_of, told_from
from .words import length_words

if TYPE_CHECKING:
    from .execution import Execution

PLAN_PAGE = "plan.html"
Moves = Callable[[PlanTask], str]
"""A task → the buttons (HTML) that move its card."""


def plan_page(found: Execution) -> str:
    """The page as self-contained HTML, in the reader's language; what the team wrote stays as it was written."""
    kind = say("Plan", "执行计划")
    name = found.venture.file.name
    body = [f'<h1>{escape(name)}</h1><p class="audience">{escape(counted(found))}</p>', *plan_html(found)]
    closing = say("Dates are forecasts; the bands say how sure they are.", "日期均为预测，把握大小见区间。")
    return document(f"{name} · {kind}", kind, day(found.forecast.at), body, closing, sheet="plan.css")


def plan_html(found: Execution, moves: Moves = lambda _: "") -> list[str]:
    """The plan's sections (HTML)."""
    return [
        _finish(found),
        section(say("Board", "看板"), _board(found, moves)),
        section(say("Gantt chart", "甘特图"), gantt(found)),
        section(say("What decides the finish", "什么决定完成日期"), _deciding(found)),
        section(say("How this is known", "依据"), bullets(_known(found))),
    ]


def counted(found: Execution) -> str:
    """How many tasks are where."""
    counts = {state: sum(state_of(task) == state for task in found.plan.tasks) for state in STATES}
    return say(", ", "，").join(f"{STATES[state]} {count}" for state, count in counts.items() if count)


def _finish(found: Execution) -> str:
    forecast = found.forecast
    if not forecast.tasks:
        return f'<p class="next">{say("Every task is done.", "所有任务均已完成。")}</p>'
    beside = say(
        f"50% by {day(forecast.by(0.5))} · 95% by {day(forecast.by(0.95))}",
        f"50% 把握 {day(forecast.by(0.5))} · 95% 把握 {day(forecast.by(0.95))}",
    )
    chances = "<br>".join(escape(chance_line(*each)) for each in found.chances())
    return (
        f'<section class="star">{SKY}<span class="label">{say("Done, with 80% certainty, by", "80% 把握的完成日期")}</span>'
        f'<span class="value">{day(forecast.by(0.8))}<small>{escape(beside)}</small></span>'
        f'<span class="says">{chances}</span></section>'
    )


def _board(found: Execution, moves: Moves) -> str:
    hours = likely_hours(found.plan, found.known)
    lanes = []
    for state, words in STATES.items():
        tasks = [task for task in found.plan.tasks if state_of(task) == state]
        cards = "".join(_card(found, task, hours[task.id], moves(task)) for task in tasks)
        lanes.append(f'<div class="lane" data-state="{state}"><h3>{escape(str(words))} <b>{len(tasks)}</b></h3>{cards}</div>')
    return f'<div class="board">{"".join(lanes)}</div>'


def _card(found: Execution, task: PlanTask, hours: float, buttons: str) -> str:
    told = found.forecast.tasks.get(task.id)
    if told is not None:
        when = say(f"likely done {day(told.finish)}", f"预计 {day(told.finish)} 完成")
    else:
        when = task.finished[:10] if task.finished else ""
    why = f'<small class="why">{escape(task.blocked)}</small>' if state_of(task) == "blocked" and task.blocked else ""
    took = task.hours if task.state == "done" and task.hours is not None else None
    spent = length_words(3600 * (hours if took is None else took))
    effort = say(f"about {spent}", f"约 {spent}") if took is None else say(f"took {spent}", f"用时 {spent}")
    waits = [id for id in task.depends if found.plan.task(id).state != "done"] if task.state != "done" else []
    after = f"<small>{say('after', '先完成')} {escape(', '.join(waits))}</small>" if waits else ""
    under = " · ".join(escape(part) for part in (owner_word(task), effort, when) if part)
    return (
        f'<div class="card {task.kind} {state_of(task)}" data-task="{escape(task.id)}">{escape(task.title)}{why}'
        f"<small>{under}</small>{after}{buttons}</div>"
    )  # fmt: skip


def _deciding(found: Execution) -> str:
    """The tasks that most often set the finish."""
    told = sorted(found.forecast.tasks.items(), key=lambda item: -item[1].critical)[:8]
    hours = likely_hours(found.plan, found.known)
    chain = {task.id for task in found.chain}
    rows = []
    for id, each in told:
        task = found.plan.task(id)
        mark = f" <small>{say('critical path', '关键路径')}</small>" if id in chain else ""
        rows.append(
            [
                f"{escape(task.title)}{mark}", escape(owner_word(task)), f"{hours[id]:.3g}", escape(told_from(found.known[id])),
                f"{each.critical:.0%}",
            ]
        )  # fmt: skip
    headings = [
        say("Task", "任务"),
        say("Owner", "负责人"),
        say("Likely hours", "可能工时"),
        say("Known from", "依据"),
        say("Decides in", "决定工期"),
    ]
    return table(headings, rows, ["", "short", "figure", "short", "figure"]) if rows else ""


def _known(found: Execution) -> Sequence[str]:
    forecast = found.forecast
    said = say(
        f"{len(forecast.finish):,} simulated futures, seed {forecast.seed}: working hours, days off, one task at a time for each person, "
        "overruns shared by the whole team.",
        f"模拟 {len(forecast.finish):,} 次，种子 {forecast.seed}：计入工作时间与休假，每人同时只做一个任务，超时因素由全队共担。",
    )
    added, done = found.growth
    grown = say(
        f"{added} tasks came in after the work had begun, while {done} were finished.", f"开工后新增任务 {added} 个，同期完成 {done} 个。"
    )
    return [*finish_lines(found)[1:], grown, said]
