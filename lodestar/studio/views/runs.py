"""The runs: every attempt that the ledger knows, page by page, and the curves of trainings beside each other, while they go on, too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ...contracts.language import Words, say
from ...contracts.score import Score
from ...store.lock import holder
from ...venture.page import next_step, section, table
from ...venture.plan_records import seconds_of
from ...venture.training import COLORS, Course, axis, loss_picture, rate_picture, read_course, thinned
from ...venture.venture import Venture
from ...venture.words import figure, length_words, unit_words
from ..view import View

if TYPE_CHECKING:
    from ...store.ledger import Run

PAGE = 50
"""Attempts on a page."""
SHOWN = "show."
"""In the address, before the id of a training that is drawn."""
MOST_CURVES = len(COLORS)
FORM = "choose"
"""The id of the form that chooses what is shown."""
_STATES = {
    "started": Words("cut off", "已中断"),
    "going on": Words("going on", "进行中"),
    "finished": Words("finished", "已完成"),
    "failed": Words("failed", "失败"),
}
_STEPS = {
    "prepare": Words("prepare", "准备"),
    "train": Words("train", "训练"),
    "evaluate": Words("evaluate", "评测"),
    "pilot": Words("pilot", "试跑"),
}


@dataclass(frozen=True)
class _Asked:
    """What the address asks for."""

    step: str
    """One of `_STEPS`; empty for all."""
    before: int | None
    """The attempt that those shown are older than; None for the newest."""
    along: str
    chosen: tuple[str, ...]
    """The ids of trainings."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> _Asked:
        step, before = query.get("step", ""), query.get("before", "")
        # An id is a part of a path below.
        chosen = tuple(key.removeprefix(SHOWN) for key in query if re.fullmatch(rf"{re.escape(SHOWN)}[\w-]+", key))
        number = int(before) if before.isdecimal() and len(before) < 10 else None
        along = "time" if query.get("x") == "time" else "tokens"
        return cls(step if step in _STEPS else "", number, along, chosen[:MOST_CURVES])

    def address(self, before: int | None) -> str:
        """The same page with other attempts."""
        fields = {"step": self.step, "before": before, "x": self.along}
        kept = {name: value for name, value in fields.items() if value not in ("", None, "tokens")}
        return "?" + urlencode({**kept, **{SHOWN + id: "on" for id in self.chosen}})


@dataclass(frozen=True)
class _Seen:
    """What there is to show."""

    asked: _Asked
    runs: Sequence[Run]
    count: int
    """Of all attempts at the step, or at any."""
    going_on: int | None
    """The number of the attempt that goes on."""
    courses: Mapping[str, Course]
    """A training's id → its course."""


def body(venture: Venture, query: Mapping[str, str]) -> str:
    """The curves of the chosen trainings, and a page of the attempts."""
    seen = _look(venture, query)
    heading = f"<h1>{say('The runs', '运行')}</h1>"
    if not seen.count and not seen.asked.step:
        why = say(
            "prepares the data, trains the model and evaluates it: each attempt stands here then",
            "准备数据、训练并评测模型，每次运行都会列在这里",
        )
        return heading + next_step("lodestar run", why)
    return "".join(
        [
            heading,
            _controls(seen),
            section(say("Curves", "曲线"), f'<div id="curves" data-live>{_curves(seen)}</div>'),
            section(
                say("Attempts", "运行记录"),
                f'<div id="attempts" data-live>{_pages(seen)}{_attempts(venture, seen)}{_pages(seen) if seen.count > PAGE else ""}</div>',
            ),
        ]
    )


