"""The pictures of a decision: quality against cost, the chance to keep every promise, regret, and what is uncertain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from ..contracts.language import say
from .decision import Comparison, Outlook, Problem, Uncertainty
from .decision_words import money, percent, quantity_name
from .words import figure

WIDTH = 340.0
ROW, TOP, BOTTOM = 34.0, 8.0, 26.0
INK, SOFT, RULE, GOLD, BLUE, GOOD, BAD = "#16203a", "#5b6478", "#dfe3ec", "#c8962e", "#3a5bbf", "#1d7a55", "#b3372f"
LOGARITHMIC_FROM = 30.0
"""Costs that differ by more than this factor are drawn on a logarithmic axis."""
SHOWN_UNCERTAINTIES = 7

Scale = Callable[[float], float]


def plane(problem: Problem, comparison: Comparison) -> str:
    """The north star against the cost: the median, and the range of nine in ten of both."""
    star = problem.north_star
    target = problem.north_target
    threshold = target.at_least if target.at_least is not None else target.at_most
    assert threshold is not None
    costs = [end for each in comparison.options for end in (each.cost.p05, each.cost.p95)]
    values = [end for each in comparison.options for end in (each.metrics[star].p05, each.metrics[star].p95)] + [threshold]
    height, left = 250.0, 46.0
    x = _axis(costs, left, WIDTH - 14, logarithmic=min(costs) > 0 and max(costs) / min(costs) > LOGARITHMIC_FROM)
    y = _axis(values, height - 40, 14)
    parts = [
        f'<line x1="{left}" x2="{WIDTH - 8}" y1="{height - 30}" y2="{height - 30}" stroke="{RULE}"/>',
        f'<line x1="{left - 6}" x2="{left - 6}" y1="8" y2="{height - 30}" stroke="{RULE}"/>',
        _dashed(left - 6, y(threshold), WIDTH - 8, y(threshold)),
        _text(left, y(threshold) - 4, say("promise", "承诺"), fill=GOLD),
    ]
    parts += [_text(left - 10, y(end) + 3, figure(end, ""), anchor="end") for end in (min(values), max(values))]
    parts += [
        _text(left, height - 15, money(min(costs))),
        _text(WIDTH - 8, height - 15, money(max(costs), problem.currency), anchor="end"),
        _text((left + WIDTH) / 2, height - 3, say("cost", "费用"), anchor="middle"),
    ]
    labels: list[tuple[float, float]] = []
    for number, each in enumerate(comparison.options):
        parts += _cross(each, star, x, y, number == 0, labels)
    return _svg(height, parts)


def _cross(each: Outlook, star: str, x: Scale, y: Scale, best: bool, labels: list[tuple[float, float]]) -> list[str]:
    """A dot with its two ranges and its name, which keeps clear of the names before it."""
    cost, metric, colour = each.cost, each.metrics[star], GOOD if best else BLUE
    at, high = x(cost.p50), y(metric.p50)
    right = at < WIDTH * 0.6
    place = high - 7
    while any(abs(place - other) < 11 and abs(at - along) < 110 for along, other in labels):
        place += 12
    labels.append((at, place))
    return [
        f'<g stroke="{colour}" stroke-width="3" stroke-opacity=".35" stroke-linecap="round">'
        f'<line x1="{x(cost.p05):.1f}" x2="{x(cost.p95):.1f}" y1="{high:.1f}" y2="{high:.1f}"/>'
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(metric.p05):.1f}" y2="{y(metric.p95):.1f}"/></g>',
        f'<circle cx="{at:.1f}" cy="{high:.1f}" r="4.5" fill="{colour}"/>',
        _text(at + (7 if right else -7), place, each.name, anchor="start" if right else "end", fill=INK, halo=True),
    ]


def chances(comparison: Comparison) -> str:
    """The probability that each option keeps every promise."""
    rows = [(each.name, each.probability_all, percent(each.probability_all)) for each in comparison.options]
    return _bars(rows, 1.0, GOOD)


def regrets(problem: Problem, comparison: Comparison) -> str:
    """What choosing each option is expected to lose against whichever turns out best."""
    rows = [(each.name, each.expected_regret, money(each.expected_regret, problem.currency)) for each in comparison.options]
    return _bars(rows, max(value for _, value, _ in rows) or 1.0, BAD)


def _bars(rows: Sequence[tuple[str, float, str]], most: float, colour: str) -> str:
    parts = []
    length = WIDTH - 84
    for number, (name, value, told) in enumerate(rows):
        top = TOP + number * ROW
        parts += [
            _text(0, top + 9, name, fill=INK),
            f'<rect x="0" y="{top + 13}" width="{length}" height="9" rx="4.5" fill="{RULE}" fill-opacity=".6"/>',
            f'<rect x="0" y="{top + 13}" width="{max(1.0, value / most * length):.1f}" height="9" rx="4.5" fill="{colour}"/>',
            _text(length + 8, top + 21, told, fill=INK),
        ]
    return _svg(TOP + len(rows) * ROW, parts)


def tornado(problem: Problem, comparison: Comparison) -> str:
    """How far the best option is ahead where each quantity is low (5%) and high (95%); left of the line another one is better."""
    shown = comparison.uncertainties[:SHOWN_UNCERTAINTIES]
    ends = [end for each in shown for end in (each.advantage_low, each.advantage_high)] + [0.0]
    x = _axis(ends, 6, WIDTH - 6)
    parts: list[str] = []
    for number, each in enumerate(shown):
        parts += _whisker(each, TOP + number * ROW, x)
    height = TOP + len(shown) * ROW + BOTTOM
    parts += [
        _text(x(0) - 6, height - 8, say("another better", "其他更好"), anchor="end") if x(0) > 90 else "",
        _text(x(0) + 6, height - 8, f"{comparison.best.name} {say('better', '更好')}") if x(0) < WIDTH - 90 else "",
        _text(WIDTH, TOP + 9, f"+{money(max(ends), problem.currency)}", anchor="end"),
    ]
    return _svg(height, parts)


def _whisker(each: Uncertainty, top: float, x: Scale) -> list[str]:
    """The advantage from the quantity's low end, hollow, to its high end, full."""
    low, high = x(each.advantage_low), x(each.advantage_high)
    crosses = min(each.advantage_low, each.advantage_high) < 0
    colour = BAD if crosses else BLUE
    return [
        _text(0, top + 9, str(quantity_name(each.quantity)), fill=INK),
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{top + 12}" y2="{top + 26}" stroke="{INK}" stroke-width="1.4"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{top + 18}" y2="{top + 18}" stroke="{colour}" stroke-width="7" stroke-opacity=".4"/>',
        f'<circle cx="{low:.1f}" cy="{top + 18}" r="4" fill="#fff" stroke="{colour}" stroke-width="1.6"/>',
        f'<circle cx="{high:.1f}" cy="{top + 18}" r="4" fill="{colour}"/>',
    ]


def _axis(values: Sequence[float], start: float, end: float, *, logarithmic: bool = False) -> Scale:
    """A value → its place, from `start` where it is the least to `end` where it is the greatest."""
    shape: Scale = math.log if logarithmic else float
    low, high = shape(min(values)), shape(max(values))
    span = (high - low) or 1.0
    return lambda value: round(start + (shape(value) - low) / span * (end - start), 1)


def _dashed(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{GOLD}" stroke-dasharray="4 3"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = SOFT, halo: bool = False) -> str:
    outline = ' stroke="#fff" stroke-width="3" paint-order="stroke"' if halo else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill:{fill}"{outline}>{escape(words)}</text>'


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg class="plot" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img">{"".join(parts)}</svg>'
