"""The scorecard as a picture: a strip a metric, the model's value and interval above its baseline's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.record import Scorecard
from ..contracts.score import Score
from ..store.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODEL, BASELINE, INK, FAINT = "#2b5a9e", "#c8501e", "#222222", "#777777"


def draw_scorecard(path: Path, card: Scorecard) -> None:
    """Write the PNG. English alone: matplotlib brings no font with Chinese characters."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.1 + 0.85 * len(card.scores)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    strips = figure.subplots(len(card.scores), 1, squeeze=False)[:, 0]
    baseline = {score.metric: score for score in card.baseline}
    for axes, score in zip(strips, card.scores, strict=True):
        _strip(axes, score, baseline.get(score.metric))
    count, confidence = card.scores[0].count, card.scores[0].confidence
    figure.suptitle(f"{card.task} on {count:,} {card.split} examples, {confidence:.0%} intervals", fontsize=12, color=INK)
    handles = [_marker(MODEL, "model"), _marker(BASELINE, f"baseline: {card.baseline_name}")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomic(path, content.getvalue())


def _strip(axes: Axes, score: Score, baseline: Score | None) -> None:
    shown = [(score, 0.5, MODEL)] if baseline is None else [(score, 1.0, MODEL), (baseline, 0.0, BASELINE)]
    for each, height, color in shown:
        axes.plot([each.low, each.high], [height, height], color=color, linewidth=3, alpha=0.35, solid_capstyle="butt")
        axes.plot(each.value, height, "o", color=color, markersize=6)
        place = 0.5 if baseline is None else 0.74 if color == MODEL else 0.26
        axes.text(
            1.01, place, readable(each), transform=axes.transAxes, color=color, fontsize=9, va="center"
        )  # fmt: skip
    axes.set_ylim(-0.7, 1.7)
    axes.set_xlim(*_range([each for each, _, _ in shown]))
    axes.set_yticks([])
    better = "lower is better" if score.better == "lower" else "higher is better"
    axes.set_ylabel(f"{score.metric}\n{better}", rotation=0, ha="right", va="center", fontsize=9, color=INK)
    axes.tick_params(axis="x", labelsize=8, colors=FAINT)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.grid(axis="x", alpha=0.25)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#cccccc")
    if score.unit == "bytes":
        axes.xaxis.set_major_formatter(lambda value, _: _size(value))


def readable(score: Score) -> str:
    """`0.912 (0.894 to 0.930)`, with the unit."""
    if score.unit == "bytes":
        return f"{_size(score.value)} ({_size(score.low)} to {_size(score.high)})"
    return f"{score.value:.4g} ({score.low:.4g} to {score.high:.4g}) {score.unit}".rstrip()


def _size(value: float) -> str:
    return f"{value / 1e9:.3g} GB" if value >= 1e9 else f"{value / 1e6:.3g} MB"


def _range(shown: Sequence[Score]) -> tuple[float, float]:
    """The values with air around them. A share's axis ends at 1, so that what is missing to it can be seen; what is compared with nothing
    begins at 0, so that a narrow interval looks narrow.
    """
    low, high = min(score.low for score in shown), max(score.high for score in shown)
    if all(score.unit == "" and score.low >= 0 and score.high <= 1 for score in shown):
        return -0.02, 1.02
    if len(shown) == 1 and low >= 0:
        return 0.0, 1.15 * high or 1.0
    air = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return max(0.0, low - air) if low >= 0 else low - air, high + air


def _marker(color: str, label: str) -> object:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker="o", linewidth=3, alpha=0.8, label=label)
