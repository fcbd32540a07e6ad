"""The comparison of the strategies, for the terminal and as a page for the team."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ..contracts.forecast import Forecast
from ..contracts.language import say
from .decision import Comparison, Outlook, Problem
from .decision_plots import pictures
from .decision_words import KINDS, evidence_words, money, percent, pilot_words, quantity_name, span_of_days, spread_words, uncertainty_words
from .forecast_words import said_words
from .page import SKY, bullets, document, section, table
from .vision import VentureFile
from .words import figure, length_words, threshold, unit_words

if TYPE_CHECKING:
    from .record import DecisionRecord

DECISION_FILE = "decision.html"
TOLD_UNCERTAINTIES = 5
SHOWN_HASH = 8
"""Characters of a hash: enough to hold two pages against each other."""


def text(file: VentureFile, problem: Problem, comparison: Comparison) -> str:
    """For the terminal."""
    headings = [
        say("option", "方案"), say("keeps all", "全部兑现"), problem.north_star, say("cost", "费用") + f" ({problem.currency})",
        say("days", "天数"), say("regret", "遗憾"), say("best", "最优"),
    ]  # fmt: skip
    rows = [[each.name, *_figures(each, problem)] for each in comparison.options]
    lines = [f"{file.name}: {_verdict(comparison)}", "", *_columns([headings, *rows]), ""]
    lines += [f"  ✗ {option.name}: {option.infeasible}" for option in problem.options if option.infeasible]
    lines.append(say("What matters most to know:", "最值得弄清的："))
    lines += [f"  · {uncertainty_words(each, problem)}" for each in comparison.uncertainties[:TOLD_UNCERTAINTIES]]
    lines += [_sources(problem), _next(problem, comparison)]
    return "\n".join(lines)


def _verdict(comparison: Comparison) -> str:
    best = comparison.best
    chance, first, count = percent(best.probability_all), percent(best.probability_best), len(comparison.options)
    return say(
        f"{best.name} is expected to be best: it keeps every promise with {chance}, and is the best of {count} with {first}",
        f"预计最优为 {best.name}：全部兑现的概率 {chance}，在 {count} 个方案中最优的概率 {first}",
    )


def _figures(each: Outlook, problem: Problem) -> list[str]:
    star = each.metrics[problem.north_star]
    return [
        percent(each.probability_all),
        spread_words(star, lambda value: figure(value, "")),
        spread_words(each.cost, money),
        span_of_days(each.days),
        money(each.expected_regret),
        percent(each.probability_best),
    ]


def _sources(problem: Problem) -> str:
    counts = {source: sum(each.source == source for each in problem.quantities.values()) for source in ("measured", "quoted", "assumed")}
    return say(
        f"Of {len(problem.quantities)} numbers, {counts['measured']} are measured, {counts['quoted']} quoted, {counts['assumed']} assumed.",
        f"{len(problem.quantities)} 个数中，{counts['measured']} 个实测，{counts['quoted']} 个引用，{counts['assumed']} 个假设。",
    )


def _next(problem: Problem, comparison: Comparison) -> str:
    value = comparison.next_pilot
    if value is None:
        return say("No further pilot is worth what it costs: it is time to choose.", "再做试跑已不划算：可以选定了。")
    return say("Cheapest pilot worth making: ", "最便宜且值得做的试跑：") + pilot_words(value, problem)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as columns of a terminal, where a Chinese character takes two."""

    def width(cell: str) -> int:
        return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in cell)

    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows]


# The page


def page(file: VentureFile, problem: Problem, comparison: Comparison, records: Sequence[DecisionRecord]) -> str:
    """Self-contained HTML in the reader's language; `records` are the decisions made so far, oldest first."""
    kind = say("Decision", "决策")
    body = [
        f'<h1>{escape(file.name)}</h1><p class="statement">{escape(file.statement)}</p>',
        *comparison_html(problem, comparison),
        section(say("Decisions so far", "历次决策"), records_html(records)),
    ]
    return document(f"{file.name} · {kind}", kind, problem.date.isoformat(), body, how_simulated(comparison))


def comparison_html(problem: Problem, comparison: Comparison) -> list[str]:
    """The comparison's sections (HTML)."""
    return [
        _best(problem, comparison),
        section(say("The options", "方案比较"), _options(problem, comparison)),
        f'<div class="columns">{pictures(problem, comparison)}</div>',
        section(say("Next", "下一步"), f'<p class="next">{escape(_next(problem, comparison))}</p>' + _pilots(problem, comparison)),
        section(say("What matters most to know", "最值得弄清的"), _uncertain(problem, comparison)),
        section(say("How an option is valued", "如何衡量一个方案"), bullets(_valuation(problem))),
        section(say("Evidence", "证据"), f"<p>{escape(_sources(problem))}</p>" + _evidence(problem)),
    ]


def how_simulated(comparison: Comparison) -> str:
    """What the figures were drawn from."""
    return say(
        f"{comparison.draws:,} simulated worlds, the same for every option; seed {comparison.seed}.",
        f"模拟 {comparison.draws:,} 种情形，各方案共用；随机种子 {comparison.seed}。",
    )


