"""Say what this machine has, whether the ledger answers, what training the venture will take, and what serving a model takes.

检查本机资源、账本能否使用、训练本项目需要多少内存与时间，以及提供服务需要多少内存。
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option

if TYPE_CHECKING:
    from ..train.preflight import Needs


@lodestar_command()
@click.argument("model", required=False, metavar=say("[RELEASE_OR_FOLDER]", "[版本或目录]"))
@venture_option
@click.option(
    "--turns", type=click.IntRange(1), default=4, show_default=True,
    help=say("Requests that are answered by turns.", "同时轮流应答的请求数。"),
)  # fmt: skip
def command(model: str | None, venture: Path, turns: int) -> None:
    from ..contracts.machine import available_bytes, cores
    from ..venture.ledgers import look_at_ledger
    from ..venture.venture import Venture
    from ..venture.vision import VENTURE_FILE
    from ._preflight import size

    free = available_bytes()
    value: dict[str, Any] = {"machine": {"cores": cores(), "free_bytes": free}}
    known = say("unknown", "未知") if free is None else size(free)
    lines = [say(f"This machine: {cores()} cores, {known} of memory free.", f"本机：{cores()} 核，可用内存 {known}。")]
    if model is not None:
        value["serving"], told = _serving(model, venture, turns)
        lines.append(told)
    elif (venture / VENTURE_FILE).exists():
        ledger = look_at_ledger(Venture.open(venture))
        value["ledger"] = ledger.to_json()
        value["training"], told = _training(venture)
        lines += [str(ledger.words), told]
    show(value, "\n".join(lines))
    if value.get("ledger", {}).get("error"):
        click.get_current_context().exit(2)


def _training(venture: Path) -> tuple[dict[str, Any], str]:
    """What training the venture takes; raises `UserError` where it does not fit."""
    import dataclasses

    from ..venture.venture import Venture
    from . import _plan, _prefer, _reinforce, _steps
    from ._preflight import run_seconds, size

    opened = Venture.open(venture)
    plan = _plan.plan_if_prepared(opened)
    if plan is None and _plan.task_of(opened).shaped_by_data:
        return {}, say(
            "What training takes follows from the data: run `lodestar prepare`, and look again.",
            "训练所需资源取决于数据：先运行 `lodestar prepare`，再看一次。",
        )
    if plan is None:
        states = _steps.lasting(opened)
        told = say(
            f"Training lasts with {size(states.memory_bytes)} for weights, gradients and optimiser ({states.parameters:,} parameters); "
            "after `lodestar prepare`, the rest is measured.",
            f"训练至少需要 {size(states.memory_bytes)}，用于权重、梯度与优化器（参数 {states.parameters:,} 个）；"
            "运行 `lodestar prepare` 后可测出其余部分。",
        )
        return {**dataclasses.asdict(states), "at_least_bytes": states.memory_bytes}, told
    needs = _steps.preflight(opened, plan)
    value: dict[str, Any] = _told(needs) | {"seconds": run_seconds(plan.settings, needs)}
    for stage, asked, foresee in (
        ("preference", opened.file.preference, _prefer.foresee_preference), ("reward", opened.file.reward, _reinforce.foresee_rewards)
    ):  # fmt: skip
        if asked is not None:
            value[stage] = _told(foresee(opened, plan))
    return value, say("Training fits.", "训练放得下。")


def _told(needs: Needs) -> dict[str, Any]:
    import dataclasses

    return {**dataclasses.asdict(needs), "memory_bytes": needs.memory_bytes}


def _serving(model: str, venture: Path, turns: int) -> tuple[dict[str, Any], str]:
    """What serving a release or a model's folder takes."""
    from ..build.formats.folder import find_weights
    from ..build.opening import find_folder, open_config
    from ..venture.product import find_release
    from ..venture.venture import Venture
    from ._preflight import element_bytes, serving_bytes, size

    folder = Path(model)
    if not (folder / "config.json").is_file():
        if "/" in model or folder.exists():
            folder = find_folder(model)
        else:
            opened = Venture.open(venture)
            folder = opened.releases / find_release(opened, model).name
    config, files = open_config(folder), find_weights(folder)
    weights, caches = serving_bytes(files, config, turns, element_bytes(files[0]))
    told = say(
        f"Serving takes {size(weights + caches)} beside the program itself: weights {size(weights)}, "
        f"and {size(caches)} for {turns} requests at the whole context of {config.context:,} tokens.",
        f"提供服务除程序本身外需要 {size(weights + caches)}：权重 {size(weights)}，"
        f"{turns} 个请求各占满 {config.context:,} 个词元的上下文时缓存 {size(caches)}。",
    )
    return {"weights_bytes": weights, "cache_bytes": caches, "turns": turns, "context": config.context}, told
