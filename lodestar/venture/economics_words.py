"""Unit economics, for the terminal, for machines and for the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from html import escape
from typing import Any

from ..contracts.language import Words, say
from .charts import GOLD, INK, Chart, framed, picture, text
from .economics import MICROS, Economics, Estimate
from .page import table, tiles
from .words import figure

_SHARES: Mapping[str, tuple[Words, str]] = {
    "answers": (Words("answers", "有效回答"), "#3a5bbf"),
    "failed": (Words("failed requests", "失败请求"), "#b3372f"),
    "idle": (Words("waiting", "空闲"), "#c3cadb"),
    "people": (Words("people", "人力"), GOLD),
}
_BLOCKS = {86_400.0: Words("days", "天"), 3600.0: Words("hours", "小时"), 60.0: Words("minutes", "分钟")}


def economics_value(found: Economics) -> dict[str, Any]:
    """For machines; a figure that cannot be told is null."""
    return {key: _plain(value) for key, value in asdict(found).items()}


def economics_text(found: Economics) -> list[str]:
    """For the terminal."""
    money = _money(found)
    lines = [
        say(
            f"Cost: {_cents(found.machine_cents, found.currency)} for {figure(found.machine_hours, 'h')} of the machine, "
            f"{_cents(found.people_cents, found.currency)} for {figure(found.people_hours, 'h')} of people; "
            f"{_fine(found.utilisation.value)} of the machine's time was in use",
            f"开销：机器 {figure(found.machine_hours, 'h')} 共 {_cents(found.machine_cents, found.currency)}，"
            f"人力 {figure(found.people_hours, 'h')} 共 {_cents(found.people_cents, found.currency)}；"
            f"机器利用率 {_fine(found.utilisation.value)}",
        ),
        say(
            f"  an answered request: {_range(found.per_request, money)}; a million tokens: {_range(found.per_million_tokens, money)}",
            f"  每次回答：{_range(found.per_request, money)}；每百万词元：{_range(found.per_million_tokens, money)}",
        ),
    ]
    if found.margin is not None:
        lines.append("  " + say(f"margin: {_range(found.margin, _percent)}", f"毛利率：{_range(found.margin, _percent)}"))
        lines.append("  " + _break_even(found))
    return [*lines, "  " + _rests_on(found)]


def economics_html(found: Economics) -> str:
    """For the report."""
    money = _money(found)
    shown = [
        (say("an answered request", "每次回答"), money(found.per_request.value)),
        (say("a million tokens", "每百万词元"), money(found.per_million_tokens.value)),
        (say("of the machine's time in use", "机器利用率"), _fine(found.utilisation.value)),
    ]
    if found.margin is not None:
        shown.append((say("margin", "毛利率"), _percent(found.margin.value)))
    parts = [tiles(shown), _figures(found), _where_it_goes(found), _utilisation_picture(found)]
    if found.price is not None:
        parts += [f"<p>{escape(_break_even(found))}</p>", _sensitivity(found)]
    return "".join([*parts, _split(found), f'<p class="legend">{escape(_rests_on(found))}</p>'])


def _figures(found: Economics) -> str:
    money = _money(found)
    estimates = [
        (say("Cost of an answered request", "每次回答的成本"), found.per_request, money),
        (say("Cost of a million tokens", "每百万词元的成本"), found.per_million_tokens, money),
        (say("The machine's time in use", "机器利用率"), found.utilisation, _fine),
        (say("Answers in an hour without waiting", "满载时每小时回答数"), found.capacity, lambda value: figure(value, "")),
        (say("Price of an answered request", "每次回答的价格"), found.price, money),
        (say("Margin", "毛利率"), found.margin, _percent),
        (say("Answers a month to break even", "每月盈亏平衡的回答数"), found.break_even, lambda value: figure(value, "")),
    ]
    rows = [
        [escape(name), escape(show(estimate.value)), escape(_ends(estimate, show))]
        for name, estimate, show in estimates
        if estimate is not None
    ]
    return table([say("Figure", "数字"), say("Value", "值"), say("95% interval", "95% 区间")], rows, ["", "figure", ""])


def _where_it_goes(found: Economics) -> str:
    """A bar of what the money went to."""
    parts, x, total = [], 0.0, 440.0
    for place, (name, (words, color)) in enumerate(_SHARES.items()):
        share = found.shares.get(name, 0.0)
        parts.append(f'<rect x="{10 + x:.1f}" y="10" width="{total * share:.1f}" height="34" fill="{color}"/>')
        x += total * share
        column, row = place % 2, place // 2
        parts.append(f'<rect x="{10 + 220 * column}" y="{58 + 22 * row}" width="11" height="11" rx="2" fill="{color}"/>')
        parts.append(text(26 + 220 * column, 68 + 22 * row, f"{words} {share:.1%}", color=INK))
    title = say("Where the money went", "钱花在了哪里")
    return framed(picture(460, 104, title, parts), title) if found.shares else ""


def _utilisation_picture(found: Economics) -> str:
    """What an answer costs, by how much of the time the machine is in use; the price, and where it stands now."""
    # From just below where it stands, or from where most stand.
    first = min(0.05, 0.6 * found.utilisation.value)
    known = {share: each for share, each in found.at_utilisation.items() if each.value > 0 and share >= first}
    if len(known) < 2:
        return ""
    values = [end for each in known.values() for end in (each.value, each.low, each.high) if end > 0]
    values += [found.price.value] if found.price is not None and found.price.value > 0 else []
    chart = Chart(
        title=say("Cost of an answer, by how much of the time the machine is in use", "每次回答的成本与机器利用率"),
        x=say("share of the time in use", "利用率"), y=found.currency, x_range=(min(known), 1.0),
        y_range=(min(values) / 1.3, max(values) * 1.3),
        log_x=True, log_y=True,
    )  # fmt: skip
    if all(each.low > 0 for each in known.values()):
        chart.band([(u, each.low) for u, each in known.items()], [(u, each.high) for u, each in known.items()])
    chart.line([(u, each.value) for u, each in known.items()])
    if found.price is not None:
        chart.line([(min(known), found.price.value), (1.0, found.price.value)], style="promise", label=say("price", "价格"))
    chart.point(found.utilisation.value, found.per_request.value, label=say("now", "现在"), color=INK)
    return chart.html()


def _sensitivity(found: Economics) -> str:
    money = _money(found)
    assert found.price is not None
    rows = [
        [escape(money(factor * found.price.value)), f"× {factor:g}", escape(_percent(each.value)), escape(_ends(each, _percent))]
        for factor, each in found.margins.items()
    ]
    headings = [
        say("Price of an answer", "每次回答的价格"),
        say("Of today's", "相对现价"),
        say("Margin", "毛利率"),
        say("95% interval", "95% 区间"),
    ]
    return table(headings, rows, ["figure", "", "figure", ""])


def _split(found: Economics) -> str:
    """The machine's cost by release and route, to the cent."""
    rows = [
        [escape(name), escape(_micros(micros, found.currency))]
        for part in (found.by_release, found.by_route)
        for name, micros in part.items()
    ]
    rows.append([say("<b>the machine, in all</b>", "<b>机器合计</b>"), f"<b>{escape(_cents(found.machine_cents, found.currency))}</b>"])
    return table([say("Of which", "其中"), say("Cost of the machine", "机器成本")], rows, ["", "figure"])