def _best(problem: Problem, comparison: Comparison) -> str:
    best = comparison.best
    option = next(option for option in problem.options if option.name == best.name)
    about = [str(KINDS[option.kind]), *([str(quantity_name(option.machine))] if option.machine else [])]
    chance, first, count = escape(percent(best.probability_all)), escape(percent(best.probability_best)), len(comparison.options)
    told = say(
        f"{chance} to keep every promise<br>{first} to turn out the best of {count}",
        f"全部兑现的概率 {chance}<br>在 {count} 个方案中最优的概率 {first}",
    )
    return (
        f'<section class="star">{SKY}<span class="label">{say("Expected to be best", "预计最优")}</span>'
        f'<span class="value">{escape(best.name)}<small>{escape(" · ".join(about))}</small></span>'
        f'<span class="says">{told}</span></section>'
    )


def _options(problem: Problem, comparison: Comparison) -> str:
    target = problem.north_target
    headings = [
        say("Option", "方案"), say("Keeps all", "全部兑现"), f"{problem.north_star} {threshold(target, unit_words(target.unit))}",
        say("Cost", "费用") + f" ({problem.currency})", say("Days", "天数"), say("Regret", "遗憾"), say("Best", "最优"),
    ]  # fmt: skip
    kinds = {option.name: str(KINDS[option.kind]) for option in problem.options}
    rows = []
    for each in comparison.options:
        cells = [escape(cell).replace(" [", "<small>[").replace("]", "]</small>") for cell in _figures(each, problem)]
        rows.append([f'<b>{escape(each.name)}</b><div class="says">{escape(kinds[each.name])}</div>', *cells])
    rows += [
        [f'<b>{escape(option.name)}</b><div class="says">{escape(option.infeasible)}</div>', *[""] * 6]
        for option in problem.options
        if option.infeasible
    ]  # fmt: skip
    return table(headings, rows, ["", "figure", "figure", "figure", "figure", "figure", "figure"])


def _pilots(problem: Problem, comparison: Comparison) -> str:
    """Each measurement that could be made before choosing."""
    headings = [
        say("Pilot", "试跑"), say("Takes", "用时"), say("Cost", "费用") + f" ({problem.currency})", say("Worth", "价值"),
        say("Worth less cost", "净价值"),
    ]  # fmt: skip
    rows = [
        [
            escape(each.pilot.option), length_words(3600 * each.pilot.hours), escape(money(each.pilot.cost)), escape(money(each.worth)),
            f"<b>{escape(money(each.net))}</b>" if each.net > 0 else escape(money(each.net)),
        ]
        for each in comparison.pilots
    ]  # fmt: skip
    return table(headings, rows, ["", "figure", "figure", "figure", "figure"]) if rows else ""


def _uncertain(problem: Problem, comparison: Comparison) -> str:
    everything = money(comparison.worth_knowing_all, problem.currency)
    lead = say(f"Knowing everything before choosing would be worth {everything}.", f"若选择前尽知一切，价值 {everything}。")
    told = [uncertainty_words(each, problem) for each in comparison.uncertainties[:TOLD_UNCERTAINTIES]]
    return f"<p>{escape(lead)}</p>{bullets(told)}"


def _valuation(problem: Problem) -> list[str]:
    worth, day = money(problem.worth, problem.currency), money(problem.per_day, problem.currency)
    star = problem.north_star
    return [
        say(f"Keeping every promise in time is worth {worth}.", f"按时全部兑现值 {worth}。"),
        say(
            f"Each per cent that {star} is better than promised is worth 1% of that; each per cent worse costs as much.",
            f"{star} 每优于承诺 1%，多值其 1%；每差 1%，少值同样多。",
        ),
        say(
            f"Making and serving it, for {problem.months:g} months, costs what it costs; each day until it serves costs {day}.",
            f"制作与 {problem.months:g} 个月的服务按实际费用计；上线前每过一天损失 {day}。",
        ),
    ]


def _evidence(problem: Problem) -> str:
    headings = [say("Quantity", "量"), say("Value", "数值"), say("Source", "来源"), say("Date", "日期"), say("Reference", "出处")]
    rows = []
    for name, evidence in sorted(problem.quantities.items()):
        told = evidence_words(evidence)
        figures = escape(told.figures).replace(" [", "<small>[").replace("]", "]</small>")
        rows.append([escape(str(quantity_name(name))), figures, escape(told.source), f"{evidence.date}", escape(evidence.reference)])
    return table(headings, rows, ["", "figure", "short", "short", ""])


def records_html(records: Sequence[DecisionRecord]) -> str:
    """The decisions, the newest first, each with what it was to bring, and with the beginnings of its hash and of the one before it."""
    headings = ["", say("Choice", "选择"), say("By", "决定者"), say("Because", "理由"), say("Date", "日期")]
    rows = []
    for each in reversed(records):
        chain = f"{each.hash[:SHOWN_HASH]} ← {each.previous[:SHOWN_HASH] if each.previous else say('the first', '首项')}"
        expected = "".join(f'<div class="says">{escape(_expected(forecast))}</div>' for forecast in each.forecasts)
        number = f'{each.number:04d}<div class="says"><code>{chain}</code></div>'
        rows.append([number, f"<b>{escape(each.choice)}</b>", escape(each.by), escape(each.because) + expected, f"{each.date}"])
    return table(headings, rows, ["", "", "", "", "short"]) if rows else ""


def _expected(content: Mapping[str, Any]) -> str:
    forecast = Forecast.parse(content, where="forecast")
    said = said_words(forecast)
    return say(
        f"{forecast.statement} ({said}; by {forecast.resolve_by})", f"{forecast.statement}（{said}；{forecast.resolve_by} 前见分晓）"
    )
