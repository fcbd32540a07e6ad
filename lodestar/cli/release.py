"""Hold the latest evaluation against the targets and, if all are kept, release the model.

用目标衡量最近一次评测；全部达到，即发布模型。
"""

from __future__ import annotations

from pathlib import Path

import click

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option


@lodestar_command()
@venture_option
@click.option(
    "--override-by", metavar=say("WHO", "姓名"),
    help=say("Release in spite of failing gates, in this person's name.", "未达门槛仍予发布，以此人名义。"),
)  # fmt: skip
@click.option(
    "--because", metavar=say("WHY", "理由"), help=say("Why; it stays in the card and in every report.", "理由；会留在模型卡与每份报告中。")
)
def command(venture: Path, override_by: str | None, because: str | None) -> None:
    from ..venture.product import Override, changes_of, release
    from ..venture.venture import Venture

    opened = Venture.open(venture)
    override = None if override_by is None and because is None else Override(who=override_by or "", why=because or "")
    with opened.hold("release"):
        made, new = release(opened, override)
    folder = opened.releases / made.name
    kept = [f"  {'✓' if gate.kept else '✗'} {gate.reason()}" for gate in made.gates]
    done = (
        say(f"Released {made.name}", f"已发布 {made.name}") if new else say(f"Already released as {made.name}", f"此前已发布为 {made.name}")
    )
    changed = changes_of(opened, made)
    told = [say("Changes:", "变更："), *(f"  {words}" for words in changed)] if changed else []
    lines = [f"{done}: {folder}", *kept, *told, say("Next: lodestar serve", "下一步：lodestar serve")]
    show(
        made.model_dump(mode="json") | {"folder": str(folder), "new": new, "changes": [words._asdict() for words in changed]},
        "\n".join(lines),
    )