def data(venture: Venture, query: Mapping[str, str]) -> dict[str, Any]:
    """The same as figures."""
    seen = _look(venture, query)

    def curve(course: Course) -> dict[str, Any]:
        points = thinned([(each.tokens, each.value) for each in course.loss])
        return {
            "loss": points,
            "shown": len(points),
            "of": len(course.loss),
            "validation": [(each.tokens, each.value) for each in course.validation],
            "learning_rate": thinned([(each.tokens, each.value) for each in course.rate]),
            "seconds": course.rate[-1].seconds if course.rate else 0.0,
            "rewinds": course.rewinds,
        }

    return {
        "count": seen.count,
        "going_on": seen.going_on,
        "runs": [
            {
                "attempt": run.attempt, "step": run.step, "id": run.id, "state": _state(run, seen), "started": run.started,
                "finished": run.finished, "seconds": seconds_of(run), "why": run.why,
            }
            for run in seen.runs
        ],
        "curves": {id: curve(course) for id, course in seen.courses.items()},
    }  # fmt: skip


def _look(venture: Venture, query: Mapping[str, str]) -> _Seen:
    asked, ledger = _Asked.of(query), venture.ledger
    step = asked.step or None
    runs = ledger.last_runs(PAGE, step=step, before=asked.before)
    counts = {name: sum(by_status.values()) for name, by_status in ledger.run_counts().items()}
    newest = next(iter(ledger.last_runs(1)), None)
    at_work = newest is not None and newest.status == "started" and holder(venture.state) is not None
    chosen = asked.chosen or tuple(run.id for run in ledger.last_runs(1, step="train"))
    found = {id: course for id in chosen if (course := read_course(venture.run_folder("train", id))) is not None}
    count = sum(counts.values()) if step is None else counts.get(step, 0)
    return _Seen(asked, runs, count, newest.attempt if newest is not None and at_work else None, found)


def _state(run: Run, seen: _Seen) -> str:
    return "going on" if run.attempt == seen.going_on else run.status


def _controls(seen: _Seen) -> str:
    """What is drawn, and of which step the attempts are; the boxes in the list belong to this form, too."""
    here = {run.id for run in seen.runs if run.step == "train"}
    kept = "".join(f'<input type="hidden" name="{SHOWN}{escape(id)}" value="on">' for id in seen.asked.chosen if id not in here)
    steps = [("", say("every step", "所有步骤")), *((name, str(words)) for name, words in _STEPS.items())]
    along = [("tokens", say("tokens", "词元")), ("time", say("time", "时间"))]
    return (
        f'<form class="choices" id="{FORM}" method="get">{kept}{_choice("step", say("Attempts at", "步骤"), steps, seen.asked.step)}'
        f"{_choice('x', say('Curves against', '曲线横轴'), along, seen.asked.along)}<button>{say('Show', '显示')}</button></form>"
    )


def _choice(name: str, label: str, choices: Sequence[tuple[str, str]], chosen: str) -> str:
    options = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{escape(words)}</option>' for value, words in choices
    )  # fmt: skip
    return f'<label>{label} <select name="{name}">{options}</select></label>'


def _curves(seen: _Seen) -> str:
    if not seen.courses:
        told = say("No training has written anything yet, or none of those chosen has.", "所选训练还没有留下记录。")
        return f'<p class="legend">{told}</p>'
    named = list(seen.courses.items())
    along = axis(seen.asked.along, list(seen.courses.values()))
    notes = [_note(id, course) for id, course in named]
    more = say(
        "Check trainings in the list below, and press Show, to see them side by side.", "在下方列表勾选训练并点击“显示”，即可并排比较。"
    )
    pictures = f'<div class="columns">{loss_picture(named, along)}{rate_picture(named, along)}</div>'
    return pictures + "".join(f'<p class="legend">{escape(note)}</p>' for note in [*notes, more])


def _note(id: str, course: Course) -> str:
    """How much of a training the picture shows."""
    of, shown = len(course.loss), len(thinned([(each.step, each.value) for each in course.loss]))
    told = say(f"{id}: {shown:,} of {of:,} steps drawn", f"{id}：共 {of:,} 步，图中 {shown:,} 点")
    if shown < of:
        told += say(" (of each stretch the lowest and the highest)", "（每段取最低与最高）")
    if course.rewinds:
        told += say(
            f"; it went back {course.rewinds} times, and what was undone is left out", f"；曾回退 {course.rewinds} 次，已作废的步不计"
        )
    return told


