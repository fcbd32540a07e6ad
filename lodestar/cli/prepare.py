"""Read the venture's data, check every record, split it, and turn it into tokens.

读取数据，检查每条记录，划分数据集，并转换为词元。
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
    with opened.hold("prepare"):
        step = _steps.prepare(opened)
    splits = step.record.facts["splits"]
    lines = [say("Prepared already." if step.skipped else "Prepared.", "数据此前已备好。" if step.skipped else "数据已备好。")]
    lines += [
        say(
            f"  {name}: {split['records']:,} records, {split['tokens']:,} tokens",
            f"  {name}：{split['records']:,} 条，{split['tokens']:,} 个词元",
        )
        for name, split in splits.items()
    ]
    lines += [
        say(f"  data card: {step.folder / 'card.md'}", f"  数据卡片：{step.folder / 'card.md'}"),
        say("Next: lodestar train", "下一步：lodestar train"),
    ]
    show(step.to_json(), "\n".join(lines))
