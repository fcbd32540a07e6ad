"""Figures and thresholds, written for people."""

from __future__ import annotations

import math

from ..contracts.score import Score, Target
from ..store.files import human_bytes


def figure(value: float, unit: str) -> str:
    """`0.873`, `41.2 ms`, `1.5 GB`: three digits that matter, with the unit."""
    if math.isnan(value):
        return "–"
    if unit == "bytes":
        return human_bytes(value)
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}" if unit else number


def interval(score: Score) -> str:
    """`[0.861, 0.884]`, in the unit of the value; sizes in bytes carry their own."""
    unit = "bytes" if score.unit == "bytes" else ""
    return f"[{figure(score.low, unit)}, {figure(score.high, unit)}]"


def threshold(target: Target, unit: str | None = None) -> str:
    """`≥ 0.9`, `≤ 300 ms`."""
    sign, value = ("≥", target.at_least) if target.at_least is not None else ("≤", target.at_most)
    assert value is not None
    return f"{sign} {figure(value, target.unit if unit is None else unit)}"
