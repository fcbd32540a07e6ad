"""What every command shares: help in both languages, `--json`, `--venture`.

A command's file is its whole definition. Its docstring is the help: one paragraph in English, whose first line stands in
`lodestar --help`, then one in Chinese. It names its command `command`:

    @lodestar_command()
    @venture_option
    def command(venture: Path) -> None:
        ...
        show({"the": "value"}, "the text")
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..contracts.language import Words, say

_JSON_KEY = "lodestar.json"


class Outcome(NamedTuple):
    """What a command found: the value that `--json` prints, and an assistant is told; and the text for people."""

    value: Any
    text: str


def docstring_words(docstring: str) -> Words:
    """A docstring's English paragraph and its Chinese one."""
    english, _, chinese = inspect.cleandoc(docstring).partition("\n\n")
    assert chinese, f"this docstring needs a second paragraph, in Chinese: {english!r}"
    return Words(english.strip(), chinese.strip())


class LocalizedHelp(click.Command):
    """Help whose headings, too, are in the reader's language."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), prefix=say("Usage: ", "用法："))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [row for parameter in self.get_params(ctx) if (row := parameter.get_help_record(ctx)) is not None]
        if rows:
            with formatter.section(say("Options", "选项")):
                formatter.write_dl(rows)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = say("Show this help and exit.", "显示本帮助并退出。")
        return option


def _remember_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    ctx.meta[_JSON_KEY] = value


json_option = click.Option(
    ["--json"], is_flag=True, expose_value=False, callback=_remember_json,
    help=say("Print one JSON value, for machines.", "输出一个 JSON 值，供程序读取。"),
)  # fmt: skip

venture_option = click.option(
    "--venture", type=click.Path(path_type=Path), default=Path(), metavar=say("DIR", "目录"),
    help=say("The venture's folder; the current one by default.", "项目目录，默认为当前目录。"),
)  # fmt: skip


class LocalizedGroup(LocalizedHelp, click.Group):
    """A command with verbs of its own: `@command.verb()` above a function makes it one, whose docstring is its help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(say("Commands", "命令")):
            formatter.write_dl([(name, (verb.help or "").split("\n", 1)[0]) for name, verb in sorted(self.commands.items())])

    def verb(self, **attributes: Any) -> Callable[[Callable[..., None]], LocalizedHelp]:
        """Make a function a verb of this command, under its own name."""

        def decorate(function: Callable[..., None]) -> LocalizedHelp:
            assert function.__doc__, f"{function.__name__} needs a docstring: it is the verb's help"
            words = str(docstring_words(function.__doc__))
            name = function.__name__.rstrip("_")
            made = click.command(name, cls=LocalizedHelp, help=words, options_metavar=say("[OPTIONS]", "[选项]"), **attributes)(function)
            made.params.append(json_option)
            self.add_command(made)
            return made

        return decorate


def lodestar_group(function: Callable[..., None]) -> LocalizedGroup:
    """Make a function the command of its file, as `lodestar_command` does, with verbs to come; it runs where none is given."""
    docstring = sys.modules[function.__module__].__doc__
    assert docstring, f"{function.__module__} needs a docstring: it is the command's help"
    name = function.__module__.rpartition(".")[2]
    made = click.group(
        name, cls=LocalizedGroup, help=str(docstring_words(docstring)), invoke_without_command=True,
        options_metavar=say("[OPTIONS]", "[选项]"), subcommand_metavar=say("[COMMAND]...", "[命令]..."),
    )(function)  # fmt: skip
    made.params.append(json_option)
    return made


def lodestar_command(**attributes: Any) -> Callable[[Callable[..., None]], LocalizedHelp]:
    """Make a function the command of its file: the help is the file's docstring, and `--json` is understood."""

    def decorate(function: Callable[..., None]) -> LocalizedHelp:
        docstring = sys.modules[function.__module__].__doc__
        assert docstring, f"{function.__module__} needs a docstring: it is the command's help"
        words = str(docstring_words(docstring))
        name = function.__module__.rpartition(".")[2].rstrip("_").replace("_", "-")
        made = click.command(name, cls=LocalizedHelp, help=words, options_metavar=say("[OPTIONS]", "[选项]"), **attributes)(function)
        made.params.append(json_option)
        return made

    return decorate


def as_json() -> bool:
    """Whether the running command was asked for JSON."""
    return bool(click.get_current_context().meta.get(_JSON_KEY))


def show(value: Any, text: str) -> None:
    """Print a command's outcome: the JSON value with `--json`, else the text."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) if as_json() else text)
