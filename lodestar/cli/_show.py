"""What several commands print alike."""

from __future__ import annotations

from ..contracts.language import say
from ..contracts.record import Scorecard
from ..contracts.score import Score
from ._table import columns


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
    return "\n".join([*columns(rows), *(f"  {signature}" for signature in card.signatures.values())])


def _value(score: Score, value: float) -> str:
    if score.unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {score.unit}".rstrip()
