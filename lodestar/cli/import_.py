"""Take in an open checkpoint: check all of it, say what it is, and write a folder that serve and chat take.

导入开放模型：全面检查，说明其内容，并写成 serve 与 chat 可用的目录。
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show


@lodestar_command()
@click.argument("source", metavar=say("FOLDER_OR_HUB_ID", "目录或编号"))
@click.argument("destination", required=False, type=click.Path(path_type=Path), metavar=say("[DEST]", "[目标]"))
@click.option(
    "--revision", help=say("The branch, tag or commit on the hub; the newest by default.", "Hub 上的分支、标签或提交，默认最新。")
)
def command(source: str, destination: Path | None, revision: str | None) -> None:
    from ..build.bundle import save_bundle
    from ..build.formats import hub
    from ..build.formats.folder import Origin, read_fields
    from ..build.opening import is_open, open_bundle, open_config
    from ..store.files import ensure_space, link_or_copy, write_json
    from ..venture.licences import licence_of_folder
    from ._opening import task_for

    target = destination or _default_name(source)
    if target.exists():
        raise UserError("already exists", where=target, fix="name another folder: lodestar import SOURCE DEST")
    folder, commit = hub.resolve(source, revision)
    read_fields(folder)
    if not is_open(folder):
        raise UserError("this is a folder of Lodestar's already", where=folder, fix=f"use it: lodestar chat {folder}")
    open_config(folder)  # an unknown architecture is told before anything is read
    task = task_for(folder)
    bundle = open_bundle(folder, task, check=True)
    origin: Any = bundle.model.origin
    assert isinstance(origin, Origin)
    ensure_space(target, sum(parameter.nbytes for parameter in bundle.model.parameters()))
    found = Imported(
        folder=str(target), source=source, revision=commit, family=origin.family, task=task.name,
        parameters=sum(parameter.numel() for parameter in bundle.model.parameters()), context=bundle.config.context,
        vocabulary=bundle.tokenizer.vocabulary_size, licence=licence_of_folder(folder), weights_sha256=origin.weights_sha256,
    )  # fmt: skip
    save_bundle(target, bundle)
    for path in origin.kept:
        if path.name.upper().startswith(("LICEN", "NOTICE")):
            link_or_copy(path.resolve(), target / path.name)
    write_json(target / "origin.json", asdict(found))
    show(asdict(found), found.text())


@dataclass(frozen=True)
class Imported:
    """What was taken in; stays with it as origin.json."""

    folder: str
    source: str
    revision: str | None
    """The commit on the hub."""
    family: str
    task: str
    parameters: int
    context: int
    vocabulary: int
    licence: str | None
    weights_sha256: str

    def text(self) -> str:
        """The same for a person, with what to do next."""
        from ..store.files import human_bytes

        chats = self.task == "chat"
        kind = say("chat model", "对话模型") if chats else say("base model: no chat template", "基座模型：无对话模板")
        if self.task == "question-answering":
            kind = say("finds answers in texts", "在文本中找答案")
        wide, narrow = human_bytes(4 * self.parameters), human_bytes(2 * self.parameters)
        licence = self.licence or say("not stated in the folder", "目录中未说明")
        use = f"lodestar {'chat' if chats else 'serve'} {self.folder}"
        rows = [
            (say("family", "系列"), f"{self.family} ({kind})"),
            (say("parameters", "参数"), f"{self.parameters:,}"),
            (say("context", "上下文"), say(f"{self.context:,} tokens", f"{self.context:,} 个词元")),
            (say("memory", "内存"), say(f"{wide} in fp32, {narrow} in bf16", f"fp32 {wide}，bf16 {narrow}")),
            (say("licence", "许可"), licence),
            ("sha256", self.weights_sha256),
        ]
        return "\n".join(
            [
                say(
                    f"Imported {self.folder}: all weights are finite and fit the config, and the tokenizer fits the model.",
                    f"已导入 {self.folder}：权重均为有限数且与配置相符，分词器与模型相符。",
                ),
                *(f"  {name:<11} {value}" for name, value in rows),
                say(
                    f"Next: {use}; or fine-tune it in a venture with model.base: {self.folder}",
                    f"下一步：{use}；或在项目中以 model.base: {self.folder} 微调",
                ),
            ]
        )


def _default_name(source: str) -> Path:
    """The model's own name, here; with an ending where that is the source itself."""
    name = Path(source).name or "model"
    return Path(f"{name}-lodestar") if Path(name).exists() else Path(name)
