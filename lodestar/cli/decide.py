"""Compare the strategies open to the team, and record which one is chosen.

比较团队可走的各种策略，并记录所作的选择。
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import Outcome, lodestar_command, show, venture_option
from ._metrics import check_vision, metrics_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..contracts.score import Metric
    from ..venture.decision import Comparison, Problem
    from ..venture.record import DecisionRecord
    from ..venture.venture import Venture
    from ._pilots import Budget

LEAST_DRAWS, DRAWS = 10_000, 50_000


@lodestar_command()
@venture_option
@click.option(
    "--pilot", is_flag=True,
    help=say("First try each strategy for a short while, within the budget for it.", "先在预算内对各策略做短暂试跑。"),
)  # fmt: skip
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), metavar=say("N", "分钟"),
    help=say("What the pilots may take; decision.pilot in venture.yaml by default.", "试跑时限，默认取 venture.yaml 的 decision.pilot。"),
)  # fmt: skip
@click.option(
    "--choose", metavar=say("OPTION", "方案"), help=say("Choose this option, and write the decision record.", "选定该方案，写下决策记录。")
)
@click.option("--by", metavar=say("NAME", "姓名"), help=say("Who chooses.", "由谁选定。"))
@click.option("--because", metavar=say("WHY", "理由"), help=say("Why.", "理由。"))
@click.option(
    "--forecast", "forecasts", multiple=True, metavar=say("EVENT[=P]", "事件[=概率]"),
    help=say(
        "What is expected of it: the metric of a target, which is then to be met, or any event in words, with its probability.",
        "对它的预期：某个目标的指标（即预计达到该目标），或用文字写的任一事件，后跟概率。",
    ),
)  # fmt: skip
@click.option(
    "--resolve-by", metavar=say("DATE", "日期"),
    help=say("When the forecasts are to be known; by default the target's date.", "预测见分晓的日期，默认为目标的期限。"),
)  # fmt: skip
@click.option("--verify", is_flag=True, help=say("Check that no decision was changed after it was made.", "检查历次决策是否被改动。"))
@click.option(
    "--draws", type=click.IntRange(LEAST_DRAWS), default=DRAWS, show_default=True, help=say("Simulated worlds.", "模拟的情形数。")
)
@click.option("--seed", type=int, default=0, show_default=True, help=say("Of the simulation.", "模拟的随机种子。"))
def command(
    venture: Path, pilot: bool, minutes: float | None, choose: str | None, by: str | None, because: str | None, forecasts: tuple[str, ...],
    resolve_by: str | None, verify: bool, draws: int, seed: int,
) -> None:  # fmt: skip
    from ..venture.venture import Venture

    opened = Venture.open(venture)
    if verify:
        show(*verified(opened))
        return
    if choose is None and (by or because or forecasts or resolve_by):
        raise UserError("--by, --because, --forecast and --resolve-by belong to a choice", where="decide", fix="give --choose OPTION, too")
    check_vision(opened)
    metrics = metrics_of(opened.file)
    if pilot:
        _pilot(opened, metrics, minutes)
    problem, comparison = weighed(opened, metrics, draws=draws, seed=seed)
    record = None
    if choose is not None:
        record = _choose(opened, metrics, problem, comparison, choose, by or "", because or "", forecasts, resolve_by)
    _show(opened, problem, comparison, record)


def weighed(venture: Venture, metrics: dict[str, Metric], *, draws: int, seed: int) -> tuple[Problem, Comparison]:
    """The options as the evidence has them now, simulated in the same worlds."""
    from ..venture.decision import compare
    from ..venture.problem import build_problem

    problem = build_problem(venture, metrics)
    return problem, compare(problem, draws=draws, seed=seed)


def weighed_value(problem: Problem, comparison: Comparison) -> dict[str, Any]:
    """For machines."""
    return {"problem": problem.model_dump(mode="json"), "comparison": comparison.model_dump(mode="json")}


def verified(venture: Venture) -> Outcome:
    """The decisions that were made, each held against its hash.

    Raises:
        UserError: the first one that is not what was written.
    """
    from ..venture.problem import check_reference
    from ..venture.record import verify

    records = verify(venture)
    for record in records:
        for name, evidence in record.problem.quantities.items():
            check_reference(evidence, venture, f"decision {record.number}: {name}")
    told = say(f"{len(records)} decisions, each as it was made.", f"{len(records)} 项决策，均与当时一致。")
    return Outcome({"decisions": [{"number": each.number, "choice": each.choice, "hash": each.hash} for each in records]}, told)


def _pilot(venture: Venture, metrics: dict[str, Metric], minutes: float | None) -> None:
    from ._pilots import run_pilots

    with venture.hold("decide"):
        run_pilots(venture, metrics, _budget(venture, minutes))


def _budget(venture: Venture, minutes: float | None) -> Budget:
    """The smaller of what the time and the money allow."""
    from ._pilots import Budget

    settings, file = venture.file.decision.pilot, venture.file
    limits = [] if minutes is None else [minutes * 60]
    if minutes is None and settings.allowed_minutes is not None:
        limits.append(settings.allowed_minutes * 60)
    if settings.amount is not None:
        if file.budget is None or not file.budget.per_hour:
            raise UserError(
                "decision.pilot.amount is money, and nothing says what an hour of this machine costs", where=venture.path,
                fix="write budget.per_hour, or give decision.pilot.minutes",
            )  # fmt: skip
        limits.append(settings.amount / file.budget.per_hour * 3600)
    return Budget(min(limits), settings.share)


def _choose(
    venture: Venture, metrics: dict[str, Metric], problem: Problem, comparison: Comparison, choice: str, by: str, because: str,
    forecasts: Sequence[str], resolve_by: str | None,
) -> DecisionRecord:  # fmt: skip
    """Write the record, and make venture.yaml what the option needs."""
    from ..store.files import write_atomic
    from ..venture.record import choose
    from ..venture.strategies import with_settings
    from ..venture.yaml_edit import edit_fields
    from ._forecasts import read_forecasts

    with venture.hold("decide"):
        made = read_forecasts(venture, metrics, problem, comparison, choice, by, forecasts, resolve_by)
        option = next((option for option in problem.options if option.name == choice), None)
        if option is not None:
            with_settings(venture.file, option.settings)
            text = edit_fields(venture.path.read_text("utf-8"), option.settings, where=venture.path)
        record, _ = choose(venture, problem, comparison, choice=choice, by=by, because=because, forecasts=made)
        venture.ledger.add_forecasts(made)
        if record.settings:
            write_atomic(venture.path, text)
    return record


def compare_and_choose(
    venture: Venture, choice: str, by: str, because: str, forecasts: Sequence[str], resolve_by: str | None
) -> DecisionRecord:  # fmt: skip
    """What `--choose` does, for a page: compare as things stand now, and write the record."""
    from ..venture.decision import compare
    from ..venture.problem import build_problem
    from ..venture.venture import Venture

    check_vision(venture)
    metrics = metrics_of(venture.file)
    problem = build_problem(venture, metrics)
    comparison = compare(problem, draws=DRAWS, seed=0)
    record = _choose(venture, metrics, problem, comparison, choice, by, because, forecasts, resolve_by)
    _keep(Venture.open(venture.folder), problem, comparison)
    return record


def _keep(venture: Venture, problem: Problem, comparison: Comparison) -> Path:
    """What was compared, for whoever looks later, and the page of it."""
    from ..store.files import write_atomic
    from ..venture.compared import keep
    from ..venture.decision_page import DECISION_FILE, page
    from ..venture.record import verify

    path = venture.folder / DECISION_FILE
    write_atomic(path, page(venture.file, problem, comparison, verify(venture)))
    keep(venture, problem, comparison)
    return path


def _show(venture: Venture, problem: Problem, comparison: Comparison, record: DecisionRecord | None) -> None:
    from ..venture.decision_page import text
    from ..venture.record import record_files

    path = _keep(venture, problem, comparison)
    lines = [text(venture.file, problem, comparison), say(f"Page: {path}", f"页面：{path}")]
    value = weighed_value(problem, comparison) | {"page": str(path)}
    if record is not None:
        place = record_files(venture)[-1].with_suffix(".md")
        value["record"] = {"number": record.number, "choice": record.choice, "hash": record.hash, "file": str(place)}
        changed = ", ".join(record.settings)
        lines.append(say(f"Chosen: {record.choice}. Record: {place}", f"已选定：{record.choice}。记录：{place}"))
        if changed:
            lines.append(say(f"venture.yaml has its settings now: {changed}", f"venture.yaml 已写入其设置：{changed}"))
        if record.trains:
            lines.append(say("Next: lodestar run", "下一步：lodestar run"))
    else:
        command = f"lodestar decide --choose {comparison.best.name} --by … --because … --forecast {problem.north_star} --resolve-by …"
        lines.append(say(f"To choose: {command}", f"选定：{command}"))
    show(value, "\n".join(lines))
