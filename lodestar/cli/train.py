"""Train the model on the prepared data; a run that was cut off goes on where it stopped.

用备好的数据训练模型；中断的训练会从断点继续。
"""

from __future__ import annotations

from pathlib import Path

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option
from ._metrics import check_vision


@lodestar_command()
@venture_option
def command(venture: Path) -> None:
    from ..venture.venture import Venture
    from . import _steps

    opened = Venture.open(venture)
    check_vision(opened)
    with opened.hold("train"):
        step = _steps.train(opened)
    facts, cost = step.record.facts, step.record.cost
    lines = [
        say("Trained already." if step.skipped else "Trained.", "模型此前已训练好。" if step.skipped else "训练完成。"),
        say(
            f"  {facts['parameters']:,} parameters, {facts['tokens']:,} tokens in {cost.seconds / 60:.1f} minutes",
            f"  参数 {facts['parameters']:,} 个，词元 {facts['tokens']:,} 个，用时 {cost.seconds / 60:.1f} 分钟",
        ),
    ]
    if facts["validation_loss"] is not None:
        lines.append(say(f"  validation loss {facts['validation_loss']:.4f} nats", f"  验证损失 {facts['validation_loss']:.4f} 纳特"))
    lines += [
        say(f"  loss curve: {step.folder / 'loss.png'}", f"  损失曲线：{step.folder / 'loss.png'}"),
        say("Next: lodestar evaluate", "下一步：lodestar evaluate"),
    ]
    show(step.to_json(), "\n".join(lines))
