"""The quantities, figures and findings of a decision, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..contracts.evidence import Evidence, Source
from ..contracts.language import Words, say
from ..contracts.option import Kind
from .decision import PilotValue, Problem, Spread, Uncertainty
from .words import figure, length_words, unit_words

KINDS: Mapping[Kind, Words] = {
    "scratch": Words("from scratch", "从零训练"),
    "fine-tune": Words("fine-tuned", "全量微调"),
    "adapter": Words("adapter", "适配器微调"),
    "api": Words("bought API", "外购 API"),
    "rules": Words("rules", "自写规则"),
    "baseline": Words("no model", "不用模型"),
}
SOURCES: Mapping[Source, Words] = {
    "measured": Words("measured", "实测"),
    "quoted": Words("quoted", "引用"),
    "assumed": Words("assumed", "假设"),
}
_QUANTITIES: Mapping[str, Words] = {
    "requests per month": Words("requests per month", "每月请求数"),
    "share of busy hours": Words("share of busy hours", "机器忙碌时间占比"),
    "price of an hour": Words("price of an hour", "每小时价格"),
    "speed": Words("speed", "速度"),
    "training hours": Words("training hours", "训练小时数"),
    "working days": Words("working days", "人工工作日"),
    "hours of a request": Words("time of a request", "单次请求用时"),
    "price of a request": Words("price of a request", "单次请求价格"),
    "this machine": Words("this machine", "本机"),
}


def quantity_name(key: str) -> Words:
    """`small: training hours` → `small: training hours`, `small：训练小时数`."""
    subject, colon, what = key.rpartition(": ")
    told = _QUANTITIES.get(what, Words(what, what))
    if not colon:
        return told
    about = _QUANTITIES.get(subject, Words(subject, subject))
    return Words(f"{about.en}: {told.en}", f"{about.zh}：{told.zh}")


class EvidenceWords(NamedTuple):
    """An evidence's parts, for a table."""

    figures: str
    source: str


def evidence_words(evidence: Evidence) -> EvidenceWords:
    """`41 ms [38, 45]`, `measured`."""
    factor, unit = _scale(evidence)
    low, value, high = (figure(each * factor, "" if unit != "bytes" else unit) for each in (evidence.low, evidence.value, evidence.high))
    end = f" {unit_words(unit)}" if unit and unit != "bytes" else ""
    told = f"{value}{end}" if evidence.certain else f"{value}{end} [{low}, {high}]"
    return EvidenceWords(told, str(SOURCES[evidence.source]))


def _scale(evidence: Evidence) -> tuple[float, str]:
    """Hours of a moment are told in milliseconds, those of less than one in minutes."""
    if evidence.unit == "hours" and evidence.value < 0.01:
        return (3.6e6, "ms") if evidence.value < 1 / 3600 else (3600, "s")
    if evidence.unit == "hours" and evidence.value < 1:
        return 60, "min"
    return 1, evidence.unit


def money(amount: float, currency: str = "") -> str:
    """`1,240 USD`, `0.37`: whole units where there are many."""
    size = abs(amount)
    text = f"{amount:,.0f}" if size >= 100 else f"{amount:,.2f}" if size >= 0.995 or size == 0 else f"{amount:.2g}"
    if size and size < 0.005:
        text = "< 0.01" if amount > 0 else "0"
    return f"{text} {currency}".rstrip()


def percent(share: float) -> str:
    """`82%`; what is nearly none or nearly all is said so, since a simulation cannot tell it from none or all."""
    if share < 0.005:
        return "< 1%"
    return "> 99%" if share > 0.995 else f"{share:.0%}"


def spread_words(spread: Spread, show: Callable[[float], str]) -> str:
    """The median and the range of nine in ten."""
    return f"{show(spread.p50)} [{show(spread.p05)}, {show(spread.p95)}]"


def span_of_days(days: Spread) -> str:
    """The same of days."""
    return spread_words(days, _day)


def _day(days: float) -> str:
    return f"{days:.0f}" if days >= 10 else f"{days:.1f}"


def uncertainty_words(each: Uncertainty, problem: Problem) -> str:
    """What a quantity is worth knowing, and where it would change the choice."""
    name, worth = quantity_name(each.quantity), money(each.worth_knowing, problem.currency)
    told = say(f"{name}: knowing it is worth {worth}", f"{name}：知道它价值 {worth}")
    if each.flips_at is None:
        return told + say("; nothing likely of it changes the choice", "；可能的取值都不改变选择")
    evidence = problem.quantities[each.quantity]
    factor, unit = _scale(evidence)
    at = figure(each.flips_at * factor, unit_words(unit))
    side = Words("below", "低于") if each.flips_below else Words("above", "高于")
    return told + say(f"; {side} {at}, {each.flips_to} is better", f"；{side} {at} 时 {each.flips_to} 更好")


def pilot_words(value: PilotValue, problem: Problem) -> str:
    """What a pilot takes and is worth."""
    pilot = value.pilot
    cost, worth = money(pilot.cost, problem.currency), money(value.worth, problem.currency)
    time = length_words(3600 * pilot.hours)
    return say(f"{pilot.option}, about {time} and {cost}, worth {worth}", f"{pilot.option}，约 {time}、{cost}，价值 {worth}")
