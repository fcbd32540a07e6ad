"""Keep forecasts, resolve them when their day has come, and say how good they were.

记录预测，到期后核对结果，并评判预测的水平。
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import Outcome, lodestar_group, show, venture_option
from ._metrics import metrics_of

if TYPE_CHECKING:
    from ..venture.venture import Venture


@lodestar_group
@venture_option
@click.pass_context
def command(context: click.Context, venture: Path) -> None:
    if context.invoked_subcommand is None:
        _list(venture)


@command.verb()
@venture_option
def list_(venture: Path) -> None:
    """Show every forecast, what came of it, and how good they were together.

    列出全部预测、各自的结果，以及总体水平。
    """
    _list(venture)


@command.verb()
@click.argument("statement", metavar=say("STATEMENT", "预测内容"))
@venture_option
@click.option("--who", required=True, metavar=say("WHO", "姓名"), help=say("Who forecasts.", "由谁预测。"))
@click.option(
    "--resolve-by", metavar="YYYY-MM-DD", help=say("The day at whose end it is known; required.", "最迟在哪天结束时见分晓；必填。")
)
@click.option(
    "--probability",
    type=float,
    metavar="P",
    help=say("How likely the event is, strictly between 0 and 1.", "事件的概率，须在 0 与 1 之间。"),
)
@click.option("--p10", type=float, metavar="X", help=say("One time in ten, the quantity is below this.", "有一成可能低于此值。"))
@click.option("--p50", type=float, metavar="X", help=say("It is as likely below this as above.", "高于与低于此值的可能各半。"))
@click.option("--p90", type=float, metavar="X", help=say("One time in ten, it is above this.", "有一成可能高于此值。"))
@click.option(
    "--metric", default="", metavar=say("NAME", "指标"), help=say("What it is about, where it is measured.", "涉及的指标（若有测量）。")
)
@click.option("--unit", default="", metavar=say("UNIT", "单位"), help=say("The metric's unit.", "指标的单位。"))
@click.option("--at-least", type=float, metavar="X", help=say("The event is that the metric is at least this.", "事件：指标不低于此值。"))
@click.option("--at-most", type=float, metavar="X", help=say("The event is that the metric is at most this.", "事件：指标不高于此值。"))
@click.option("--id", "name", metavar=say("NAME", "名称"), help=say("Its name; f1, f2, … by default.", "名称，默认为 f1、f2……"))
def add(
    statement: str, venture: Path, who: str, resolve_by: str | None, probability: float | None, p10: float | None, p50: float | None,
    p90: float | None, metric: str, unit: str, at_least: float | None, at_most: float | None, name: str | None,
) -> None:  # fmt: skip
    """Make a forecast, of an event with --probability or of a quantity with --p10, --p50 and --p90.

    新增一项预测：事件用 --probability，数量用 --p10、--p50、--p90。
    """
    from ..contracts.clock import now
    from ..contracts.forecast import Forecast
    from ..venture.forecasts import check_forecast, next_id
    from ..venture.venture import Venture

    if resolve_by is None:
        raise UserError("a forecast without a day to resolve it by is never held to", where="--resolve-by", fix="give it as YYYY-MM-DD")
    if (given := [p10, p50, p90].count(None)) not in (0, 3):
        raise UserError(f"{3 - given} of the three quantiles are given", where="--p10, --p50, --p90", fix="give all three, or none")
    opened = Venture.open(venture)
    fields = {
        "id": name or next_id(opened.ledger.forecasts()), "statement": statement, "by": who, "made": now().date().isoformat(),
        "resolve_by": resolve_by, "probability": probability, "quantiles": None if p10 is None else {"p10": p10, "p50": p50, "p90": p90},
        "metric": metric, "unit": unit, "at_least": at_least, "at_most": at_most,
    }  # fmt: skip
    forecast = Forecast.parse(fields, where="forecast")
    check_forecast(opened, forecast, metrics_of(opened.file))
    opened.ledger.add_forecasts([forecast])
    show(
        forecast.model_dump(mode="json"),
        say(f"Forecast {forecast.id}, to be resolved by {resolve_by}.", f"预测 {forecast.id}，最迟 {resolve_by} 核对。"),
    )


@command.verb()
@click.argument("name", required=False, metavar=say("[NAME]", "[名称]"))
@venture_option
@click.option("--yes/--no", "outcome", default=None, help=say("Whether the event happened.", "事件是否发生。"))
@click.option("--value", type=float, metavar="X", help=say("What the quantity came out as.", "数量的实际值。"))
@click.option("--who", metavar=say("WHO", "姓名"), help=say("Who says so.", "由谁认定。"))
@click.option("--because", metavar=say("WHY", "依据"), help=say("On which grounds.", "依据。"))
def resolve(venture: Path, name: str | None, outcome: bool | None, value: float | None, who: str | None, because: str | None) -> None:
    """Resolve those that the ledger can tell, or one by its name, in somebody's.

    自动核对账本可判定的预测；或指定一项，由某人认定结果。
    """
    from ..contracts.clock import now
    from ..contracts.forecast import Resolution
    from ..venture.forecast_words import resolution_words
    from ..venture.forecasts import resolve_due
    from ..venture.venture import Venture

    opened = Venture.open(venture)
    today = now().date()
    if name is None:
        if (outcome, value, who, because) != (None,) * 4:
            raise UserError("which forecast is it?", where="resolve", fix="name it: lodestar forecast resolve NAME")
        resolved = resolve_due(opened, today)
    else:
        if not (who or "").strip() or not (because or "").strip():
            raise UserError("what came of a forecast is said by somebody, on some grounds", fix="give both --who and --because")
        said = {"outcome": outcome, "value": value, "when": today.isoformat(), "source": "person", "reference": f"{who}: {because}"}
        resolved = [opened.ledger.resolve_forecast(name, Resolution.parse(said, where=f"forecast {name}"))]
    lines = [f"{each.id}: {resolution_words(each)}" for each in resolved]
    nothing = say("Nothing is due that the ledger can tell.", "没有到期且账本可判定的预测。")
    show([each.model_dump(mode="json") for each in resolved], "\n".join(lines) or nothing)


def _list(folder: Path) -> None:
    from ..venture.venture import Venture

    show(*listed(Venture.open(folder)))


def listed(venture: Venture) -> Outcome:
    """Every forecast, and how good they were."""
    from ..contracts.clock import now
    from ..venture.forecast_words import forecasts_text, forecasts_value

    forecasts = venture.ledger.forecasts() if venture.has_ledger else []
    today = now().date()
    return Outcome(forecasts_value(forecasts, today), forecasts_text(forecasts, today))
