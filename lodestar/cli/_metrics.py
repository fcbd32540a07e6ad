"""The metrics that a venture's targets can be on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..contracts.score import Metric
    from ..venture.vision import VentureFile


def metrics_of(file: VentureFile) -> dict[str, Metric]:
    """Those of its task, then those of every served system, by name; raises `UserError` for an unknown task."""
    from .. import tasks
    from ..evaluate.system import SYSTEM_METRICS

    return {metric.name: metric for metric in (*tasks.find(file.task).metrics, *SYSTEM_METRICS)}
