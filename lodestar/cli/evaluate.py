"""Measure the trained model and its baseline on held-out records, with intervals.

在留出的记录上测量模型与基线，并给出区间。
"""

from __future__ import annotations

from pathlib import Path

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option
from ._metrics import check_vision
from ._show import scorecard_table


@lodestar_command()
@venture_option
def command(venture: Path) -> None:
    from ..venture.product import read_scorecard
    from ..venture.venture import Venture
    from . import _steps

    opened = Venture.open(venture)
    check_vision(opened)
    with opened.hold("evaluate"):
        step = _steps.evaluate(opened)
    lines = [
        say("Evaluated already." if step.skipped else "Evaluated.", "此前已评估。" if step.skipped else "评估完成。"),
        scorecard_table(read_scorecard(step.folder)),
        say(f"  picture: {step.folder / 'scorecard.png'}", f"  图：{step.folder / 'scorecard.png'}"),
        say("Next: lodestar release", "下一步：lodestar release"),
    ]
    show(step.to_json(), "\n".join(lines))
