"""A score, its interval, its baseline and its promise on one line."""

from __future__ import annotations

from html import escape

from ..contracts.language import say
from ..contracts.score import Score, Target

WIDTH, HEIGHT, MARGIN = 200.0, 36.0, 10.0


def interval_plot(target: Target, score: Score, baseline: Score | None) -> str:
    """An SVG: the side that keeps the promise is shaded, the interval a bar, the value a dot, the baseline a hollow diamond."""
    threshold = target.at_least if target.at_least is not None else target.at_most
    assert threshold is not None
    shown = [threshold, score.low, score.value, score.high, *([baseline.value] if baseline else [])]
    low, high = min(shown), max(shown)
    span = (high - low) or abs(high) or 1.0

    def x(value: float) -> float:
        return round(MARGIN + (value - low) / span * (WIDTH - 2 * MARGIN), 1)

    kept = target.kept_by(score.worse_end())
    colour = "#1d7a55" if kept else "#b3372f"
    line, middle = x(threshold), HEIGHT / 2
    good = (line, WIDTH - line) if target.at_least is not None else (0.0, line)
    parts = [
        f'<rect x="{good[0]}" y="4" width="{good[1]:.1f}" height="{HEIGHT - 8}" fill="#e4f3ec" rx="3"/>',
        f'<line x1="0" x2="{WIDTH}" y1="{middle}" y2="{middle}" stroke="#dfe3ec"/>',
        f'<line x1="{line}" x2="{line}" y1="2" y2="{HEIGHT - 2}" stroke="#16203a" stroke-dasharray="3 2"/>',
    ]
    if baseline:
        at = x(baseline.value)
        parts.append(f'<path d="M{at} {middle - 5}l5 5l-5 5l-5-5z" fill="#fff" stroke="#5b6478" stroke-width="1.3"/>')
    parts += [
        f'<line x1="{x(score.low)}" x2="{x(score.high)}" y1="{middle}" y2="{middle}" '
        f'stroke="{colour}" stroke-width="5" stroke-linecap="round" stroke-opacity=".45"/>',
        f'<circle cx="{x(score.value)}" cy="{middle}" r="4.5" fill="{colour}"/>',
    ]
    return f'<svg class="plot" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" aria-hidden="true">{"".join(parts)}</svg>'


def legend(baseline_name: str) -> str:
    """What the marks mean."""
    name = escape(baseline_name)
    return (
        '<p class="legend">'
        + say(
            f"● measured, with its interval · ◇ {name} · ┆ promise; the shaded side keeps it",
            f"● 实测及其区间 · ◇ {name} · ┆ 承诺，阴影一侧为兑现",
        )
        + "</p>"
    )
