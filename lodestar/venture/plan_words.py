"""A plan's facts in words, alike in the terminal, on the page and in the week's update."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from ..contracts.language import Words, say
from ..contracts.score import Target
from .durations import Duration
from .plan import PlanTask
from .schedule import BANDS

if TYPE_CHECKING:
    from .execution import Execution

SOURCES = {
    "estimated": Words("estimate", "估计"),
    "measured": Words("measured", "实测"),
    "quoted": Words("quoted", "引用"),
    "predicted": Words("look ahead", "预检"),
    "like the others": Words("as the others", "参照其余任务"),
    "assumed": Words("assumed", "假定"),
}
STATES = {
    "open": Words("to do", "待办"),
    "started": Words("under way", "进行中"),
    "blocked": Words("blocked", "受阻"),
    "done": Words("done", "已完成"),
}


def state_of(task: PlanTask) -> str:
    """A task's column on the board."""
    return "blocked" if task.blocked and task.state != "done" else task.state


def state_word(task: PlanTask) -> str:
    return str(STATES[state_of(task)])


def owner_word(task: PlanTask) -> str:
    return say("machine", "机器") if task.kind == "machine" else task.owner


def told_from(duration: Duration) -> str:
    """Where a duration is known from."""
    source = SOURCES[duration.source]
    if duration.decision is None:
        return str(source)
    return say(f"decision {duration.decision} ({source.en})", f"决策 {duration.decision}（{source.zh}）")


def day(moment: datetime | date) -> str:
    """A date, as both languages write it."""
    return f"{moment:%Y-%m-%d}"


def finish_lines(found: Execution) -> list[str]:
    """When all is done, in sentences."""
    forecast = found.forecast
    if not forecast.tasks:
        return [say("Every task is done.", "所有任务均已完成。")]
    sure = [(f"{share:.0%}", day(forecast.by(share))) for share in BANDS]
    bands = [(f"{band.level:.0%}", day(band.low), day(band.high)) for band in forecast.bands()]
    low, middle, high = forecast.overrun
    lines = [
        say("Finish: ", "完成：") + say("; ", "；").join(say(f"{share} sure by {by}", f"{share} 把握在 {by} 前") for share, by in sure),
        say("Bands: ", "区间：")
        + say("; ", "；").join(say(f"{level} within {a} and {b}", f"{level} 落在 {a} 至 {b}") for level, a, b in bands),
        say(
            f"This team takes {middle:.2f} times what it estimates (80%: {low:.2f} to {high:.2f}), learnt from {forecast.learnt_from} "
            f"finished tasks; {forecast.found[1]:.2f} tasks turn up for each one done.",
            f"团队实际用时约为估计的 {middle:.2f} 倍（80% 区间 {low:.2f}–{high:.2f}），据 {forecast.learnt_from} 个已完成任务；"
            f"每完成一个任务约冒出 {forecast.found[1]:.2f} 个新任务。",
        ),
    ]
    if found.throughput is not None:
        by = [(f"{share:.0%}", day(found.throughput.by(share))) for share in BANDS]
        weeks = len(found.throughput.weeks)
        lines.append(
            say(f"By the pace of the past {weeks} weeks alone: ", f"仅按过去 {weeks} 周的速度：")
            + say("; ", "；").join(say(f"{share} sure by {when}", f"{share} 把握在 {when} 前") for share, when in by)
        )
    if any(task.blocked and task.state != "done" for task in found.plan.tasks):
        lines.append(say("What is blocked is forecast as if it were freed today.", "受阻的任务按今天即可解除来预测。"))
    return lines


def chance_line(target: Target, due: date, chance: float) -> str:
    """How likely a promise's date is kept."""
    return say(
        f"Done by {day(due)}, the date of the target on {target.metric}: {chance:.0%} likely",
        f"在 {day(due)}（目标 {target.metric} 的期限）前完成的可能性：{chance:.0%}",
    )
