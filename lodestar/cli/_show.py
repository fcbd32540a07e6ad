"""What several commands print alike."""

from __future__ import annotations

from ..contracts.language import say
from ..contracts.record import Scorecard
from ..contracts.score import Score


def scorecard_table(card: Scorecard) -> str:
    """A scorecard as a table: each metric with its interval, beside the baseline's."""
    baseline = {score.metric: score for score in card.baseline}
    header = (
        say("metric", "指标"),
        say("model", "模型"),
        say("interval", "区间"),
        say(f"baseline ({card.baseline_name})", f"基线（{card.baseline_name}）"),
    )
    rows = [header]
    for score in card.scores:
        other = baseline.get(score.metric)
        rows.append(
            (
                score.metric,
                _value(score, score.value),
                f"[{_value(score, score.low)}, {_value(score, score.high)}]",
                _value(other, other.value) if other else "",
            )
        )
    widths = [max(_width(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(f"  {line}" for line in (*lines, *card.signatures.values()))


def _value(score: Score, value: float) -> str:
    if score.unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {score.unit}".rstrip()


def _width(text: str) -> int:
    """Columns on a terminal, where a Chinese character takes two."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
