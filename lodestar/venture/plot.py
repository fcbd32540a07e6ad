"""A score, its interval, its baseline and its promise on one line; and several scores below each other."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..contracts.language import say
from ..contracts.score import Score, Target
from .words import figure, interval, threshold

WIDTH, HEIGHT, MARGIN = 200.0, 36.0, 10.0
ROW = 16.0


def interval_plot(target: Target, score: Score, baseline: Score | None) -> str:
    """An SVG: the side that keeps the promise is shaded, the interval a bar, the value a dot, the baseline a hollow diamond."""
    promised = target.at_least if target.at_least is not None else target.at_most
    assert promised is not None
    shown = [promised, score.low, score.value, score.high, *([baseline.value] if baseline else [])]
    low, high = min(shown), max(shown)
    span = (high - low) or abs(high) or 1.0

    def x(value: float) -> float:
        return round(MARGIN + (value - low) / span * (WIDTH - 2 * MARGIN), 1)

    kept = target.kept_by(score.worse_end())
    colour = "#1d7a55" if kept else "#b3372f"
    line, middle = x(promised), HEIGHT / 2
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
    words = (
        f"{score.metric}: {figure(score.value, score.unit)} {interval(score)}, {say('promised', '承诺')} {threshold(target, score.unit)}"
    )
    return _plot(HEIGHT, words, parts)


def scores_plot(named: Sequence[tuple[str, Score]], target: Target | None) -> str:
    """An SVG: the scores of one metric below each other, each a dot on its interval, and the promise as a dashed line."""
    promised = None if target is None else target.at_least if target.at_least is not None else target.at_most
    shown = [end for _, score in named for end in (score.low, score.value, score.high)] + ([] if promised is None else [promised])
    low, high = min(shown), max(shown)
    span = (high - low) or abs(high) or 1.0

    def x(value: float) -> float:
        return round(MARGIN + (value - low) / span * (WIDTH - 2 * MARGIN), 1)

    height = ROW * len(named) + 6
    parts = []
    if promised is not None:
        parts.append(
            f'<line x1="{x(promised)}" x2="{x(promised)}" y1="0" y2="{height:.0f}" stroke="#16203a" stroke-dasharray="3 2"/>'
        )  # fmt: skip
    for number, (name, score) in enumerate(named):
        y = ROW * (number + 0.5) + 3
        told = f"<title>{escape(f'{name}: {figure(score.value, score.unit)} {interval(score)}')}</title>"
        ends = f'x1="{x(score.low)}" x2="{x(score.high)}" y1="{y:g}" y2="{y:g}"'
        line = f'<line {ends} stroke="#3a5bbf" stroke-width="5" stroke-linecap="round" stroke-opacity=".45"/>'
        parts.append(f'<g>{told}{line}<circle cx="{x(score.value)}" cy="{y:g}" r="4.5" fill="#3a5bbf"/></g>')
    words = "; ".join(f"{name}: {figure(score.value, score.unit)} {interval(score)}" for name, score in named)
    return _plot(height, f"{named[0][1].metric}: {words}", parts)


def _plot(height: float, words: str, parts: Sequence[str]) -> str:
    told = escape(words)
    view = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{told}"'
    return f'<svg class="plot" {view}><title>{told}</title>{"".join(parts)}</svg>'


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
