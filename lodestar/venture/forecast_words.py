"""Forecasts and their scores, for the terminal, for machines and for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from html import escape
from typing import Any

from ..contracts.forecast import Forecast
from ..contracts.language import say
from .charts import Chart
from .forecast_scores import ENOUGH, NOMINAL, EventScores, QuantityScores, score_events, score_quantities
from .page import table
from .words import figure, unit_words

SHOWN = 12
"""Resolved forecasts that the report lists, the latest ones; of open ones it lists all."""


def said_words(forecast: Forecast) -> str:
    """What was forecast: `70%`, or `3 [2, 8] h`."""
    if forecast.probability is not None:
        return f"{100 * forecast.probability:.3g}%"
    said = forecast.quantiles
    assert said is not None
    low, high = (figure(end, forecast.unit if forecast.unit == "bytes" else "") for end in (said.p10, said.p90))
    return f"{figure(said.p50, unit_words(forecast.unit))} [{low}, {high}]"


def resolution_words(forecast: Forecast) -> str:
    """What came of it, and where that can be looked up."""
    found = forecast.resolution
    assert found is not None
    if found.outcome is None:
        assert found.value is not None
        came = figure(found.value, unit_words(forecast.unit))
    else:
        came = say("yes", "是") if found.outcome else say("no", "否")
    return say(f"{came} ({found.reference})", f"{came}（{found.reference}）")


def forecasts_value(forecasts: Sequence[Forecast], today: date) -> dict[str, Any]:
    """For machines; a score that cannot be told is null."""
    events, quantities = _enough(forecasts, events=True), _enough(forecasts, events=False)
    return {
        "forecasts": [each.model_dump(mode="json") | {"overdue": _is_overdue(each, today)} for each in forecasts],
        "resolved_events": _resolved(forecasts, events=True),
        "events": _plain(asdict(found)) if events and (found := score_events(forecasts)) else None,
        "resolved_quantities": _resolved(forecasts, events=False),
        "quantities": asdict(told) | {"coverage": told.coverage} if quantities and (told := score_quantities(forecasts)) else None,
    }


def forecasts_text(forecasts: Sequence[Forecast], today: date) -> str:
    """For the terminal."""
    if not forecasts:
        return say(
            "No forecasts yet. Make one: lodestar forecast add STATEMENT --probability P --resolve-by YYYY-MM-DD --who WHO",
            "还没有预测。新增一项：lodestar forecast add 内容 --probability P --resolve-by YYYY-MM-DD --who 姓名",
        )
    lines = [f"  {each.id}  {each.statement}  {said_words(each)}  {_state(each, today)}" for each in forecasts]
    return "\n".join([*lines, "", *score_lines(forecasts)])


def score_lines(forecasts: Sequence[Forecast]) -> list[str]:
    """How good the resolved ones were, in sentences; that there are too few, where there are."""
    lines = []
    events, quantities = _resolved(forecasts, events=True), _resolved(forecasts, events=False)
    if events:
        found = score_events(forecasts) if _enough(forecasts, events=True) else None
        lines += _event_lines(found) if found else [_too_few(events, say("events", "事件预测"))]
    if quantities:
        told = score_quantities(forecasts) if _enough(forecasts, events=False) else None
        lines += _quantity_lines(told) if told else [_too_few(quantities, say("quantities", "数量预测"))]
    return lines or [say("None is resolved yet.", "尚无已核对的预测。")]


def forecasts_html(forecasts: Sequence[Forecast], today: date) -> str:
    """For the report; nothing where there is no forecast."""
    if not forecasts:
        return ""
    resolved = [each for each in forecasts if each.resolution is not None]
    shown = [*(each for each in forecasts if each.resolution is None), *reversed(resolved[-SHOWN:])]
    left = len(forecasts) - len(shown)
    note = say(f"{left} earlier ones are left out here: lodestar forecast", f"较早的 {left} 项未在此列出：lodestar forecast")
    headings = [say("Forecast", "预测"), say("Who", "谁"), say("By", "期限"), say("Said", "预测值"), say("Came", "结果")]
    rows = [
        [escape(each.statement), escape(each.by), str(each.resolve_by), escape(said_words(each)), escape(_state(each, today))]
        for each in shown
    ]
    lines = "".join(f"<li>{escape(line)}</li>" for line in score_lines(forecasts))
    more = f'<p class="legend">{escape(note)}</p>' if left else ""
    told = f'<ul class="lines">{lines}</ul>'
    return calibration_picture(forecasts) + told + table(headings, rows, ["", "", "short", "figure", ""]) + more


def calibration_picture(forecasts: Sequence[Forecast]) -> str:
    """Said against came, as an SVG; nothing where there are too few to judge."""
    events = score_events(forecasts) if _enough(forecasts, events=True) else None
    if events is None:
        return ""
    chart = Chart(
        title=say("Calibration: what was said, and how often it came", "校准：所说的概率与实际发生的频率"),
        x=say("probability said", "预测概率"), y=say("share that came, with its 95% interval", "实际发生比例及 95% 区间"),
        x_range=(0, 1), y_range=(0, 1),
    )  # fmt: skip
    chart.line([(0, 0), (1, 1)], style="guide")
    chart.line([(0, events.base_rate), (1, events.base_rate)], style="guide", label=say("base rate", "基准率"))
    for each in events.bins:
        label = say(
            f"{each.count} said {each.said:.0%}, {each.came:.0%} came", f"{each.count} 次预测 {each.said:.0%}，发生 {each.came:.0%}"
        )
        chart.point(each.said, each.came, low=each.low, high=each.high, size=3 + math.sqrt(each.count), label=label)
    return chart.html()


def _resolved(forecasts: Sequence[Forecast], *, events: bool) -> int:
    return sum(each.resolution is not None and each.is_event == events for each in forecasts)


def _enough(forecasts: Sequence[Forecast], *, events: bool) -> bool:
    """Whether there are enough to be judged; fewer are not even scored, which would take NumPy and SciPy a second to be imported."""
    return _resolved(forecasts, events=events) >= ENOUGH


def _event_lines(found: EventScores) -> list[str]:
    skilled = (
        say("better than the base rate", "优于基准率") if found.skill_low > 0
        else say("worse than the base rate", "劣于基准率") if found.skill_high < 0
        else say("not told apart from the base rate", "与基准率难分高下")
    )  # fmt: skip
    return [
        say(
            f"Of {found.count} events {found.base_rate:.0%} happened. Brier score {found.brier:.3f} (a coin: 0.25), log score "
            f"{found.log_score:.3f} (a coin: 0.693).",
            f"{found.count} 个事件中 {found.base_rate:.0%} 发生。Brier 评分 {found.brier:.3f}（掷硬币为 0.25），对数评分 "
            f"{found.log_score:.3f}（掷硬币为 0.693）。",
        ),
        say(
            f"Of the Brier score, {found.reliability:.3f} is miscalibration (0 is best), {found.resolution:.3f} was gained by telling "
            f"events apart, and {found.uncertainty:.3f} nobody could help.",
            f"Brier 评分中，{found.reliability:.3f} 来自校准偏差（0 最好），区分事件赢得 {found.resolution:.3f}，"
            f"{found.uncertainty:.3f} 无法避免。",
        ),
        say(
            f"Skill {found.skill:+.2f} [{found.skill_low:+.2f}, {found.skill_high:+.2f}]: {skilled}.",
            f"技巧评分 {found.skill:+.2f} [{found.skill_low:+.2f}, {found.skill_high:+.2f}]：{skilled}。",
        ),
    ]


def _quantity_lines(found: QuantityScores) -> list[str]:
    verdict = (
        say("too narrow: the forecasters are surer than they may be", "区间过窄：预测者过于自信") if found.high < NOMINAL
        else say("too wide: they know more than they say", "区间过宽：预测者所知多于所说") if found.low > NOMINAL
        else say("as it should be, as far as can be told", "就现有数据看，正合应有水平")
    )  # fmt: skip
    lines = [
        say(
            f"Of {found.count} quantities {found.coverage:.0%} [{found.low:.0%}, {found.high:.0%}] came out between p10 and p90, which "
            f"should hold 80%: {verdict}.",
            f"{found.count} 个数量中 {found.coverage:.0%} [{found.low:.0%}, {found.high:.0%}] 落在 p10 与 p90 之间"
            f"（应为 80%）：{verdict}。",
        )
    ]
    for each in found.metrics:
        loss, score = (figure(value, unit_words(each.unit)) for value in (each.pinball, each.interval_score))
        lines.append(
            say(
                f"{each.metric} ({each.count}): mean pinball loss {loss}, interval score {score}.",
                f"{each.metric}（{each.count} 次）：平均分位损失 {loss}，区间评分 {score}。",
            )
        )
    return lines


def _too_few(count: int, what: str) -> str:
    return say(
        f"{what[:1].upper()}{what[1:]}: {count} resolved, too few to judge; {ENOUGH} are enough.",
        f"{what}：已核对 {count} 项，太少，不足以评判；需要 {ENOUGH} 项。",
    )


def _state(forecast: Forecast, today: date) -> str:
    if forecast.resolution is not None:
        return resolution_words(forecast)
    if _is_overdue(forecast, today):
        return say(f"due since {forecast.resolve_by}: say what came", f"{forecast.resolve_by} 已到期，请认定结果")
    return say(f"open until {forecast.resolve_by}", f"{forecast.resolve_by} 见分晓")


def _is_overdue(forecast: Forecast, today: date) -> bool:
    return forecast.resolution is None and forecast.is_due(today)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(each, float) and math.isnan(each) else each for key, each in value.items()}
