"""The report for everybody: a page."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.clock import now
from ..contracts.language import say
from ..contracts.score import Score
from .card import override_words
from .economics_words import economics_html
from .forecast_words import forecasts_html
from .found import shown
from .page import SKY, bullets, document, next_step, section, table, tiles
from .plot import interval_plot, legend
from .usage_plots import use_html
from .usage_words import heard_html, retention_html
from .words import figure, interval, threshold, unit_words

if TYPE_CHECKING:
    from .success import Facts


def report_html(facts: Facts) -> str:
    """The report as a page of its own, pictures included."""
    file = facts.venture.file
    kind = say("Venture report", "项目报告")
    body = [
        f'<h1>{escape(file.name)} <span class="version">{escape(facts.subject)}</span></h1>'
        f'<p class="statement">{escape(file.statement)}</p>',
        *success_html(facts),
        section(say("Releases so far", "历次发布"), _history(facts)),
        *shown(facts.found),
        section(say("What it made as it learnt", "学习过程中生成的图片"), _previews(facts.previews)),
        section(say("Red lines", "红线"), bullets(file.red_lines, "lines")),
        section(say("Pictures", "图"), "".join(_picture(path) for path in facts.pictures)),
    ]
    closing = say("Each promise is held at the worse end of its interval.", "每项承诺都以区间中较差的一端来衡量。")
    return document(f"{file.name} · {kind}", kind, now().date().isoformat(), body, closing)


def success_html(facts: Facts) -> list[str]:
    """The sections (HTML) that hold what was promised against what is, and say what to do."""
    notice = f'<p class="notice">{escape(override_words(facts.release))}</p>' if facts.release and facts.release.override else ""
    return [
        notice,
        _north_star(facts),
        section(say("Promises against what is", "承诺与现实"), _gates_table(facts)),
        section(say("Served", "服务情况"), _usage(facts) + use_html(facts.requests) + heard_html(facts.heard)),
        section(say("What an answer costs", "回答的成本"), economics_html(facts.economics) if facts.economics else ""),
        section(say("Who came back", "用户回访"), retention_html(facts.retention) if facts.retention else ""),
        section(say("Roll-out", "灰度发布"), f"<p>{escape(str(facts.rollout.words()))}</p>" if facts.rollout else ""),
        section(say("Forecasts", "预测"), forecasts_html(facts.forecasts, now().date())),
        section(say("Next", "下一步"), "".join(next_step(each.command, str(each.why)) for each in facts.next)),
    ]


def _north_star(facts: Facts) -> str:
    gate = next((gate for gate in facts.held if gate.target.metric == facts.venture.file.north_star), None)
    if gate is None or gate.score is None:
        return ""
    score, words = gate.score, facts.words.get(gate.target.metric)
    promised = say("promised", "承诺") + f" {threshold(gate.target, unit_words(score.unit))}"
    other = facts.baseline.get(score.metric)
    beside = f"{facts.scorecard.baseline_name}: {figure(other.value, unit_words(other.unit))}" if other else ""
    says = [str(words)] if words else []
    lines = "<br>".join(escape(line) for line in [*says, beside] if line)
    return (
        f'<section class="star">{SKY}<span class="label">{say("Our north star", "我们的北极星")} · '
        f"<code>{escape(score.metric)}</code></span>"
        f'<span class="value">{escape(figure(score.value, unit_words(score.unit)))}'
        f"<small>{escape(interval(score))} · {escape(promised)}</small></span>"
        f'<span class="says">{lines}</span></section>'
    )


def _gates_table(facts: Facts) -> str:
    headings = [say("Measure", "指标"), say("Promise", "承诺"), say("Measured", "实测"), "", say("Kept", "兑现")]
    rows = []
    for gate in facts.held:
        words, score = facts.words.get(gate.target.metric), gate.score
        says = f'<div class="says">{escape(str(words))}</div>' if words else ""
        measured = score_html(score) if score else "–"
        plot = interval_plot(gate.target, score, facts.baseline.get(score.metric)) if score else ""
        verdict = (
            f'<span class="kept">{say("kept", "兑现")}</span>' if gate.kept else f'<span class="missed">{say("not kept", "未兑现")}</span>'
        )
        rows.append(
            [
                f"<code>{escape(gate.target.metric)}</code>{says}",
                escape(threshold(gate.target, unit_words(score.unit if score else gate.target.unit))), measured, plot, verdict,
            ]
        )  # fmt: skip
    missed = [f"{gate.reason()}{say('; ', '；')}{gate.fix()}{say('.', '。')}" for gate in facts.held if not gate.kept]
    return table(headings, rows, ["", "figure", "figure", "picture", ""]) + legend(facts.scorecard.baseline_name) + bullets(missed, "lines")


def score_html(score: Score) -> str:
    """A value above its interval."""
    return f"{escape(figure(score.value, unit_words(score.unit)))}<small>{escape(interval(score))}</small>"


def _usage(facts: Facts) -> str:
    usage = facts.usage
    if usage is None:
        return f"<p>{say('Nothing yet.', '尚无请求。')}</p>"
    promises = [
        say(
            f"{each.target.metric}: {figure(each.value, each.unit)} as served, promised {threshold(each.target, each.unit)}",
            f"{each.target.metric}：实际服务 {figure(each.value, each.unit)}，承诺 {threshold(each.target, each.unit)}",
        )
        for each in facts.as_served
        if not each.kept
    ]
    return bullets(promises, "lines") + tiles(
        [
            (say("requests", "次请求"), f"{usage.requests:,}"),
            (say("failed", "失败"), f"{usage.failed:,}"),
            (say("latency, half below", "延迟中位数"), figure(usage.latency_ms_p50, "ms")),
            (say("latency, 95 of 100 below", "延迟 95 分位"), figure(usage.latency_ms_p95, "ms")),
            (say("tokens in", "输入词元"), f"{usage.tokens_in:,}"),
            (say("tokens out", "输出词元"), f"{usage.tokens_out:,}"),
        ]
    )


def _history(facts: Facts) -> str:
    star = facts.venture.file.north_star
    rows = []
    for made in reversed(facts.history):
        score = made.scorecard.score(star)
        kept = f"{sum(gate.kept for gate in made.gates)} / {len(made.gates)}"
        measured = score_html(score) if score else "–"
        decided = escape(say("by decision of ", "决定者：") + made.override.who) if made.override else ""
        rows.append([f"<b>{escape(made.name)}</b>", escape(made.created[:10]), measured, kept, decided])
    headings = [say("Version", "版本"), say("Made", "日期"), star, say("Gates kept", "通过门槛"), ""]
    return table(headings, rows, ["", "short", "figure", "", ""]) if rows else ""


def _picture(path: Path) -> str:
    title = {"scorecard.png": say("The scorecard", "得分卡"), "loss.png": say("The loss in training", "训练损失")}[path.name]
    return _figure(path, title)


def _previews(course: list[Path]) -> str:
    """The last one large, those before it side by side."""
    if not course:
        return ""

    def titled(path: Path) -> str:
        step = path.stem.removeprefix("step-")
        when = say(f"after {int(step):,} steps", f"第 {int(step):,} 步之后") if step.isdigit() else say("at the end", "训练结束时")
        return _figure(path, when)

    before = "".join(map(titled, course[:-1]))
    return (f'<div class="course">{before}</div>' if before else "") + titled(course[-1])


def _figure(path: Path, title: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{data}"><figcaption>{escape(title)}</figcaption></figure>'
