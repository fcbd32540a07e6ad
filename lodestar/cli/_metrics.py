"""The metrics that a venture's targets can be on, and the check that they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..contracts.language import Words, say

if TYPE_CHECKING:
    from ..contracts.score import Metric
    from ..venture.venture import Venture
    from ..venture.vision import VentureFile


def metrics_of(file: VentureFile) -> dict[str, Metric]:
    """Those of its task, then those of every served system, by name; raises `UserError` for an unknown task."""
    from .. import tasks
    from ..evaluate.system import SYSTEM_METRICS

    return {metric.name: metric for metric in (*tasks.find(file.task)(file.options).metrics, *SYSTEM_METRICS)}


def check_vision(venture: Venture) -> list[Words]:
    """Refuse a target that no release could ever be held to, before anything is spent on it; warn of likely slips, and return them."""
    from ..venture.vision import check

    warnings = check(venture.file, metrics_of(venture.file), where=venture.path)
    for warning in warnings:
        click.echo(say(f"warning: {warning}", f"提醒：{warning}"), err=True)
    return warnings
