"""Show the venture on one page for the whole team: the five stages, each with its view, in a browser.

在一个网页上向整个团队展示项目：五个阶段，各有视图，用浏览器打开。
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show, venture_option

ROLES = ("founder", "engineer", "viewer")


@lodestar_command()
@venture_option
@click.option("--host", default="127.0.0.1", show_default=True, help=say("The address to listen on.", "监听地址。"))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8800, show_default=True,
    help=say("The port; 0 takes a free one.", "端口；0 表示任选空闲端口。"),
)  # fmt: skip
@click.option(
    "--add-user", metavar=say("NAME", "姓名"),
    help=say("Let this person log in; the password is asked for, or read from a pipe.", "添加可登录的用户；密码会另行询问，或从管道读入。"),
)  # fmt: skip
@click.option("--role", type=click.Choice(ROLES), help=say("What that person may do.", "该用户的身份。"))
@click.option("--remove-user", metavar=say("NAME", "姓名"), help=say("Let this person log in no longer.", "移除用户，其登录立即失效。"))
def command(venture: Path, host: str, port: int, add_user: str | None, role: str | None, remove_user: str | None) -> None:
    if (add_user is None) != (role is None):
        raise UserError("--add-user and --role belong together", where="studio", fix="give both: --add-user NAME --role founder")
    if add_user is not None and role is not None:
        _add_user(venture, add_user, role)
    elif remove_user is not None:
        _remove_user(venture, remove_user)
    else:
        _serve(venture, host, port)


def _add_user(folder: Path, name: str, role: str) -> None:
    from ..studio.access import add_user
    from ..venture.execution import who_am_i
    from ..venture.venture import Venture

    people = Venture.open(folder).ledger.people
    if sys.stdin.isatty():
        password = click.prompt(say("Password", "密码"), hide_input=True, confirmation_prompt=say("Once more", "再输一次"), err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    add_user(people, name, role, password, by=who_am_i())
    show({"user": name, "role": role}, say(f"{name} can log in now.", f"{name} 现在可以登录。"))


def _remove_user(folder: Path, name: str) -> None:
    from ..venture.venture import Venture

    Venture.open(folder).ledger.people.remove(name)
    show({"removed": name}, say(f"{name} can no longer log in.", f"{name} 已不能登录。"))


def _serve(folder: Path, host: str, port: int) -> None:
    from ..deploy.listening import LOOPBACK_HOSTS, Server, address_of, is_loopback, listen
    from ..studio.app import create_app
    from ._studio import ACTS, interview

    local = is_loopback(host)
    _refuse_what_is_no_venture(folder)
    if not local:
        _refuse_without_users(folder, host)
    with listen(host, port) as listener:
        app = create_app(folder, hosts=LOOPBACK_HOSTS if local else None, acts=ACTS, interview=interview)
        url = address_of(listener)
        lines = [say(f"The studio is open: {url}", f"工作室已打开：{url}")]
        if not local:
            lines.append(
                say(
                    "  passwords go as they are typed: put a proxy with TLS before it, unless the network is yours alone",
                    "  密码以明文传输：除非网络仅您一人使用，请在前面加一个 TLS 代理",
                )
            )
        lines.append(say("  close it: Ctrl+C (what runs goes on)", "  关闭：Ctrl+C（正在运行的任务会继续）"))
        server = Server(app, lambda: show({"url": url}, "\n".join(lines)))
        server.run(sockets=[listener])


def _refuse_what_is_no_venture(folder: Path) -> None:
    """A folder with a venture, or one to begin a venture in; what else stands in a folder is not ours."""
    from ..venture.venture import Venture
    from ..venture.vision import VENTURE_FILE

    if (folder / VENTURE_FILE).exists() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        Venture.open(folder)


def _refuse_without_users(folder: Path, host: str) -> None:
    from ..venture.venture import Venture

    if not Venture.open(folder).ledger.people.all():
        raise UserError(
            f"others would reach the studio at {host!r}, and nobody would have to log in", where="--host",
            fix="first let yourself in: lodestar studio --add-user NAME --role founder",
        )  # fmt: skip