def _break_even(found: Economics) -> str:
    assert found.break_even is not None
    count = _range(found.break_even, lambda value: figure(value, ""))
    if math.isnan(found.break_even.value):
        return say("At this price nothing is earned.", "按此价格没有收入。")
    if found.can_break_even:
        return say(f"It breaks even at {count} answered requests a month.", f"每月 {count} 次回答即可盈亏平衡。")
    return say(
        f"It would break even at {count} answered requests a month, and the machine cannot answer so many: raise the price, or serve "
        "faster.",
        f"每月需 {count} 次回答才能盈亏平衡，而机器达不到：请提高价格，或加快服务。",
    )


def _rests_on(found: Economics) -> str:
    """What was counted, and what the intervals rest on."""
    retries = say(f", {found.retries:,} repeated", f"，重试 {found.retries:,} 次") if found.retries else ""
    counted = say(
        f"{found.requests:,} requests ({found.failed:,} failed{retries}); an answered one bears its share of failures, waiting and people.",
        f"{found.requests:,} 次请求（失败 {found.failed:,} 次{retries}）；每次回答都分摊失败、空闲与人力。",
    )
    if found.block_seconds is None:
        return counted + say(
            " The time was too short for intervals: a quarter of an hour gives the first.", "时间太短，无法给出区间：至少需一刻钟。"
        )
    unit = _BLOCKS[found.block_seconds]
    return counted + say(
        f" Intervals are from resampling {found.blocks} {unit.en}: requests of one of these share their load.",
        f"区间由 {found.blocks} 个时段（每段一{unit.zh}）重抽样得出：同一时段的请求负载相关。",
    )


def _money(found: Economics) -> Callable[[float], str]:
    """Four digits that matter: an answer often costs a hundredth of a cent."""

    def shown(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:,.2f} {found.currency}" if abs(value) >= 100 else f"{value:.4g} {found.currency}"

    return shown


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"


def _fine(value: float) -> str:
    """A share that may be far below one in a hundred."""
    return "–" if math.isnan(value) else f"{100 * value:.3g}%"


def _range(estimate: Estimate, show: Callable[[float], str]) -> str:
    ends = _ends(estimate, show)
    return f"{show(estimate.value)} {ends}".rstrip()


def _ends(estimate: Estimate, show: Callable[[float], str]) -> str:
    return "" if math.isnan(estimate.low) else f"[{show(estimate.low)}, {show(estimate.high)}]"


def _cents(cents: int, currency: str) -> str:
    return f"{cents / 100:,.2f} {currency}"


def _micros(micros: int, currency: str) -> str:
    return f"{micros / MICROS:,.6f} {currency}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
