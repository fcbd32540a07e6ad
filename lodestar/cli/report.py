"""Hold the targets against what is, and write report.html.

对照目标与现实，写出 report.html。
"""

from __future__ import annotations

from pathlib import Path

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option
from ._metrics import metrics_of


@lodestar_command()
@venture_option
def command(venture: Path) -> None:
    from ..store.files import write_atomic
    from ..venture.success import REPORT_FILE, report
    from ..venture.venture import Venture

    opened = Venture.open(venture)
    made = report(opened, metrics_of(opened.file))
    path = opened.folder / REPORT_FILE
    write_atomic(path, made.html)
    show(made.value | {"report": str(path)}, f"{made.text}\n{say('Report: ', '报告：')}{path}")
