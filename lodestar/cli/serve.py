"""Serve a release, or any model's folder: an HTTP API that OpenAI's clients speak, and a web page.

提供服务（某次发布或任意模型目录）：OpenAI 客户端可直接调用的 HTTP 接口，以及网页。
"""

from __future__ import annotations

from pathlib import Path

import click

from ..contracts.language import say
from ._command import lodestar_command, venture_option


@lodestar_command()
@click.argument("release", required=False, metavar=say("[RELEASE_OR_FOLDER]", "[版本或目录]"))
@venture_option
@click.option("--host", default="127.0.0.1", show_default=True, help=say("The address to listen on.", "监听地址。"))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help=say("The port; 0 takes a free one.", "端口；0 表示任选空闲端口。"),
)
@click.option(
    "--adapter", "adapters", multiple=True, metavar=say("NAME=FOLDER", "名称=目录"),
    help=say("An adapter of this model, served under its own name; may be repeated.", "该模型的适配器，以自己的名称一同服务；可重复。"),
)  # fmt: skip
@click.option(
    "--index", type=click.Path(path_type=Path), metavar=say("DIR", "目录"),
    help=say(
        "What `lodestar index` made of a folder of documents: a question without a text is answered from them.",
        "`lodestar index` 为文档目录建立的索引：未附带文本的问题将从中作答。",
    ),
)  # fmt: skip
def command(release: str | None, venture: Path, host: str, port: int, adapters: tuple[str, ...], index: Path | None) -> None:
    from ..deploy.documents.library import Library
    from ..deploy.serve import serve
    from ..explain.request import answer as explainer
    from ..venture.product import find_release, verify
    from ..venture.venture import Venture
    from . import _serving
    from ._documents import open_encoder
    from ._opening import task_for

    named = _serving.named_folders(adapters)
    library = None if index is None else Library.open(index, open_encoder)
    if release is not None and (Path(release) / "config.json").is_file():
        serve(Path(release), task_for(Path(release)), host=host, port=port, library=library, explainer=explainer, adapters=named)
        return
    opened = Venture.open(venture)
    made = find_release(opened, release)
    verify(opened, made)
    folder = opened.releases / made.name
    task = _serving.task_of(folder)
    with _serving.on_record(opened, made.name) as record:
        serve(
            folder, task, host=host, port=port, library=library, explainer=explainer, on_request=record.note, answered=record.answered,
            adapters=named,
        )  # fmt: skip
