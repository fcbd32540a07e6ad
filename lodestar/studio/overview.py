"""The first view: where the venture stands, what to do next, who is at work, and what happened last."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..contracts.language import Words, say
from ..store.ledger import Run
from ..venture.page import SKY, section, table
from ..venture.plan_records import seconds_of
from ..venture.status import STAGE_TITLES, Status
from ..venture.venture import Venture
from .access import Person
from .flow import MARK_WORDS, marks
from .running import last_said

LAST_RUNS = 8
RUN_STATES = {"started": Words("begun", "已开始"), "finished": Words("finished", "已完成"), "failed": Words("failed", "失败")}
STEP_WORDS = {"prepare": Words("prepare", "准备"), "train": Words("train", "训练"), "evaluate": Words("evaluate", "评测")}


def overview(venture: Venture, status: Status, person: Person, forms: str) -> str:
    """The body of the page; `forms` are those that stand on it."""
    file = venture.file
    return "".join(
        [
            f'<h1>{escape(file.name)}</h1><p class="statement">{escape(file.statement)}</p>',
            _local(person),
            _next(status),
            _at_work(venture, status),
            forms,
            section(say("The five stages", "五个阶段"), _stages(status)),
            section(say("What ran last", "最近的运行"), _runs(venture.ledger.last_runs(LAST_RUNS))),
        ]
    )


def _local(person: Person) -> str:
    if not person.local:
        return ""
    told = say(
        "Only this machine reaches this page, and nobody has to log in: whoever sits here is the founder. Add users to work together.",
        "本页仅限本机访问，无需登录：使用本机者即为创始人。多人协作请先添加用户。",
    )
    return f'<p class="legend">{escape(told)} <a href="/people">{say("Add users", "添加用户")}</a></p>'


def _next(status: Status) -> str:
    return (
        f'<section class="star" id="next" data-live>{SKY}<span class="label">{say("Next", "下一步")}</span>'
        f'<span class="value"><code>{escape(status.next.command)}</code></span>'
        f'<span class="says">{escape(str(status.next.why))}</span></section>'
    )


def _at_work(venture: Venture, status: Status) -> str:
    """Who is at work, and what the last run from here has said."""
    said = last_said(venture)
    inner = f'<p class="at-work">{escape(status.running)}</p>' if status.running else ""
    inner += f'<pre class="said-last" tabindex="0">{escape(said)}</pre>' if said else ""
    heading = say("At work", "正在运行") if status.running else say("The last run from here", "上次从此处开始的运行")
    return f'<div id="at-work" data-live>{section(heading, inner)}</div>'


def _stages(status: Status) -> str:
    drawn = marks(status)
    rows = []
    for stage in status.stages:
        title = f'<a href="/{stage.name}">{escape(str(STAGE_TITLES[stage.name]))}</a>'
        state = next(mark for name, mark in drawn.items() if name == stage.name)
        rows.append([title, f'<span class="mark-{state}">{escape(str(MARK_WORDS[state]))}</span>', escape(str(stage.words))])
    headings = [say("Stage", "阶段"), say("State", "状态"), say("Where it stands", "进展")]
    return f'<div id="stages" data-live>{table(headings, rows, ["stage", "short", ""])}</div>'


def _runs(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    rows = []
    for run in runs:
        state = str(RUN_STATES[run.status]) + (f": {run.why}" if run.why else "")
        took = _span(seconds_of(run)) if run.finished else ""
        step, begun = str(STEP_WORDS.get(run.step, run.step)), run.started[:16].replace("T", " ")
        rows.append([f"<code>{escape(run.id[:12])}</code>", escape(step), begun, took, escape(state)])
    headings = [say("Run", "运行"), say("Step", "步骤"), say("Begun (UTC)", "开始（UTC）"), say("Took", "用时"), say("State", "状态")]
    return f'<div id="last-runs" data-live>{table(headings, rows, ["", "short", "short", "short", ""])}</div>'


def _span(seconds: float) -> str:
    if seconds < 90:
        return say(f"{seconds:.0f} s", f"{seconds:.0f} 秒")
    if seconds < 5400:
        return say(f"{seconds / 60:.0f} min", f"{seconds / 60:.0f} 分钟")
    return say(f"{seconds / 3600:.1f} h", f"{seconds / 3600:.1f} 小时")
