"""The Gantt chart of a plan: as wide as there is room, so that it fits a phone as well as a sheet of paper.

Each task has its name above its bar. The bar is the median of the draws; the paler end reaches to when 80% of them have it done.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

from ..contracts.language import say
from .charts import BAD, GOLD, INK, RULE, SOFT, fluid_picture, framed, text
from .plan import PlanTask, beginning_of, end_of
from .plan_words import day, owner_word, state_of

if TYPE_CHECKING:
    from .execution import Execution
    from .schedule import Band

PEOPLE, DONE = "#2b4a8f", "#8fb8a5"
ROW, TOP = 36.0, 24.0
LONGEST = 44
"""Columns of a task's name that fit a phone; a Chinese character takes two."""
_TICK_DAYS = (1, 2, 7, 14, 28, 56, 91, 182, 364, 728, 1820, 3640)
_TICKS = 6
"""At most so many dates along the axis: more run into each other on a phone."""
_BANDS = {0.5: 0.75, 0.8: 0.35, 0.95: 0.2}
"""How opaque each band of the finish is."""

Bar = tuple[PlanTask, datetime, datetime, datetime]
"""A task; when it begins, when it ends in the median, and when it has ended in 80% of the draws."""


@dataclass(frozen=True)
class _Scale:
    """Times as percents of the chart's width."""

    first: datetime
    last: datetime

    def at(self, moment: datetime) -> float:
        """Between 0 and 100; what lies outside is at the edge."""
        share = (moment - self.first) / (self.last - self.first)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def bar(self, begin: datetime, end: datetime, y: float, height: float, color: str, opacity: float = 1.0) -> str:
        # What takes no time is still to be seen, at the edge, too.
        wide = max(0.4, self.at(end) - self.at(begin))
        left = min(self.at(begin), 100 - wide)
        return (
            f'<rect x="{left:.2f}%" width="{wide:.2f}%" y="{y:g}" height="{height:g}" rx="3" fill="{color}" fill-opacity="{opacity:g}"/>'
        )  # fmt: skip

    def rule(self, moment: datetime, height: float, title: str, *, due: bool = False) -> str:
        at = f'x1="{self.at(moment)}%" x2="{self.at(moment)}%" y1="{TOP - 6:g}" y2="{height:g}"'
        stroke = f'stroke="{GOLD}" stroke-width="2"' if due else f'stroke="{SOFT}" stroke-dasharray="4 3"'
        return f"<line {at} {stroke}><title>{escape(title)}</title></line>"

    def ticks(self, height: float) -> list[str]:
        """Round steps from the first midnight on."""
        days = (self.last - self.first) / timedelta(days=1)
        step = next((step for step in _TICK_DAYS if days / step <= _TICKS), _TICK_DAYS[-1])
        dates = [self.first + timedelta(days=step * number) for number in range(int(days / step) + 1)]
        shown = "%Y-%m" if step > 182 else "%m-%d"
        parts = []
        # What stands at the very end would be cut off.
        for date in (date for date in dates if self.at(date) <= 90):
            at = f"{self.at(date)}%"
            parts.append(f'<line x1="{at}" x2="{at}" y1="{TOP - 6:g}" y2="{height:g}" stroke="{RULE}"/>')
            parts.append(text(at, 12, f"{date:{shown}}", size=11))
        return parts


def gantt(found: Execution) -> str:
    """The chart with its legend (HTML); nothing where no task has a time."""
    bars = [bar for task in found.plan.tasks if (bar := _bar(found, task)) is not None]
    if not bars:
        return ""
    forecast, chain = found.forecast, {task.id for task in found.chain}
    bands = forecast.bands() if forecast.tasks else []
    ends = [end for *_, end in bars] + [band.high for band in bands]
    first = datetime.combine(min(begin for _, begin, _, _ in bars).date(), datetime.min.time())
    scale = _Scale(first, max(*ends, first + timedelta(days=1)))
    height = TOP + ROW * (len(bars) + bool(bands)) + 4
    parts = [*scale.ticks(height), *_rules(found, scale, height)]
    for number, bar in enumerate(bars):
        parts += _row(bar, TOP + ROW * number, scale, critical=bar[0].id in chain)
    if bands:
        parts += _finish(bands, TOP + ROW * len(bars), scale)
    title = say("Gantt chart: when each task is done, and when all are", "甘特图：各任务与整体的完成日期")
    told = [_told(bar, critical=bar[0].id in chain) for bar in bars] + [_band_words(band) for band in bands]
    return framed(fluid_picture(height, title, parts, told=say("; ", "；").join(told)), title) + _legend()


