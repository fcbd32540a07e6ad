"""Success: what was promised against what is, for the team and for whoever paid for it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.clock import now
from ..contracts.errors import UserError
from ..contracts.language import Words, say
from ..contracts.record import Scorecard
from ..contracts.score import Metric, Score
from .found import Found, read_findings, shown
from .page import SKY, bullets, document, section, table, tiles
from .plot import interval_plot, legend
from .product import Gate, Release, evaluated_runs, gates, read_scorecard, releases
from .status import Next, next_step
from .venture import Venture
from .words import figure, interval, threshold

if TYPE_CHECKING:
    from ..store.ledger import Usage

REPORT_FILE = "report.html"
PICTURES = ("scorecard.png", "loss.png")


@dataclass(frozen=True)
class Report:
    """What was promised against what is."""

    value: dict[str, Any]
    """For machines."""
    text: str
    """For the terminal."""
    html: str
    """For everybody else: self-contained, pictures included."""


@dataclass(frozen=True)
class _Facts:
    venture: Venture
    metrics: Mapping[str, Metric]
    release: Release | None
    """The newest one; None where only an evaluation exists."""
    scorecard: Scorecard
    held: list[Gate]
    history: list[Release]
    usage: Usage | None
    """Of the newest release; None where nothing was served."""
    pictures: list[Path]
    found: Found
    """What the evaluation found beyond its scores."""
    next: Next

    @property
    def baseline(self) -> dict[str, Score]:
        return {score.metric: score for score in self.scorecard.baseline}

    @property
    def subject(self) -> str:
        """What is reported on."""
        return self.release.name if self.release else say("not released yet", "尚未发布")


def report(venture: Venture, metrics: Mapping[str, Metric]) -> Report:
    """Hold the vision's targets, as they are now, against the newest release (before the first one: the latest evaluation).

    Args:
        metrics: those that the task and the system measure, for their words.

    Raises:
        UserError: nothing is evaluated yet.
    """
    facts = _gather(venture, metrics)
    return Report(_value(facts), _text(facts), _html(facts))


def _gather(venture: Venture, metrics: Mapping[str, Metric]) -> _Facts:
    history = releases(venture)
    newest = history[-1] if history else None
    if newest:
        scorecard, evidence = newest.scorecard, venture.releases / newest.name
        pictures = [evidence / name for name in PICTURES]
        # The mistakes stay with the evaluation, which may have been removed since.
        judged = next((run.folder for run in venture.finished("evaluate") if run.record.id == newest.runs.get("evaluate")), evidence)
    elif venture.evaluation():
        runs = evaluated_runs(venture)
        evidence = judged = runs["evaluate"].folder
        scorecard = read_scorecard(evidence)
        pictures = [runs[step].folder / name for step, name in zip(("evaluate", "train"), PICTURES, strict=True)]
    else:
        raise UserError("nothing to report on yet", where=venture.path, fix="run `lodestar run`")
    usage = venture.ledger.usage(newest.name) if newest and venture.ledger_path.exists() else None
    served = usage.requests if usage else 0
    step = next_step(venture, history, served)
    if step.command == "lodestar report":
        step = Next(
            "lodestar vision",
            Words("once the next targets are set in venture.yaml, from what stands here", "先据此在 venture.yaml 定下新目标"),
        )
    return _Facts(
        venture, metrics, newest, scorecard, gates(venture.file.targets, scorecard), history, usage if served else None,
        [path for path in pictures if path.exists()], read_findings(evidence, judged), step,
    )  # fmt: skip


# For machines


def _value(facts: _Facts) -> dict[str, Any]:
    usage = asdict(facts.usage) if facts.usage else None
    release = facts.release
    return {
        "venture": facts.venture.file.name,
        "release": release.name if release else None,
        "override": release.override.model_dump() if release and release.override else None,
        "gates": [gate.model_dump(mode="json") | {"reason": gate.reason().en} for gate in facts.held],
        "usage": usage and {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in usage.items()},
        "pictures": [str(path) for path in [*facts.pictures, *facts.found.pictures.values()]],
        "mistakes": [each.model_dump(mode="json") for each in facts.found.mistakes],
        "next": {"command": facts.next.command, "why": facts.next.why._asdict()},
    }


# For the terminal


def _text(facts: _Facts) -> str:
    file = facts.venture.file
    lines = [f"{file.name} · {facts.subject}", file.statement, ""]
    if facts.release and facts.release.override:
        lines += [_override(facts.release), ""]
    for gate in facts.held:
        lines.append(f"  {'✓' if gate.kept else '✗'} {gate.reason()}")
        other = facts.baseline.get(gate.target.metric)
        if other:
            against = f"{figure(other.value, other.unit)} {interval(other)}"
            lines.append(say(f"      {facts.scorecard.baseline_name}: {against}", f"      {facts.scorecard.baseline_name}：{against}"))
    lines.append("")
    usage = facts.usage
    if usage:
        lines.append(
            say(
                f"Served: {usage.requests:,} requests ({usage.failed:,} failed), {usage.tokens_in + usage.tokens_out:,} tokens, "
                f"latency {figure(usage.latency_ms_p50, 'ms')} (p50), {figure(usage.latency_ms_p95, 'ms')} (p95)",
                f"已服务：{usage.requests:,} 次请求（失败 {usage.failed:,} 次），{usage.tokens_in + usage.tokens_out:,} 个词元，"
                f"延迟 {figure(usage.latency_ms_p50, 'ms')}（p50）、{figure(usage.latency_ms_p95, 'ms')}（p95）",
            )
        )
    else:
        lines.append(say("Served: nothing yet", "服务：尚无请求"))
    lines += [say(f"Picture: {path}", f"图：{path}") for path in facts.pictures]
    lines.append(say(f"Next: {facts.next.command} ({facts.next.why})", f"下一步：{facts.next.command}（{facts.next.why}）"))
    return "\n".join(lines)


def _override(release: Release) -> str:
    assert release.override is not None
    failed = ", ".join(gate.target.metric for gate in release.gates if not gate.kept)
    who, why = release.override.who, release.override.why
    return say(
        f"{release.name} was released in spite of failing gates ({failed}), by decision of {who}: {why}",
        f"{release.name} 未达门槛（{failed}）仍予发布，由 {who} 决定：{why}",
    )


# For everybody else


def _html(facts: _Facts) -> str:
    file = facts.venture.file
    kind = say("Venture report", "项目报告")
    notice = f'<p class="notice">{escape(_override(facts.release))}</p>' if facts.release and facts.release.override else ""
    body = [
        f'<h1>{escape(file.name)} <span class="version">{escape(facts.subject)}</span></h1>'
        f'<p class="statement">{escape(file.statement)}</p>',
        notice,
        _north_star(facts),
        section(say("Promises against what is", "承诺与现实"), _gates_table(facts)),
        section(say("Served", "服务情况"), _usage(facts)),
        section(say("Releases so far", "历次发布"), _history(facts)),
        section(say("Next", "下一步"), f'<p class="next"><code>{escape(facts.next.command)}</code> {escape(str(facts.next.why))}</p>'),
        *shown(facts.found),
        section(say("Red lines", "红线"), bullets(file.red_lines, "lines")),
        section(say("Pictures", "图"), "".join(_picture(path) for path in facts.pictures)),
    ]
    closing = say("Each promise is held at the worse end of its interval.", "每项承诺都以区间中较差的一端来衡量。")
    return document(f"{file.name} · {kind}", kind, now().date().isoformat(), body, closing)


def _north_star(facts: _Facts) -> str:
    gate = next((gate for gate in facts.held if gate.target.metric == facts.venture.file.north_star), None)
    if gate is None or gate.score is None:
        return ""
    score, metric = gate.score, facts.metrics.get(gate.target.metric)
    promised = say("promised", "承诺") + f" {threshold(gate.target, score.unit)}"
    other = facts.baseline.get(score.metric)
    beside = f"{facts.scorecard.baseline_name}: {figure(other.value, other.unit)}" if other else ""
    says = [str(metric.words)] if metric else []
    lines = "<br>".join(escape(line) for line in [*says, beside] if line)
    return (
        f'<section class="star">{SKY}<span class="label">{say("Our north star", "我们的北极星")} · '
        f"<code>{escape(score.metric)}</code></span>"
        f'<span class="value">{escape(figure(score.value, score.unit))}<small>{escape(interval(score))} · {escape(promised)}</small></span>'
        f'<span class="says">{lines}</span></section>'
    )


def _gates_table(facts: _Facts) -> str:
    headings = [say("Measure", "指标"), say("Promise", "承诺"), say("Measured", "实测"), "", say("Kept", "兑现")]
    rows = []
    for gate in facts.held:
        metric, score = facts.metrics.get(gate.target.metric), gate.score
        says = f'<div class="says">{escape(str(metric.words))}</div>' if metric else ""
        measured = f"{escape(figure(score.value, score.unit))}<small>{escape(interval(score))}</small>" if score else "–"
        plot = interval_plot(gate.target, score, facts.baseline.get(score.metric)) if score else ""
        verdict = (
            f'<span class="kept">{say("kept", "兑现")}</span>' if gate.kept else f'<span class="missed">{say("not kept", "未兑现")}</span>'
        )
        rows.append(
            [
                f"<code>{escape(gate.target.metric)}</code>{says}",
                escape(threshold(gate.target, score.unit if score else None)), measured, plot, verdict,
            ]
        )  # fmt: skip
    missed = [f"{gate.reason()}{say('; ', '；')}{gate.fix()}{say('.', '。')}" for gate in facts.held if not gate.kept]
    return table(headings, rows, ["", "figure", "figure", "picture", ""]) + legend(facts.scorecard.baseline_name) + bullets(missed, "lines")


def _usage(facts: _Facts) -> str:
    usage = facts.usage
    if usage is None:
        return f"<p>{say('Nothing yet.', '尚无请求。')}</p>"
    return tiles(
        [
            (say("requests", "次请求"), f"{usage.requests:,}"),
            (say("failed", "失败"), f"{usage.failed:,}"),
            (say("latency, half below", "延迟中位数"), figure(usage.latency_ms_p50, "ms")),
            (say("latency, 95 of 100 below", "延迟 95 分位"), figure(usage.latency_ms_p95, "ms")),
            (say("tokens in", "输入词元"), f"{usage.tokens_in:,}"),
            (say("tokens out", "输出词元"), f"{usage.tokens_out:,}"),
        ]
    )


def _history(facts: _Facts) -> str:
    star = facts.venture.file.north_star
    rows = []
    for made in reversed(facts.history):
        score = made.scorecard.score(star)
        kept = f"{sum(gate.kept for gate in made.gates)} / {len(made.gates)}"
        measured = f"{escape(figure(score.value, score.unit))}<small>{escape(interval(score))}</small>" if score else "–"
        decided = escape(say("by decision of ", "决定者：") + made.override.who) if made.override else ""
        rows.append([f"<b>{escape(made.name)}</b>", escape(made.created[:10]), measured, kept, decided])
    headings = [say("Version", "版本"), say("Made", "日期"), star, say("Gates kept", "通过门槛"), ""]
    return table(headings, rows, ["", "day", "figure", "", ""]) if rows else ""


def _picture(path: Path) -> str:
    title = {"scorecard.png": say("The scorecard", "得分卡"), "loss.png": say("The loss in training", "训练损失")}[path.name]
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{data}"><figcaption>{escape(title)}</figcaption></figure>'
