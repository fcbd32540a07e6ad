"""The decision: the options held against each other, what was chosen, and what was expected of it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ...contracts.clock import now
from ...contracts.errors import UserError
from ...contracts.language import Words, say
from ...venture.compared import last_comparison
from ...venture.decision import Comparison, Problem
from ...venture.decision_page import comparison_html, how_simulated, records_html
from ...venture.forecast_words import forecasts_html, forecasts_value
from ...venture.page import next_step, section
from ...venture.record import DecisionRecord, is_followed, read_records, verify
from ...venture.venture import Venture
from ..view import View


def body(venture: Venture, _query: Mapping[str, str]) -> str:
    """The last comparison, the records with the state of their chain, and the forecasts."""
    records = read_records(venture)
    return "".join(
        [
            f"<h1>{say('The decision', '决策')}</h1>",
            _comparison(venture, records),
            section(say("Decisions so far", "历次决策"), _records(venture, records)),
            section(say("Forecasts", "预测"), forecasts_html(venture.ledger.forecasts(), now().date()) or _no_forecast()),
        ]
    )


def _comparison(venture: Venture, records: list[DecisionRecord]) -> str:
    """The last that was made; where a newer venture.yaml or pilot was not yet taken into it, that this is so."""
    compared = last_comparison(venture)
    if compared is not None:
        stale = "" if compared.is_of(venture) else _stale()
        return _shown(compared.problem, compared.comparison, stale)
    if records:
        # As in a fresh clone, where nothing but the records is there.
        told = say(f"As it stood when decision {records[-1].number:04d} was made.", f"为决策 {records[-1].number:04d} 作出时的情况。")
        return _shown(records[-1].problem, records[-1].comparison, f'<p class="legend">{told}</p>')
    why = say(
        "compares the ways to the product, and shows here what each is likely to cost, take and reach",
        "比较各种做法，并在此显示各自的费用、时间与效果",
    )
    more = say("tries each for a few minutes first, so that less is assumed", "先各试几分钟，使假设更少")
    return next_step("lodestar decide", why) + next_step("lodestar decide --pilot", more)


def _shown(problem: Problem, comparison: Comparison, note: str) -> str:
    when = say(f"Compared on {problem.date}. ", f"比较于 {problem.date}。") + how_simulated(comparison)
    return f'{note}{"".join(comparison_html(problem, comparison))}<p class="legend">{escape(when)}</p>'


def _stale() -> str:
    return next_step(
        "lodestar decide",
        say("venture.yaml or what the pilots measured has changed since this comparison", "此次比较之后，venture.yaml 或试跑结果有变"),
    )


def _records(venture: Venture, records: list[DecisionRecord]) -> str:
    if not records:
        command = "lodestar decide --choose OPTION --by NAME --because WHY --forecast METRIC"
        return next_step(command, say("writes the choice down, with what is expected of it", "写下选择，以及对它的预期"))
    return _chain(venture, len(records)) + records_html(records) + _followed(venture, records[-1])


def _chain(venture: Venture, count: int) -> str:
    """Whether each record is what was written."""
    try:
        verify(venture)
    except UserError as error:
        return f'<p class="notice">{escape(str(error))}</p>'
    told = say(
        f"{count} in the chain, each as it was written: every record carries the hash of the one before it.",
        f"链上共 {count} 项，均与当时所写一致：每项都带有前一项的哈希。",
    )
    return f'<p><span class="kept">{say("chain whole", "链完整")}</span> {escape(told)}</p>'


def _followed(venture: Venture, record: DecisionRecord) -> str:
    if is_followed(record, venture):
        return ""
    return f'<p class="notice">{say("venture.yaml has other settings than the choice says.", "venture.yaml 的设置与所作选择不符。")}</p>'


def _no_forecast() -> str:
    command = "lodestar forecast add STATEMENT --probability P --resolve-by YYYY-MM-DD --who WHO"
    return next_step(command, say("says what you expect, to be held to it later", "写下预期，日后对照"))


def data(venture: Venture, _query: Mapping[str, str]) -> dict[str, Any]:
    """The same as figures."""
    compared = last_comparison(venture)
    return {
        "comparison": compared and {**compared.model_dump(mode="json", exclude={"basis"}), "current": compared.is_of(venture)},
        "records": [each.model_dump(mode="json", exclude={"problem", "comparison"}) for each in read_records(venture)],
        "forecasts": forecasts_value(venture.ledger.forecasts(), now().date()),
    }


VIEW = View("decision", "decision", Words("The decision", "决策"), body, data)
