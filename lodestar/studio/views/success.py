"""Success: what was promised against what is: use, feedback, money, forecasts, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ...contracts.clock import now
from ...contracts.language import Words, say
from ...venture.forecast_words import forecasts_html
from ...venture.measures import words_of
from ...venture.page import next_step, section
from ...venture.success import facts_value, gather
from ...venture.success_page import success_html
from ...venture.venture import Venture
from ..view import View


def body(venture: Venture, _query: Mapping[str, str]) -> str:
    """All that the report tells of what is, and what there is to do."""
    heading = f"<h1>{say('Success', '成效')}</h1>"
    if venture.evaluation() is None:
        why = say(
            "trains and evaluates the model: what is promised can be held against nothing before", "训练并评测模型：在此之前无从对照承诺"
        )
        forecasts = forecasts_html(venture.ledger.forecasts(), now().date())
        return heading + next_step("lodestar run", why) + section(say("Forecasts", "预测"), forecasts)
    facts = gather(venture, words_of(venture))
    named = f'<p class="audience">{say("Of ", "版本：")}{escape(facts.subject)}</p>'
    return heading + named + "".join(success_html(facts)) + ("" if facts.economics else _uncounted())


def _uncounted() -> str:
    why = say(
        "in venture.yaml (machine_hour, price) and a served release: what an answer costs and earns stands here then",
        "写入 venture.yaml（machine_hour、price）并对外服务后，此处会显示每次回答的成本与收入",
    )
    return section(say("What an answer costs", "回答的成本"), next_step("economics:", why))


def data(venture: Venture, _query: Mapping[str, str]) -> dict[str, Any] | None:
    """The same as figures; null before an evaluation."""
    return None if venture.evaluation() is None else facts_value(gather(venture, words_of(venture)))


VIEW = View("success", "success", Words("Success", "成效"), body, data)
