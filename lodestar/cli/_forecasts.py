"""What somebody expects of a choice, as it is given on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import TYPE_CHECKING, Any

from ..contracts.errors import UserError, unknown
from ..contracts.language import say
from ..venture.words import threshold

if TYPE_CHECKING:
    from ..contracts.forecast import Forecast
    from ..contracts.score import Metric, Target
    from ..venture.decision import Comparison, Problem
    from ..venture.venture import Venture

NEARLY = 0.01
"""A simulated probability of none or all is told as this one, or 1 less it: a simulation cannot know the rest."""


def read_forecasts(
    venture: Venture, metrics: Mapping[str, Metric], problem: Problem, comparison: Comparison, choice: str, by: str,
    given: Sequence[str], resolve_by: str | None,
) -> list[Forecast]:  # fmt: skip
    """`METRIC`, `METRIC=P` or `WORDS=P`, each as a forecast; a target's metric without a probability takes the comparison's.

    Raises:
        UserError: no date, a probability of 0 or 1, or what is neither a target's metric nor an event with a probability.
    """
    from ..contracts.forecast import Forecast
    from ..venture.forecasts import check_forecast, next_id

    known = list(venture.ledger.forecasts()) if venture.has_ledger else []
    targets = {target.metric: target for target in problem.targets}
    chances = next((each.probability_each for each in comparison.options if each.name == choice), {})
    made: list[Forecast] = []
    for text in given:
        words, probability = _parts(text)
        target = targets.get(words)
        if target is None and probability is None:
            raise unknown("target", words, targets, where="--forecast")
        fields: dict[str, Any] = {
            "id": next_id([*known, *made]), "by": by or "-", "made": problem.date,
            "resolve_by": _last_day(target, resolve_by, words), "statement": words, "probability": probability,
        }  # fmt: skip
        if target is not None:
            fields |= _on_target(choice, target, metrics[target.metric])
            if probability is None:
                fields["probability"] = min(1 - NEARLY, max(NEARLY, round(chances.get(target.metric, 0.5), 2)))
        forecast = Forecast.parse(fields, where="--forecast")
        check_forecast(venture, forecast, metrics)
        made.append(forecast)
    return made


def _parts(text: str) -> tuple[str, float | None]:
    """The event, and its probability where one stands behind the last `=`."""
    words, equals, last = text.rpartition("=")
    if not equals:
        return text.strip(), None
    try:
        return words.strip(), float(last)
    except ValueError:
        raise UserError(f"{last!r} is no probability", where="--forecast", fix="write such as 'accuracy=0.8'") from None


def _on_target(choice: str, target: Target, metric: Metric) -> dict[str, Any]:
    told = threshold(target, metric.unit)
    statement = say(f"A release made by {choice} keeps {target.metric} {told}.", f"按 {choice} 做出的发布达到 {target.metric} {told}。")
    return {"statement": statement, "metric": target.metric, "unit": metric.unit, "at_least": target.at_least, "at_most": target.at_most}


def _last_day(target: Target | None, given: str | None, words: str) -> str:
    day = given or (target.by if target is not None else None)
    if day is None:
        raise UserError(
            f"the forecast {words!r} has no day on which it is to be known", where="--forecast",
            fix="give --resolve-by YYYY-MM-DD, or the target its date, `by`",
        )  # fmt: skip
    try:
        Date.fromisoformat(day)
    except ValueError:
        raise UserError(f"{day!r} is no date", where="--resolve-by", fix="write it as YYYY-MM-DD") from None
    return day
