"""A decision record as a page in Markdown, in the form of MADR 4 (https://adr.github.io/madr/), in the reader's language."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..contracts.language import say
from .decision import Outlook
from .decision_words import evidence_words, money, percent, pilot_words, quantity_name, span_of_days, uncertainty_words
from .vision import VentureFile
from .words import figure, threshold

if TYPE_CHECKING:
    from .record import DecisionRecord

MOST_UNCERTAIN = 5
"""Quantities that are told of."""


def page(file: VentureFile, record: DecisionRecord, previous: DecisionRecord | None) -> str:
    """The page; `previous` is the record that it is written behind."""
    parts = [
        _head(record, previous),
        _section(say("Context and problem", "背景与问题"), [f"{file.statement}", "", *_targets(record)]),
        _section(say("Decision drivers", "决策依据"), _drivers(record)),
        _section(say("Considered options", "备选方案"), _options(record)),
        _section(say("Decision outcome", "决策结果"), _outcome(record)),
        _section(say("Forecasts", "预测"), _forecasts(record)),
        _section(say("What is uncertain, and would change the choice", "哪些尚不确定、会改变选择"), _uncertain(record)),
        _section(say("Evidence", "证据"), _evidence(record)),
    ]
    return "\n\n".join(parts) + "\n"


def _head(record: DecisionRecord, previous: DecisionRecord | None) -> str:
    lines = ["---", "status: accepted", f"date: {record.date}", f"decision-makers: {record.by}", "---", ""]
    lines.append(f"# {record.number:04d} · {record.venture}: {record.choice}")
    if previous is not None:
        lines += [
            "",
            say(
                f"Takes the place of decision {previous.number:04d} ({previous.choice}); its record's hash is `{previous.hash}`.",
                f"取代决策 {previous.number:04d}（{previous.choice}）；其记录的哈希为 `{previous.hash}`。",
            ),
        ]
    return "\n".join(lines)


def _targets(record: DecisionRecord) -> Iterable[str]:
    problem = record.problem
    yield say("The way to the product that keeps these promises:", "要选择的，是兑现下列承诺的做法：")
    yield ""
    for target in problem.targets:
        star = " ★" if target.metric == problem.north_star else ""
        due = say(f", by {target.by}", f"，期限 {target.by}") if target.by else ""
        yield f"- `{target.metric}` {threshold(target)}{due}{star}"


def _drivers(record: DecisionRecord) -> Iterable[str]:
    problem = record.problem
    worth, day = money(problem.worth, problem.currency), money(problem.per_day, problem.currency)
    yield say(f"- keeping every promise is worth {worth}", f"- 全部兑现值 {worth}")
    yield say(f"- each day until then costs {day}", f"- 在此之前每过一天损失 {day}")
    yield say(f"- it is served for {problem.months:g} months", f"- 计入 {problem.months:g} 个月的服务费用")


def _options(record: DecisionRecord) -> Iterable[str]:
    problem = record.problem
    headings = [
        say("option", "方案"), say("keeps every promise", "全部兑现"), f"`{problem.north_star}`", say("cost", "费用"),
        say("days", "天数"), say("expected regret", "期望遗憾"),
    ]  # fmt: skip
    unit = next((target.unit for target in problem.targets if target.metric == problem.north_star), "")
    rows = [_row(each, record, unit) for each in record.comparison.options]
    rows += [[each.name, each.infeasible, "", "", "", ""] for each in problem.options if each.infeasible]
    yield from _table(headings, rows)


def _row(each: Outlook, record: DecisionRecord, unit: str) -> list[str]:
    star = each.metrics[record.problem.north_star]
    name = f"**{each.name}**" if each.name == record.choice else each.name
    return [
        name,
        percent(each.probability_all),
        f"{figure(star.p50, unit)} [{figure(star.p05, unit)}, {figure(star.p95, unit)}]",
        f"{money(each.cost.p50, record.problem.currency)} [{money(each.cost.p05)}, {money(each.cost.p95)}]",
        span_of_days(each.days),
        money(each.expected_regret, record.problem.currency),
    ]


def _outcome(record: DecisionRecord) -> Iterable[str]:
    best = record.comparison.best.name
    yield say(
        f"Chosen by {record.by}: **{record.choice}**, because: {record.because}",
        f"由 {record.by} 选定：**{record.choice}**。理由：{record.because}",
    )
    yield ""
    if record.choice == best:
        yield say("It is also the option with the least expected regret.", "它也是期望遗憾最小的方案。")
    else:
        yield say(f"The least expected regret has {best}.", f"期望遗憾最小的是 {best}。")
    value = record.comparison.next_pilot
    if value is not None:
        yield ""
        yield say("Decided without this pilot, which is worth more than it costs: ", "未先做这一值得做的试跑：") + pilot_words(
            value, record.problem
        )


def _forecasts(record: DecisionRecord) -> Iterable[str]:
    for forecast in record.forecasts:
        told = percent(forecast["probability"]) if forecast["probability"] is not None else _range(forecast)
        yield say(
            f"- {forecast['statement']} ({told}; to be known by {forecast['resolve_by']}; `{forecast['id']}`)",
            f"- {forecast['statement']}（{told}；{forecast['resolve_by']} 前见分晓；`{forecast['id']}`）",
        )


def _range(forecast: dict[str, object]) -> str:
    ends = forecast["quantiles"]
    assert isinstance(ends, dict)
    return f"{ends['p50']:g} [{ends['p10']:g}, {ends['p90']:g}] {forecast['unit']}".rstrip()


def _uncertain(record: DecisionRecord) -> Iterable[str]:
    worth = money(record.comparison.worth_knowing_all, record.problem.currency)
    yield say(f"Knowing everything before choosing would be worth {worth}.", f"若选择前尽知一切，价值 {worth}。")
    yield ""
    for each in record.comparison.uncertainties[:MOST_UNCERTAIN]:
        yield f"- {uncertainty_words(each, record.problem)}"


def _evidence(record: DecisionRecord) -> Iterable[str]:
    headings = [say("quantity", "量"), say("value", "数值"), say("source", "来源"), say("date", "日期"), say("reference", "出处")]
    rows = []
    for name, evidence in sorted(record.problem.quantities.items()):
        told = evidence_words(evidence)
        digest = f" `{evidence.hash[:16]}`" if evidence.hash else ""
        rows.append([str(quantity_name(name)), told.figures, told.source, str(evidence.date), f"{evidence.reference}{digest}"])
    yield from _table(headings, rows)


def _table(headings: list[str], rows: Iterable[list[str]]) -> Iterable[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"## {title}", "", *lines])
