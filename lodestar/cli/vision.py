"""Check venture.yaml and write the one-page brief; keep the versions of the vision, with who and why.

检查 venture.yaml，写出一页纸的简报；保存愿景的各个版本，记下谁改的、为什么。
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show, venture_option
from ._metrics import check_vision, metrics_of

if TYPE_CHECKING:
    from ..venture.venture import Venture


@lodestar_command()
@venture_option
@click.option("--pdf", is_flag=True, help=say("Write the brief as PDF, too.", "同时写出 PDF 简报。"))
@click.option("--record", is_flag=True, help=say("Keep the vision as its next version.", "把愿景保存为新的一版。"))
@click.option("--by", metavar=say("NAME", "姓名"), help=say("Who records it.", "记录人。"))
@click.option("--because", metavar=say("REASON", "理由"), help=say("Why it is so, or why it was changed.", "为何如此，或为何改动。"))
@click.option(
    "--history", is_flag=True, help=say("Show every version: who, why, and what changed.", "列出各个版本：谁、为什么、改了什么。")
)
@click.option("--verify", is_flag=True, help=say("Check that no version was changed after it was recorded.", "检查各个版本是否被改动。"))
def command(venture: Path, pdf: bool, record: bool, by: str | None, because: str | None, history: bool, verify: bool) -> None:
    from ..venture.venture import Venture

    opened = Venture.open(venture)
    if (by or because) and not record:
        raise UserError("--by and --because belong to a version", where="vision", fix="give --record, too")
    if history or verify:
        if record or pdf:
            raise UserError("--record and --pdf write, --history and --verify read", where="vision", fix="give one at a time")
        _tell_history(opened) if history else _verify(opened)
        return
    _check(opened, (by or "", because or "") if record else None, pdf)


def _check(venture: Venture, recorded: tuple[str, str] | None, pdf: bool) -> None:
    """Check the vision, keep it as a version where asked to, and write the brief.

    Args:
        recorded: by whom and why; None where no version is to be kept.
        pdf: whether to print the brief, too.
    """
    from ..store.files import write_atomic
    from ..venture.brief import brief
    from ..venture.measurable import claims, measurable
    from ..venture.measures import keep_words
    from ..venture.pdf import one_page
    from ..venture.status import BRIEF_FILE
    from ..venture.vision_history import record_version, standing
    from ._plan import check_shape

    file, metrics = venture.file, metrics_of(venture.file)
    warnings = check_vision(venture)
    check_shape(venture)
    measurable(file, metrics, where=venture.path)
    for remark in (remarks := claims(file, metrics)):
        click.echo(say(f"remark: {remark}", f"建议：{remark}"), err=True)
    if recorded is not None:
        with venture.hold("vision"):
            record_version(venture, by=recorded[0], because=recorded[1])
    kept, path = standing(venture), venture.folder / BRIEF_FILE
    page = brief(file, metrics, str(kept.words))
    printed = one_page(page) if pdf else None
    write_atomic(path, page)
    keep_words(venture, metrics)
    if printed is not None:
        write_atomic(path.with_suffix(".pdf"), printed)
    count = len(file.targets)
    lines = [
        say(
            f"The vision of {file.name} holds together: {count} targets, all measurable.",
            f"{file.name} 的愿景成立：{count} 个目标，均可测量。",
        )
    ]
    if kept.version is not None:
        lines.append(say(f"Vision: {kept.words}", f"愿景：{kept.words}"))
        lines += [f"  {change}" for change in kept.changes]
    if kept.version is None or kept.changes:
        command = "lodestar vision --record --by … --because …"
        lines.append(say(f"To record it: {command}", f"记录这一版：{command}"))
    written = f"{path}, {path.with_suffix('.pdf')}" if pdf else str(path)
    lines += [say(f"Brief: {written}", f"简报：{written}"), say("Next: lodestar run", "下一步：lodestar run")]
    value = {
        "venture": file.name, "targets": count, "warnings": [words._asdict() for words in warnings + remarks], "brief": str(path),
        "pdf": str(path.with_suffix(".pdf")) if pdf else None,
        "version": kept.version.number if kept.version else None, "changes": [words._asdict() for words in kept.changes],
    }  # fmt: skip
    show(value, "\n".join(lines))


def _tell_history(venture: Venture) -> None:
    from ..venture.vision_history import history, standing, versions

    found, kept = history(versions(venture)), standing(venture)
    lines = []
    for version, changes in found:
        lines += [str(version.words), *(f"  {change}" for change in changes)]
    if not found:
        lines = [say("No version is recorded yet.", "尚未记录任何版本。")]
    elif kept.changes:
        lines += [str(kept.words), *(f"  {change}" for change in kept.changes)]
    value = {
        "versions": [
            {
                "number": version.number, "date": version.date.isoformat(), "by": version.by, "because": version.because,
                "hash": version.hash, "changes": [words._asdict() for words in changes],
            }
            for version, changes in found
        ],
        "changes": [words._asdict() for words in kept.changes],
    }  # fmt: skip
    show(value, "\n".join(lines))


def _verify(venture: Venture) -> None:
    from ..venture.vision_history import versions

    found = versions(venture)
    told = say(f"{len(found)} versions, each as it was recorded.", f"{len(found)} 个版本，均与当时一致。")
    show({"versions": [{"number": each.number, "hash": each.hash} for each in found]}, told)
