"""Prepare, train and evaluate: skip what is done, go on with what was cut off.

依次准备、训练、评估：跳过已完成的，续做被中断的。
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
    from ..contracts.progress import note
    from ..venture.execution import not_done_before
    from ..venture.product import read_scorecard
    from ..venture.venture import Venture
    from . import _steps

    opened = Venture.open(venture)
    check_vision(opened)
    for step, before in not_done_before(opened):
        note(
            say(
                f"the plan puts {before.id} ({before.owner}) before {step.id}, and it is not done.",
                f"计划中 {before.id}（{before.owner}）应先于 {step.id} 完成，但尚未完成。",
            )
        )
    with opened.hold("run"):
        steps = _steps.run_all(opened)
    lines = [
        f"{name:<10} {say('done before', '此前已完成') if step.skipped else say('done', '完成')}  {step.folder}"
        for name, step in steps.items()
    ]
    lines += [scorecard_table(read_scorecard(steps["evaluate"].folder)), say("Next: lodestar release", "下一步：lodestar release")]
    show({name: step.to_json() for name, step in steps.items()}, "\n".join(lines))
