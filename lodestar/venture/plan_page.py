"""The plan on a page: when it is done, a board, a Gantt chart with bands, what decides the finish, and how that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

from ..contracts.language import say
from .durations import likely_hours
from .page import SKY, bullets, document, section, table
from .plan import PlanTask, beginning_of, end_of
from .plan_words import STATES, chance_line, day, finish_lines, state_of, told_from

if TYPE_CHECKING:
    from .execution import Execution

PLAN_PAGE = "plan.html"
_TICK_DAYS = (1, 2, 7, 14, 28, 56, 91, 182, 364, 728, 1820, 3640)
_TICKS = 6
"""At most so many dates along the axis: more run into each other on a phone."""


def plan_page(found: Execution) -> str:
    """The page as self-contained HTML, in the reader's language; what the team wrote stays as it was written."""
    kind = say("Plan", "执行计划")
    name = found.venture.file.name
    body = [
        f'<h1>{escape(name)}</h1><p class="audience">{escape(_counted(found))}</p>',
        _finish(found),
        section(say("Board", "看板"), _board(found)),
        section(say("Gantt chart", "甘特图"), _gantt(found)),
        section(say("What decides the finish", "什么决定完成日期"), _deciding(found)),
        section(say("How this is known", "依据"), bullets(_known(found))),
    ]
    closing = say("Dates are forecasts; the bands say how sure they are.", "日期均为预测，把握大小见区间。")
    return document(f"{name} · {kind}", kind, day(found.forecast.at), body, closing, sheet="plan.css")


def _counted(found: Execution) -> str:
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


def _board(found: Execution) -> str:
    lanes = []
    for state, words in STATES.items():
        tasks = [task for task in found.plan.tasks if state_of(task) == state]
        cards = "".join(_card(found, task) for task in tasks)
        lanes.append(f'<div class="lane"><h3>{escape(str(words))} <b>{len(tasks)}</b></h3>{cards}</div>')
    return f'<div class="board">{"".join(lanes)}</div>'


def _card(found: Execution, task: PlanTask) -> str:
    told = found.forecast.tasks.get(task.id)
    if told is not None:
        when = say(f"likely done {day(told.finish)}", f"预计 {day(told.finish)} 完成")
    else:
        when = task.finished[:10] if task.finished else ""
    why = f'<small class="why">{escape(task.blocked)}</small>' if state_of(task) == "blocked" and task.blocked else ""
    under = " · ".join(escape(part) for part in (_owner(task), when) if part)
    return f'<div class="card {task.kind} {state_of(task)}">{escape(task.title)}{why}<small>{under}</small></div>'


def _owner(task: PlanTask) -> str:
    return say("machine", "机器") if task.kind == "machine" else task.owner


# The Gantt chart


@dataclass(frozen=True)
class _Scale:
    """Times as percents of the chart's width."""

    first: datetime
    last: datetime

    def at(self, moment: datetime) -> float:
        """Between 0 and 100; what lies outside is at the edge."""
        share = (moment - self.first) / (self.last - self.first)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def bar(self, style: str, begin: datetime, end: datetime) -> str:
        left, right = self.at(begin), self.at(end)
        return f'<i class="{style}" style="left:{left}%;width:{right - left:.2f}%"></i>'

    def rule(self, moment: datetime, style: str = "") -> str:
        return f'<i class="rule {style}" style="left:{self.at(moment)}%"></i>'

    def ticks(self) -> str:
        """Round steps from the first midnight on."""
        days = (self.last - self.first) / timedelta(days=1)
        step = next((step for step in _TICK_DAYS if days / step <= _TICKS), _TICK_DAYS[-1])
        dates = [self.first + timedelta(days=step * number) for number in range(int(days / step) + 1)]
        shown = "%Y-%m" if step > 182 else "%m-%d"
        # What stands at the very end would be cut off.
        marks = [f'<span style="left:{self.at(date)}%">{date:{shown}}</span>' for date in dates if self.at(date) <= 90]
        return "".join(marks)


def _gantt(found: Execution) -> str:
    forecast = found.forecast
    spans = [(task, _span(found, task)) for task in found.plan.tasks]
    known = [(task, span) for task, span in spans if span is not None]
    if not known:
        return ""
    ends = [span[2] for _, span in known] + ([forecast.bands()[1].high] if forecast.tasks else [])
    first = datetime.combine(min(span[0] for _, span in known).date(), datetime.min.time())
    scale = _Scale(first, max(*ends, first + timedelta(days=1)))
    due = "".join(scale.rule(datetime.combine(date, datetime.min.time()) + timedelta(days=1), "due") for _, date, _ in found.chances())
    today = scale.rule(forecast.at)
    rows = [f'<div class="row axis"><div class="name"></div><div class="track">{scale.ticks()}</div></div>']
    for task, (begin, middle, end) in known:
        style = {"done": "done", "blocked": "blocked"}.get(state_of(task), task.kind)
        bars = scale.bar(f"bar {style}", begin, middle) + (scale.bar(f"band {style}", middle, end) if end > middle else "")
        name = f"{escape(task.title)}<small>{escape(_owner(task))}</small>"
        rows.append(f'<div class="row"><div class="name">{name}</div><div class="track">{today}{due}{bars}</div></div>')
    if forecast.tasks:
        bands = "".join(scale.bar(f"p{band.level:.0%}".rstrip("%"), band.low, band.high) for band in reversed(forecast.bands()))
        name = say("All done", "全部完成")
        rows.append(f'<div class="row finish"><div class="name">{name}</div><div class="track">{today}{due}{bands}</div></div>')
    return f'<div class="gantt">{"".join(rows)}</div>{_legend()}'


def _span(found: Execution, task: PlanTask) -> tuple[datetime, datetime, datetime] | None:
    """When a task begins, when it ends in the median, and when it has ended in 80% of the draws; None where nobody noted it."""
    told = found.forecast.tasks.get(task.id)
    if told is not None:
        return (beginning_of(task.started) if task.started else told.start), told.finish, told.sure
    if task.finished is None:
        return None
    end = end_of(task.finished)
    return (beginning_of(task.started) if task.started else end - timedelta(days=1)), end, end


def _legend() -> str:
    keys = [
        ("", say("people", "人")), ("machine", say("machine", "机器")), ("done", say("done", "已完成")),
        ("blocked", say("blocked", "受阻")), ("band", say("until 80% sure to be done", "至 80% 把握完成")),
    ]  # fmt: skip
    shown = "".join(f'<span class="key {style}"></span>{escape(words)}' for style, words in keys)
    last = say("All done: 50, 80 and 95% bands · ┆ now · gold: a target's date", "全部完成：50%、80%、95% 区间 · ┆ 现在 · 金线：目标期限")
    return f'<p class="legend">{shown}<br>{escape(last)}</p>'


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
                f"{escape(task.title)}{mark}", escape(_owner(task)), f"{hours[id]:.3g}", escape(told_from(found.known[id])),
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
