"""`lodestar`: finds its commands by listing this folder, and imports one only when it runs."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click

from ..contracts.errors import Interrupted, UserError, unknown
from ..contracts.language import Words, say
from ._command import LocalizedHelp, docstring_words, json_option

FOLDER = Path(__file__).parent


@cache
def command_files() -> dict[str, Path]:
    """Every command's name → its file. A file of this folder is a command unless it is this one or starts with an underscore."""
    files = sorted(path for path in FOLDER.glob("[!_]*.py") if path.stem != "main")
    # A name that Python keeps for itself (`import`) has an underscore behind it.
    return {path.stem.rstrip("_").replace("_", "-"): path for path in files}


def command_words(name: str) -> Words:
    """A command's help from its file's docstring, without importing the file."""
    path = command_files()[name]
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"), filename=str(path)))
    assert docstring, f"{path} needs a docstring: it is the command's help"
    return docstring_words(docstring)


class LazyGroup(LocalizedHelp, click.Group):
    """The group of all commands; `--help` reads their docstrings and imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(command_files())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in command_files():
            return None
        command = importlib.import_module(f"{__package__}.{command_files()[cmd_name].stem}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in command_files():
            raise unknown("command", args[0], command_files())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(say("Commands", "命令")):
            formatter.write_dl([(name, str(command_words(name)).split("\n", 1)[0]) for name in self.list_commands(ctx)])


@click.group(
    cls=LazyGroup,
    help=say(
        "Lodestar: a written vision, kept all the way to a model in production.\n\n"
        "Start with `lodestar new NAME --template TASK`; `lodestar status` always says what comes next.",
        "北极星：写下愿景，一路守到模型上线。\n\n从 `lodestar new 名称 --template 任务` 开始；`lodestar status` 随时告诉您下一步做什么。",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="lodestar", message="lodestar %(version)s", help=say("Show the version and exit.", "显示版本并退出。"))
def cli() -> None:
    """The root of all commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for the user's error (one sentence on stderr), 130 when interrupted.

    A bug of ours passes through as the exception it is, so that Python prints its traceback and exits with 1.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(arguments or ["--help"], prog_name="lodestar", standalone_mode=False)
    except UserError as error:
        return _refuse(error, arguments)
    except click.ClickException as error:
        return _refuse(_as_user_error(error, arguments), arguments)
    except Interrupted as stop:
        click.echo(f"lodestar: {stop}", err=True)
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(say("lodestar: interrupted.", "lodestar：已中断。"), err=True)
        return 130
    return code if isinstance(code, int) else 0


def _refuse(error: UserError, arguments: Sequence[str]) -> int:
    if json_option.opts[0] in arguments:
        click.echo(json.dumps({"error": {"what": error.what, "where": error.where, "fix": error.fix}}, ensure_ascii=False))
    click.echo(f"lodestar: {error}", err=True)
    return 2


def _as_user_error(error: click.ClickException, arguments: Sequence[str]) -> UserError:
    """A mistake in the arguments, in the same one sentence as every other."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        options = [name for parameter in context.command.get_params(context) for name in parameter.opts] if context else []
        return unknown("option", error.option_name, [name for name in options if name.startswith("--")])
    message = error.format_message().rstrip(".")
    command = next((f" {argument}" for argument in arguments if argument in command_files()), "")
    return UserError(message[:1].lower() + message[1:], fix=f"see `lodestar{command} --help`")


if __name__ == "__main__":
    sys.exit(main())
