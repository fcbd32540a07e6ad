"""Let a team's own assistants read the venture, and begin runs where that is allowed, over the Model Context Protocol.

让团队自己的智能助手通过模型上下文协议（MCP）读取项目；经允许还可开始运行。
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.errors import UserError, missing_extra
from ..contracts.language import say
from ._command import lodestar_command, venture_option

if TYPE_CHECKING:
    from ._assistants import Door

PERMISSIONS = ("run", "decide")


@lodestar_command()
@venture_option
@click.option(
    "--allow", multiple=True, type=click.Choice(PERMISSIONS),
    help=say(
        "What assistants may begin, beside reading: `run`, or `decide` (its pilots), within the venture's budget; may be repeated.",
        "除读取外，允许助手开始什么：`run`，或 `decide`（其试跑），均受项目预算约束；可重复。",
    ),
)  # fmt: skip
@click.option(
    "--http", is_flag=True, help=say("Answer over HTTP, at /mcp, in place of stdio.", "改用 HTTP（路径 /mcp），而非标准输入输出。")
)
@click.option("--host", default="127.0.0.1", show_default=True, help=say("The address to listen on.", "监听地址。"))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8900, show_default=True,
    help=say("The port; 0 takes a free one.", "端口；0 表示任选空闲端口。"),
)  # fmt: skip
@click.option(
    "--name", "names", multiple=True, metavar=say("NAME", "名称"),
    help=say(
        "By which name assistants on other machines call this server (lodestar.example.org); may be repeated.",
        "其他机器上的助手以何名称访问本服务（如 lodestar.example.org）；可重复。",
    ),
)  # fmt: skip
def command(venture: Path, allow: tuple[str, ...], http: bool, host: str, port: int, names: tuple[str, ...]) -> None:
    if find_spec("mcp") is None:
        raise missing_extra("mcp", "mcp", why="an assistant's door")
    from ..venture.venture import Venture
    from ._assistants import Door

    Venture.open(venture)  # what is wrong with it is said before an assistant waits
    door = Door(venture, allow)
    if http:
        _serve_http(door, host, port, names)
        return
    from ._assistant_server import serve_stdio

    serve_stdio(door)


def _serve_http(door: Door, host: str, port: int, names: Sequence[str]) -> None:
    from ..deploy.listening import KEY_VARIABLE, LOOPBACK_HOSTS, Server, address_of, is_loopback, listen

    key = os.environ.get(KEY_VARIABLE) or None
    if not is_loopback(host) and key is None:
        raise UserError(
            "other machines may ask only with a key, and none is set", where="--host", fix=f"set the environment variable {KEY_VARIABLE}"
        )
    if is_loopback(host):
        names = [*LOOPBACK_HOSTS, *names]
    elif not names:
        if host in ("0.0.0.0", "::"):
            raise UserError(f"{host} is no name that a request could call this server by", where="--host", fix="say its name with --name")
        names = [host]
    with listen(host, port) as listener:
        from ._assistant_server import PATH, make_app

        def tell() -> None:
            click.echo(say("Assistants ask at ", "助手访问地址：") + address_of(listener) + PATH, err=True)

        app = make_app(door, api_key=key, names=[name.lower() for name in names])
        Server(app, tell).run(sockets=[listener])
