"""Check venture.yaml and write the one-page brief.

检查 venture.yaml，写出一页纸的简报。
"""

from __future__ import annotations

from pathlib import Path

import click

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option
from ._metrics import check_vision, metrics_of


@lodestar_command()
@venture_option
def command(venture: Path) -> None:
    from ..store.files import write_atomic
    from ..venture.brief import brief
    from ..venture.measurable import claims, measurable
    from ..venture.status import BRIEF_FILE
    from ..venture.venture import Venture
    from ._plan import check_shape

    opened = Venture.open(venture)
    metrics = metrics_of(opened.file)
    warnings = check_vision(opened)
    check_shape(opened)
    measurable(opened.file, metrics, where=opened.path)
    for remark in (remarks := claims(opened.file, metrics)):
        click.echo(say(f"remark: {remark}", f"建议：{remark}"), err=True)
    path = opened.folder / BRIEF_FILE
    write_atomic(path, brief(opened.file, metrics))
    count = len(opened.file.targets)
    show(
        {"venture": opened.file.name, "targets": count, "warnings": [words._asdict() for words in warnings + remarks], "brief": str(path)},
        say(
            f"The vision of {opened.file.name} holds together: {count} targets, all measurable.\nBrief: {path}\nNext: lodestar run",
            f"{opened.file.name} 的愿景成立：{count} 个目标，均可测量。\n简报：{path}\n下一步：lodestar run",
        ),
    )
