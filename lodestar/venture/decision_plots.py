"""The pictures of a decision: what each option is likely to come to, the chance to keep every promise, regret, and what is uncertain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..contracts.language import say
from ..contracts.score import Target
from .charts import BAD, BLUE, GOLD, GOOD, INK, RULE, SOFT, framed, picture, text
from .decision import Comparison, Outlook, Problem, Spread, Uncertainty
from .decision_words import money, percent, quantity_name, spread_words
from .words import figure, unit_words

WIDTH = 340.0
ROW, TOP, BOTTOM = 34.0, 8.0, 26.0
SIZE = 10.0
"""Of the words, in pixels."""
LOGARITHMIC_FROM = 30.0
"""Costs that differ by more than this factor are drawn on a logarithmic axis."""
SHOWN_UNCERTAINTIES = 7

Scale = Callable[[float], float]


def pictures(problem: Problem, comparison: Comparison) -> str:
    """All of them, as figures (HTML)."""
    drawn = [plane(problem, comparison), *distributions(problem, comparison), chances(comparison), regrets(problem, comparison)]
    if comparison.uncertainties:
        drawn += [worths(problem, comparison), tornado(problem, comparison)]
    return "".join(drawn)


def plane(problem: Problem, comparison: Comparison) -> str:
    """The north star against the cost: the median, and the range of nine in ten of both."""
    star = problem.north_star
    title = say(f"{star} against cost: median, and nine in ten", f"{star} 与费用：中位数与九成区间")
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
    told = [
        f"{each.name}: {star} {spread_words(each.metrics[star], _plain)}, {spread_words(each.cost, money)} {problem.currency}"
        for each in comparison.options
    ]
    return _framed(height, title, parts, told)


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


def distributions(problem: Problem, comparison: Comparison) -> list[str]:
    """What each option is likely to score on the north star, to cost and to take."""
    star, target = problem.north_star, problem.north_target
    ranges = say("median, half and nine in ten", "中位数、半数区间与九成区间")
    quality = f"{star}{_in(target.unit)}{say(': ', '：')}{ranges}"
    cost = say(f"Cost ({problem.currency}): {ranges}", f"费用（{problem.currency}）：{ranges}")
    days = say(f"Days until it serves: {ranges}", f"上线前天数：{ranges}")
    return [
        _strips(quality, [(each.name, each.metrics[star]) for each in comparison.options], _plain, target),
        _strips(cost, [(each.name, each.cost) for each in comparison.options], money),
        _strips(days, [(each.name, each.days) for each in comparison.options], _plain),
    ]


def _strips(title: str, rows: Sequence[tuple[str, Spread]], show: Callable[[float], str], target: Target | None = None) -> str:
    """For each option its name, its figures, and a strip: thin for nine draws in ten, thick for the middle half, a dot for the median."""
    threshold = None if target is None else target.at_least if target.at_least is not None else target.at_most
    ends = [end for _, spread in rows for end in (spread.p05, spread.p95)] + ([] if threshold is None else [threshold])
    x = _axis(ends, 6, WIDTH - 6, logarithmic=min(ends) > 0 and max(ends) / min(ends) > LOGARITHMIC_FROM)
    height = TOP + len(rows) * ROW + 4
    parts = []
    if threshold is not None:
        parts += [f'<line x1="{x(threshold)}" x2="{x(threshold)}" y1="{TOP}" y2="{height}" stroke="{GOLD}" stroke-dasharray="4 3"/>']
    for number, (name, spread) in enumerate(rows):
        top, colour = TOP + number * ROW, GOOD if number == 0 else BLUE
        parts += [
            _text(0, top + 9, name, fill=INK, halo=True),
            _text(WIDTH, top + 9, spread_words(spread, show), anchor="end", halo=True),
            _strip(x(spread.p05), x(spread.p95), top + 20, colour, 2, 1),
            _strip(x(spread.p25), x(spread.p75), top + 20, colour, 8, 0.4),
            f'<circle cx="{x(spread.p50)}" cy="{top + 20}" r="4.5" fill="{colour}"/>',
        ]
    if threshold is not None:
        height += 14
        end = x(threshold) > WIDTH / 2
        parts.append(
            _text(x(threshold), height - 4, f"{say('promise', '承诺')} {show(threshold)}", anchor="end" if end else "start", fill=GOLD)
        )
    return _framed(height, title, parts, [f"{name}: {spread_words(spread, show)}" for name, spread in rows])


def _strip(start: float, end: float, y: float, colour: str, width: float, opacity: float) -> str:
    ends = f'x1="{start}" x2="{max(end, start + 0.5)}" y1="{y}" y2="{y}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}" stroke-opacity="{opacity:g}" stroke-linecap="round"/>'


def chances(comparison: Comparison) -> str:
    """The probability that each option keeps every promise."""
    rows = [(each.name, each.probability_all, percent(each.probability_all)) for each in comparison.options]
    return _bars(say("Probability of keeping every promise", "全部兑现的概率"), rows, 1.0, GOOD)


def regrets(problem: Problem, comparison: Comparison) -> str:
    """What choosing each option is expected to lose against whichever turns out best."""
    rows = [(each.name, each.expected_regret, money(each.expected_regret, problem.currency)) for each in comparison.options]
    return _bars(say("Expected regret", "期望遗憾"), rows, max(value for _, value, _ in rows) or 1.0, BAD)


def worths(problem: Problem, comparison: Comparison) -> str:
    """What it would be worth to know each quantity, and everything, before choosing."""
    shown = comparison.uncertainties[:SHOWN_UNCERTAINTIES]
    known = [
        (say("everything", "全部"), comparison.worth_knowing_all),
        *((str(quantity_name(each.quantity)), each.worth_knowing) for each in shown),
    ]
    rows = [(name, worth, money(worth, problem.currency)) for name, worth in known]
    title = say("What knowing it before choosing is worth", "选择前弄清该量的价值")
    return _bars(title, rows, max(worth for _, worth in known) or 1.0, BLUE)


def _bars(title: str, rows: Sequence[tuple[str, float, str]], most: float, colour: str) -> str:
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
    return _framed(TOP + len(rows) * ROW, title, parts, [f"{name}: {told}" for name, _, told in rows])


def tornado(problem: Problem, comparison: Comparison) -> str:
    """How far the best option is ahead where each quantity is low (5%) and high (95%); left of the line another one is better."""
    best = comparison.best.name
    title = say(f"How far {best} is ahead: ○ where the quantity is low, ● where it is high", f"{best} 的领先程度：○ 该量偏低时，● 偏高时")
    shown = comparison.uncertainties[:SHOWN_UNCERTAINTIES]
    ends = [end for each in shown for end in (each.advantage_low, each.advantage_high)] + [0.0]
    x = _axis(ends, 6, WIDTH - 6)
    parts: list[str] = []
    for number, each in enumerate(shown):
        parts += _whisker(each, TOP + number * ROW, x)
    height = TOP + len(shown) * ROW + BOTTOM
    parts += [
        _text(x(0) - 6, height - 8, say("another better", "其他更好"), anchor="end") if x(0) > 90 else "",
        _text(x(0) + 6, height - 8, f"{best} {say('better', '更好')}") if x(0) < WIDTH - 90 else "",
        _text(WIDTH, TOP + 9, f"+{money(max(ends), problem.currency)}", anchor="end"),
    ]
    told = [
        f"{quantity_name(each.quantity)}: {money(each.advantage_low, problem.currency)} – {money(each.advantage_high, problem.currency)}"
        for each in shown
    ]
    return _framed(height, title, parts, told)


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
    return text(x, y, words, anchor=anchor, color=fill, size=SIZE, halo=halo)


def _framed(height: float, title: str, parts: Sequence[str], told: Sequence[str]) -> str:
    return framed(picture(WIDTH, height, title, parts, told="; ".join(told)), title)


def _plain(value: float) -> str:
    return figure(value, "")


def _in(unit: str) -> str:
    return f" ({unit_words(unit)})" if unit else ""