def _bar(found: Execution, task: PlanTask) -> Bar | None:
    """None where nobody noted when it was."""
    told = found.forecast.tasks.get(task.id)
    if told is not None:
        return task, (beginning_of(task.started) if task.started else told.start), told.finish, told.sure
    if task.finished is None:
        return None
    end = end_of(task.finished)
    return task, (beginning_of(task.started) if task.started else end - timedelta(days=1)), end, end


def _row(bar: Bar, y: float, scale: _Scale, *, critical: bool) -> list[str]:
    task, begin, middle, end = bar
    color = {"done": DONE, "blocked": BAD}.get(state_of(task), GOLD if task.kind == "machine" else PEOPLE)
    name = f"{'◆ ' if critical else ''}{_short(task.title)}"
    return [
        f"<g><title>{escape(_told(bar, critical=critical))}</title>",
        text(0, y + 12, name, color=INK, size=12, halo=True),
        text("100%", y + 12, owner_word(task), anchor="end", size=11, halo=True),
        scale.bar(begin, middle, y + 18, 10, color),
        scale.bar(middle, end, y + 18, 10, color, 0.3) if end > middle else "",
        "</g>",
    ]


def _finish(bands: Sequence[Band], y: float, scale: _Scale) -> list[str]:
    """The widest first, so that the narrower ones lie on it."""
    drawn = [scale.bar(band.low, band.high, y + 17, 14, PEOPLE, _BANDS[band.level]) for band in reversed(bands)]
    name = f'<g font-weight="600">{text(0, y + 12, say("All done", "全部完成"), color=INK, size=12, halo=True)}</g>'
    return [f"<g><title>{escape(say('; ', '；').join(map(_band_words, bands)))}</title>", name, *drawn, "</g>"]


def _rules(found: Execution, scale: _Scale, height: float) -> list[str]:
    """Now, and the ends of the days that targets are due on."""
    parts = [scale.rule(found.forecast.at, height, say("now", "现在"))]
    for target, due, _ in found.chances():
        end = datetime.combine(due, datetime.min.time()) + timedelta(days=1)
        parts.append(scale.rule(end, height, f"{target.metric}: {day(due)}", due=True))
    return parts


def _told(bar: Bar, *, critical: bool) -> str:
    task, begin, middle, end = bar
    mark = say(", critical path", "，关键路径") if critical else ""
    sure = say(f", 80% sure by {day(end)}", f"，80% 把握在 {day(end)} 前") if end > middle else ""
    return f"{task.title} ({owner_word(task)}{mark}): {day(begin)} – {day(middle)}{sure}"


def _band_words(band: Band) -> str:
    return say(
        f"all done, {band.level:.0%}: {day(band.low)} – {day(band.high)}", f"全部完成，{band.level:.0%}：{day(band.low)} – {day(band.high)}"
    )


def _short(title: str) -> str:
    """As much of a title as has room."""
    width = 0
    for place, character in enumerate(title):
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > LONGEST:
            return f"{title[:place].rstrip()}…"
    return title


def _legend() -> str:
    keys = [
        ("", say("people", "人")), ("machine", say("machine", "机器")), ("done", say("done", "已完成")),
        ("blocked", say("blocked", "受阻")), ("band", say("until 80% sure to be done", "至 80% 把握完成")),
    ]  # fmt: skip
    shown = "".join(f'<span class="key {style}"></span>{escape(words)}' for style, words in keys)
    last = say(
        "◆ critical path · all done: 50, 80 and 95% bands · ┆ now · gold line: a target's date",
        "◆ 关键路径 · 全部完成：50%、80%、95% 区间 · ┆ 现在 · 金线：目标期限",
    )
    return f'<p class="legend">{shown}<br>{escape(last)}</p>'
