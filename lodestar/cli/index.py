"""Index a folder of documents, so that questions about it can be asked: `lodestar ask`, `lodestar serve --index`.

为文档目录建立索引，之后即可提问：`lodestar ask`、`lodestar serve --index`。
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show

if TYPE_CHECKING:
    from ..build.bundle import Bundle
    from ..deploy.documents.indexing import Indexed


@lodestar_command()
@click.argument("folder", type=click.Path(path_type=Path), metavar=say("FOLDER", "目录"))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar=say("DIR", "目录"),
    help=say("Where the index goes; by default beside the folder, as FOLDER.index.", "索引的位置；默认在该目录旁，名为 目录.index。"),
)  # fmt: skip
@click.option(
    "--model", type=click.Path(path_type=Path), metavar=say("RELEASE", "版本目录"),
    help=say(
        "A release of the task retrieval (releases/v1): passages are then found by meaning, too. The index keeps a copy of it.",
        "retrieval 任务的某次发布（如 releases/v1）：此后也按语义查找段落；索引会保存它的副本。",
    ),
)  # fmt: skip
def command(folder: Path, out: Path | None, model: Path | None) -> None:
    from ..deploy.documents.indexing import PASSAGES, encoder_folder, index_folder
    from ..store.passages import PassageIndex
    from ._documents import open_encoder

    out = out or folder.absolute().with_name(f"{folder.absolute().name}.index")
    encoder: Bundle | None = None
    identity: str | None = None
    if model is not None:
        from ..build.opening import identity as identity_of

        encoder, identity = open_encoder(model), identity_of(model)
    elif (out / PASSAGES).is_file():
        with PassageIndex.open(out / PASSAGES) as index:
            identity = index.facts().get("encoder")
        encoder = None if identity is None else open_encoder(encoder_folder(out, identity))
    if out.exists() and any(out.iterdir()) and not (out / PASSAGES).is_file():
        raise UserError("the folder holds something that is no index", where=out, fix="choose another one with --out")
    report = index_folder(folder, out, encoder, identity=identity)
    value = {
        "index": str(out), "passages": report.passages, "added": report.added, "changed": report.changed, "removed": report.removed,
        "unchanged": len(report.unchanged), "skipped": report.skipped, "vectors": encoder is not None,
    }  # fmt: skip
    show(value, "\n".join(_lines(report, out, vectors=encoder is not None)))


def _lines(report: Indexed, out: Path, *, vectors: bool) -> list[str]:
    files = len(report.added) + len(report.changed) + len(report.unchanged)
    added, changed, removed = len(report.added), len(report.changed), len(report.removed)
    by, by_zh = ("their terms and vectors", "按词语与向量") if vectors else ("their terms", "按词语")
    lines = [say(f"skipped {name}: {why}", f"跳过 {name}：{why}") for name, why in report.skipped.items()]
    lines.append(
        say(
            f"{report.passages:,} passages of {files:,} files ({added} new, {changed} changed, {removed} removed), found by {by}",
            f"{files:,} 个文件共 {report.passages:,} 个段落（新增 {added}，更新 {changed}，移除 {removed}），{by_zh}查找",
        )
    )
    lines.append(say(f'Next: lodestar ask "QUESTION" --index {out}', f'下一步：lodestar ask "问题" --index {out}'))
    return lines
