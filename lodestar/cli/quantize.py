"""Turn the evaluated model's weights into codes of 8 or 4 bits, and measure it again beside what it was.

把已评估模型的权重量化为 8 位或 4 位，并与量化前对照评估。
"""

from __future__ import annotations

from pathlib import Path

import click

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option
from ._metrics import check_vision
from ._show import scorecard_table


@lodestar_command()
@venture_option
@click.option("--bits", type=click.Choice(["8", "4"]), default="8", help=say("Bits a weight.", "每个权重的位数。"))
@click.option(
    "--group", type=int, metavar="N",
    help=say("Weights that share a scale: 128 at 8 bits, 32 at 4 where absent.", "共用一个比例的权重个数；缺省时 8 位为 128，4 位为 32。"),
)  # fmt: skip
@click.option("--head", is_flag=True, help=say("The output projection, too.", "输出层也量化。"))
def command(venture: Path, bits: str, group: int | None, head: bool) -> None:
    from ..venture.product import read_scorecard
    from ..venture.venture import Venture
    from ._quantize import quantize

    opened = Venture.open(venture)
    check_vision(opened)
    with opened.hold("quantize"):
        made, judged = quantize(opened, {"bits": int(bits), "group": group, "head": head})
    before, after = (made.record.facts["savings"][name] / 1e6 for name in ("before_bytes", "after_bytes"))
    lines = [
        say(f"Quantised to {bits} bits: {before:,.1f} MB → {after:,.1f} MB.", f"已量化为 {bits} 位：{before:,.1f} MB → {after:,.1f} MB。"),
        scorecard_table(read_scorecard(judged.folder)),
        say("Next: lodestar release, or `lodestar run` to go back", "下一步：lodestar release；或用 `lodestar run` 恢复"),
    ]
    show({"train": made.to_json(), "evaluate": judged.to_json()}, "\n".join(lines))