def _attempts(venture: Venture, seen: _Seen) -> str:
    headings = [
        "", "#", say("Step", "步骤"), say("State", "状态"), say("Begun (UTC)", "开始（UTC）"), say("Took", "用时"),
        say("What came of it", "结果"), say("Peak memory", "内存峰值"),
    ]  # fmt: skip
    rows = [_row(venture, run, seen) for run in seen.runs]
    if not rows:
        return f'<p class="legend">{say("None on this page.", "本页没有记录。")}</p>'
    return f'<div class="wide">{table(headings, rows, ["", "short", "", "", "short", "figure", "", "figure"])}</div>'


def _row(venture: Venture, run: Run, seen: _Seen) -> list[str]:
    state = _state(run, seen)
    why = f'<div class="says">{escape(run.why)}</div>' if run.why else ""
    told = "kept" if state == "finished" else "missed" if state == "failed" else "waits"
    step = str(_STEPS.get(run.step, Words(run.step, run.step)))
    box = ""
    if run.step == "train":
        checked = " checked" if run.id in seen.courses else ""
        label = escape(f"{say('Draw', '绘制')} {run.id}")
        box = f'<input type="checkbox" form="{FORM}" name="{SHOWN}{escape(run.id)}" value="on" aria-label="{label}"{checked}>'
    record = run.record or {}
    memory = record.get("cost", {}).get("peak_memory_bytes")
    return [
        box, f"{run.attempt:,}", f'{escape(step)}<div class="says"><code>{escape(run.id)}</code></div>',
        f'<span class="{told}">{_STATES[state]}</span>{why}', escape(run.started.replace("T", " ").removesuffix("Z")),
        length_words(seconds_of(run)) if run.finished else "–", escape(_result(venture, run.step, record)),
        "–" if memory is None else figure(memory, "bytes"),
    ]  # fmt: skip


def _result(venture: Venture, step: str, record: Mapping[str, Any]) -> str:
    """The one thing that a finished attempt is remembered by."""
    facts = record.get("facts", {})
    if step == "train" and "steps" in facts:
        loss, validation = facts.get("loss"), facts.get("validation_loss")
        told = [say(f"{facts['tokens']:,} tokens", f"{facts['tokens']:,} 词元")]
        told += [] if loss is None else [say(f"loss {loss:.3f}", f"损失 {loss:.3f}")]
        told += [] if validation is None else [say(f"validation {validation:.3f}", f"验证 {validation:.3f}")]
        return say(", ", "，").join(told)
    if step == "prepare" and "splits" in facts:
        count = sum(split["records"] for split in facts["splits"].values())
        return say(f"{count:,} records", f"{count:,} 条记录")
    star = next((score for score in record.get("scores", []) if score["metric"] == venture.file.north_star), None)
    if star is None:
        return ""
    score = Score.parse(star, where="ledger")
    return f"{score.metric} {figure(score.value, unit_words(score.unit))} [{figure(score.low, '')}, {figure(score.high, '')}]"


def _pages(seen: _Seen) -> str:
    """Which attempts these are, and the way to the others."""
    shown = say(f"{len(seen.runs):,} of {seen.count:,}, the newest first", f"共 {seen.count:,} 项，此处 {len(seen.runs):,} 项，新者在前")
    links = []
    if seen.asked.before is not None:
        links.append(f'<a href="{escape(seen.asked.address(None))}">{say("the newest", "最新")}</a>')
    if len(seen.runs) == PAGE:
        links.append(f'<a href="{escape(seen.asked.address(seen.runs[-1].attempt))}">{say("older", "较早")}</a>')
    return f'<p class="pages">{shown} {" · ".join(links)}</p>'


VIEW = View("runs", "execution", Words("Runs", "运行"), body, data)
