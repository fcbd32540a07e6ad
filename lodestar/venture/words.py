"""Figures and thresholds, written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..contracts.language import Words, say
from ..contracts.score import Score, Target
from ..store.files import human_bytes

_UNITS: Mapping[str, Words] = {
    "days": Words("days", "天"),
    "hours": Words("hours", "小时"),
    "hour": Words("hour", "小时"),
    "minutes": Words("minutes", "分钟"),
    "min": Words("min", "分钟"),
    "month": Words("month", "月"),
    "requests": Words("requests", "次请求"),
    "request": Words("request", "次请求"),
    "product": Words("product", "产品"),
    "tokens": Words("tokens", "词元"),
    "1M tokens": Words("1M tokens", "百万词元"),
    "bits": Words("bits", "比特"),
    "byte": Words("byte", "字节"),
}
"""Those that are words of a language; what is a symbol in both, `ms` or `USD`, stands as it is."""


def figure(value: float, unit: str) -> str:
    """`0.873`, `41.2 ms`, `1.5 GB`: three digits that matter, with the unit."""
    if math.isnan(value):
        return "–"
    if unit == "bytes":
        return human_bytes(value)
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}" if unit else number


def unit_words(unit: str) -> str:
    """`USD/hour`, `USD/小时`: a unit in the reader's language, to be given to `figure`, which has its own words for `bytes`."""
    return "/".join(str(_UNITS.get(part, part)) for part in unit.split("/"))


def length_words(seconds: float) -> str:
    """`12 s`, `4.2 min`, `30 h`: a time in the unit that suits it, in the reader's language."""
    if seconds >= 3600:
        return say(f"{seconds / 3600:.3g} h", f"{seconds / 3600:.3g} 小时")
    return say(f"{seconds / 60:.3g} min", f"{seconds / 60:.3g} 分钟") if seconds >= 60 else say(f"{seconds:.0f} s", f"{seconds:.0f} 秒")


def interval(score: Score) -> str:
    """`[0.861, 0.884]`, in the unit of the value; sizes in bytes carry their own."""
    unit = "bytes" if score.unit == "bytes" else ""
    return f"[{figure(score.low, unit)}, {figure(score.high, unit)}]"


def threshold(target: Target, unit: str | None = None) -> str:
    """`≥ 0.9`, `≤ 300 ms`."""
    sign, value = ("≥", target.at_least) if target.at_least is not None else ("≤", target.at_most)
    assert value is not None
    return f"{sign} {figure(value, target.unit if unit is None else unit)}"
