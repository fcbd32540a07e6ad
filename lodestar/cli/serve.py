"""Serve a release, or any model's folder: an HTTP API that OpenAI's clients speak, and a web page.

提供服务（某次发布或任意模型目录）：OpenAI 客户端可直接调用的 HTTP 接口，以及网页。
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ..contracts.progress import note
from ._command import lodestar_command, venture_option

if TYPE_CHECKING:
    from ..deploy.canary import Canary
    from ..venture.product import Release
    from ..venture.rollout import Rollout
    from ..venture.venture import Venture


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
@click.option(
    "--canary", metavar=say("RELEASE", "版本"),
    help=say(
        "A newer release to try out beside this one: it is given a share of the users, and taken back by itself where it is worse.",
        "与当前版本并行试用的新版本：分给它一部分用户，若变差则自动回退。",
    ),
)  # fmt: skip
@click.option(
    "--share", type=float, default=0.1, show_default=True, help=say("The share of users that it is given.", "分给新版本的用户比例。")
)
@click.option("--again", is_flag=True, help=say("Try a release once more that was taken back.", "再次试用已被回退的版本。"))
def command(
    release: str | None, venture: Path, host: str, port: int, adapters: tuple[str, ...], index: Path | None, canary: str | None,
    share: float, again: bool,
) -> None:  # fmt: skip
    from ..deploy.documents.library import Library
    from ..deploy.serve import serve
    from ..explain.request import answer as explainer
    from ..venture.venture import Venture
    from . import _serving
    from ._documents import open_encoder
    from ._opening import task_for

    named = _serving.named_folders(adapters)
    if canary is not None and named:
        raise UserError("an adapter is for one model, and two are served", where="--canary", fix="leave --adapter or --canary out")
    library = None if index is None else Library.open(index, open_encoder)
    if release is not None and (Path(release) / "config.json").is_file():
        if canary is not None:
            raise UserError("a folder has no ledger to compare by", where="--canary", fix="name a release of the venture in its place")
        serve(Path(release), task_for(Path(release)), host=host, port=port, library=library, explainer=explainer, adapters=named)
        return
    opened = Venture.open(venture)
    made, folder = _found(opened, release, older_than=canary)
    task = _serving.task_of(folder)
    second = None if canary is None else _try_out(opened, made, canary, share, again)
    rollout, stand_in = second or (None, None)
    with _serving.on_record(opened, made.name, rollout, stand_in) as record:
        serve(
            folder, task, host=host, port=port, library=library, explainer=explainer, on_request=record.note, answered=record.answered,
            adapters=named, canary=stand_in,
        )  # fmt: skip


def _found(venture: Venture, name: str | None, *, older_than: str | None = None) -> tuple[Release, Path]:
    """A release, read back whole, and its folder; where none is named, the newest, or the newest before another one."""
    from ..venture.product import find_release, releases, verify

    earlier = [made.name for made in releases(venture) if made.name != older_than] if name is None and older_than else []
    made = find_release(venture, earlier[-1] if earlier else name)
    verify(venture, made)
    return made, venture.releases / made.name


def _try_out(venture: Venture, current: Release, name: str, share: float, again: bool) -> tuple[Rollout, Canary]:
    """The roll-out of a release beside the current one, and what it is stopped by."""
    from ..deploy.canary import Canary
    from ..venture.rollout import open_rollout, plan_words
    from ..venture.users import user_hash
    from ._serving import task_of

    made, folder = _found(venture, name)
    rollout = open_rollout(venture, current, made, share, again=again)
    note(str(plan_words(rollout.terms)))
    # The venture's own salt makes the draw; another canary draws other users.
    return rollout, Canary(folder, task_of(folder), share, user_hash(venture, made.artefact))
