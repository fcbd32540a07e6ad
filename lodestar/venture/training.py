"""The course of a training, read from the journal that it writes as it goes: while it is written, and thinned for a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..contracts.language import say
from ..contracts.smoothing import smooth
from .charts import BLUE, Chart, Point, framed

JOURNAL_FILE = "metrics.jsonl"
"""In a training's folder; train/journal.py writes it."""
MOST_POINTS = 400
"""Of a line in a picture: more than a screen has columns for."""
COLORS = (BLUE, "#c8501e", "#1d7a55", "#8a4fbf", "#a8780f", "#0f7f8f")
"""Of several trainings in one picture, told apart by most who see colours otherwise."""


@dataclass(frozen=True)
class At:
    """One moment of a training."""

    step: int
    tokens: int
    seconds: float
    """Of training, as told by the speed of each step: pauses to evaluate and to save are not in it."""
    value: float


@dataclass(frozen=True)
class Course:
    """What was measured, in the order of the steps; of steps that were taken again, the last time."""

    loss: Sequence[At]
    validation: Sequence[At]
    rate: Sequence[At]
    """The learning rate."""
    rewinds: int
    """How often it went back to a checkpoint."""


def read_course(folder: Path) -> Course | None:
    """The course of the training in `folder`; None where it has not begun."""
    path = folder / JOURNAL_FILE
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return _read(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=32)
def _read(path: Path, _size: int, _changed: int) -> Course:
    loss, validation, rate = list[At](), list[At](), list[At]()
    rewinds, tokens, seconds = 0, 0, 0.0
    for row in _rows(path):
        step = int(row["step"])
        if "rewind" in row:
            # What stands behind this step was undone; the time that it took was spent.
            rewinds += 1
            for series in (loss, validation, rate):
                while series and series[-1].step > step:
                    series.pop()
            continue
        if "validation_loss" in row:
            validation.append(At(step, int(row["tokens"]), seconds, float(row["validation_loss"])))
            continue
        if row.get("tokens_per_second"):
            seconds += (int(row["tokens"]) - tokens) / row["tokens_per_second"]
        tokens = int(row["tokens"])
        # A loss that was no number stands there as null: the line has a gap.
        if row.get("loss") is not None:
            loss.append(At(step, tokens, seconds, float(row["loss"])))
        rate.append(At(step, tokens, seconds, float(row["learning_rate"])))
    return Course(loss, validation, rate, rewinds)


def _rows(path: Path) -> list[dict[str, Any]]:
    """Every whole line: the last one may be half written."""
    rows = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` of them: the first, the last, and of each stretch between the lowest and the highest, so that no spike is lost."""
    if len(points) <= most:
        return list(points)
    inner, stretches = points[1:-1], (most - 2) // 2
    kept = [points[0]]
    for number in range(stretches):
        stretch = inner[number * len(inner) // stretches : (number + 1) * len(inner) // stretches]
        places = {choose(range(len(stretch)), key=lambda place: stretch[place][1]) for choose in (min, max)}
        kept += [stretch[place] for place in sorted(places)]
    return [*kept, points[-1]]


@dataclass(frozen=True)
class Axis:
    """What trainings are drawn against."""

    name: str
    """tokens, or time."""
    words: str
    unit: float = 1.0
    """Of `seconds`, that the axis counts in."""

    def points(self, moments: Sequence[At]) -> list[Point]:
        if self.name == "tokens":
            return [(each.tokens, each.value) for each in moments]
        return [(each.seconds / self.unit, each.value) for each in moments]


def axis(name: str, courses: Sequence[Course]) -> Axis:
    """The axis of that name, in a unit that gives short numbers."""
    if name != "time":
        return Axis("tokens", say("tokens trained on", "已训练词元"))
    most = max((each.rate[-1].seconds for each in courses if each.rate), default=0.0)
    unit, words = (3600, say("hours", "小时")) if most > 7200 else (60, say("minutes", "分钟")) if most > 120 else (1, say("seconds", "秒"))
    return Axis("time", say(f"{words} of training, pauses left out", f"训练用时（{words}），不含停顿"), unit)


def loss_picture(courses: Sequence[tuple[str, Course]], along: Axis) -> str:
    """The loss in training, each step (pale) and smoothed, and on validation (dashed), as a figure; nothing before the first step."""
    title = say("Loss: each step (pale), smoothed (line), validation (dashed)", "损失：每步（浅）、平滑（实线）、验证（虚线）")
    drawn = []
    for (name, course), color in zip(courses, COLORS, strict=False):
        points = along.points(course.loss)
        smoothed = list(zip((x for x, _ in points), smooth([y for _, y in points]), strict=True))
        drawn.append((name, color, thinned(points), thinned(smoothed), along.points(course.validation)))
    chart = _chart(title, along.words, say("loss (nats)", "损失（纳特）"), [points for _, _, *series in drawn for points in series])
    if chart is None:
        return ""
    told = []
    for name, color, points, smoothed, validation in drawn:
        chart.line(points, style="faint", color=color)
        chart.line(smoothed, color=color)
        chart.line(validation, style="dotted", color=color)
        for x, y in validation:
            chart.point(x, y, size=2.5, color=color, label=f"{name}: {y:.4g}")
        ends = [
            f"{words} {series[-1][1]:.4g}"
            for words, series in ((say("training", "训练"), smoothed), (say("validation", "验证"), validation))
            if series
        ]
        told.append(f"{name}: {', '.join(ends)}")
    chart.key([(color, name) for name, color, *_ in drawn])
    chart.told = "; ".join(told)
    return framed(chart.svg(), title)


def rate_picture(courses: Sequence[tuple[str, Course]], along: Axis) -> str:
    """The learning rate, as a figure; nothing before the first step."""
    title = say("Learning rate", "学习率")
    drawn = [(name, color, thinned(along.points(course.rate))) for (name, course), color in zip(courses, COLORS, strict=False)]
    chart = _chart(title, along.words, say("learning rate", "学习率"), [points for _, _, points in drawn])
    if chart is None:
        return ""
    for _, color, points in drawn:
        chart.line(points, color=color)
    chart.key([(color, name) for name, color, _ in drawn])
    chart.told = "; ".join(f"{name}: {points[-1][1]:.3g}" for name, _, points in drawn if points)
    return framed(chart.svg(), title)


def _chart(title: str, x: str, y: str, series: Sequence[Sequence[Point]]) -> Chart | None:
    points = [point for each in series for point in each]
    if not points:
        return None
    (low, high), most = (choose(value for _, value in points) for choose in (min, max)), max(place for place, _ in points)
    room = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    floor = max(0.0, low - room) if low >= 0 else low - room
    return Chart(title=title, x=x, y=y, x_range=(0.0, most or 1.0), y_range=(floor, high + room))
