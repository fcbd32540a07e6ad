"""What was served, over time: requests and latencies by the minute, the hour, the day or the week, whichever gives a picture."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..contracts.language import Words, say
from .charts import BAD, BLUE, GOLD, INK, RULE, framed, picture, text, tick_label, ticks
from .words import figure

if TYPE_CHECKING:
    from ..store.ledger import Request

WIDTH, HEIGHT = 460.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 10.0, 26.0, 24.0
MOST = 60
"""Periods in a picture: more are no wider than a line on a phone."""
DATES = 4
"""Under the axis: more run into each other."""
_LENGTHS = (
    (timedelta(minutes=1), Words("minute", "分钟"), "%m-%d %H:%M"),
    (timedelta(hours=1), Words("hour", "小时"), "%m-%d %H:%M"),
    (timedelta(days=1), Words("day", "日"), "%m-%d"),
    (timedelta(weeks=1), Words("week", "周"), "%Y-%m-%d"),
    (timedelta(weeks=4), Words("four weeks", "四周"), "%Y-%m-%d"),
    (timedelta(weeks=52), Words("year", "年"), "%Y-%m"),
)


@dataclass(frozen=True)
class Period:
    """What was served in one."""

    start: datetime
    answered: int
    failed: int
    p50: float
    """Of the latencies of what was answered, by nearest rank; NaN where nothing was."""
    p95: float


@dataclass(frozen=True)
class Course:
    """Period after period, those without a request included."""

    name: Words
    """What a period is."""
    date: str
    """How its beginning is written, for `strftime`."""
    periods: Sequence[Period]


def course(requests: Sequence[Request]) -> Course | None:
    """In the shortest periods of which there are not too many; None where all fall into one minute."""
    rows = [(datetime.fromisoformat(each.time).replace(tzinfo=None), each) for each in requests]
    if not rows:
        return None
    first, last = min(at for at, _ in rows), max(at for at, _ in rows)
    length, name, date = next(each for each in _LENGTHS if (last - first) / each[0] < MOST or each is _LENGTHS[-1])
    begin = first.replace(second=0, microsecond=0) if length < timedelta(days=1) else datetime.combine(first.date(), datetime.min.time())
    if length == timedelta(hours=1):
        begin = begin.replace(minute=0)
    served: dict[int, list[Request]] = defaultdict(list)
    for at, request in rows:
        served[(at - begin) // length].append(request)
    if max(served) == 0:
        return None
    return Course(name, date, [_period(begin + number * length, served[number]) for number in range(max(served) + 1)])


def use_html(requests: Sequence[Request]) -> str:
    """The pictures (HTML); nothing where there is no course of time to show."""
    found = course(requests)
    return "" if found is None else f'<div class="columns">{_asked(found)}{_waited(found)}</div>'


def _period(start: datetime, requests: Sequence[Request]) -> Period:
    latencies = sorted(each.latency_ms for each in requests if each.status < 400)

    def rank(share: float) -> float:
        return latencies[math.ceil(share * len(latencies)) - 1] if latencies else math.nan

    return Period(start, len(latencies), len(requests) - len(latencies), rank(0.5), rank(0.95))


def _asked(found: Course) -> str:
    title = say(f"Requests by the {found.name}: answered (blue) and failed (red)", f"每{found.name}请求数：成功（蓝）与失败（红）")
    most = max(each.answered + each.failed for each in found.periods)
    y = _up_to(most)
    wide = (WIDTH - LEFT - RIGHT) / len(found.periods)
    parts = _axes(found, most, y, say("requests", "请求"))
    for number, each in enumerate(found.periods):
        x, low = LEFT + number * wide, 0
        for count, color in ((each.answered, BLUE), (each.failed, BAD)):
            if count:
                top, bottom = y(low + count), y(low)
                place = f'x="{x + wide * 0.1:.1f}" width="{wide * 0.8:.1f}" y="{top:.1f}" height="{bottom - top:.1f}"'
                parts.append(f'<rect {place} fill="{color}"><title>{each.start:{found.date}}: {count:,}</title></rect>')
                low += count
    told = [f"{each.start:{found.date}}: {each.answered:,} + {each.failed:,}" for each in found.periods if each.answered or each.failed]
    return framed(picture(WIDTH, HEIGHT, title, parts, told="; ".join(told)), title)


def _waited(found: Course) -> str:
    known = [each for each in found.periods if not math.isnan(each.p95)]
    if not known:
        return ""
    title = say(
        f"Latency by the {found.name}: half below (blue), 95 of 100 below (gold)", f"每{found.name}延迟：中位数（蓝）与 95 分位（金）"
    )
    most = max(each.p95 for each in known)
    y = _up_to(most)
    wide = (WIDTH - LEFT - RIGHT) / len(found.periods)
    parts = _axes(found, most, y, "ms")
    for read, color in ((lambda each: each.p95, GOLD), (lambda each: each.p50, BLUE)):
        places = [
            (LEFT + (number + 0.5) * wide, y(read(each))) for number, each in enumerate(found.periods) if not math.isnan(each.p95)
        ]  # fmt: skip
        path = " ".join(f"{x:.1f},{height:.1f}" for x, height in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{height:.1f}" r="2.5" fill="{color}"/>' for x, height in places]
    told = [f"{each.start:{found.date}}: {figure(each.p50, 'ms')}, {figure(each.p95, 'ms')}" for each in known]
    return framed(picture(WIDTH, HEIGHT, title, parts, told="; ".join(told)), title)


def _up_to(most: float) -> Callable[[float], float]:
    return lambda value: HEIGHT - BOTTOM - value / (most or 1.0) * (HEIGHT - TOP - BOTTOM)


def _axes(found: Course, most: float, y: Callable[[float], float], name: str) -> list[str]:
    parts = [text(LEFT, 14, name, color=INK)]
    for at in ticks(0, most or 1.0):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(at):.1f}" y2="{y(at):.1f}" stroke="{RULE}"/>')
        parts.append(text(LEFT - 6, y(at) + 4, tick_label(at), anchor="end"))
    wide = (WIDTH - LEFT - RIGHT) / len(found.periods)
    step = math.ceil(len(found.periods) / DATES)
    for number in range(0, len(found.periods), step):
        x = LEFT + number * wide
        parts.append(text(x, HEIGHT - 8, f"{found.periods[number].start:{found.date}}"))
    return parts
