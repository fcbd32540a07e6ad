"""Talk to a model: a folder that transformers saved, a release, or an id on the hub.

与模型对话：transformers 保存的目录、某次发布，或 Hub 上的模型编号。
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import as_json, lodestar_command, show

if TYPE_CHECKING:
    from ..build.bundle import Bundle
    from ..build.chat import Conversing


@lodestar_command()
@click.argument("folder", metavar=say("FOLDER_OR_HUB_ID", "目录或编号"))
@click.option(
    "--message", "-m", metavar=say("TEXT", "文字"), help=say("Ask this once, print the answer and end.", "只问这一句，输出回答后结束。")
)
@click.option(
    "--system", metavar=say("TEXT", "文字"), help=say("What the model is told before the conversation.", "对话开始前告诉模型的话。")
)
@click.option("--max-tokens", type=click.IntRange(1), help=say("The longest answer, in tokens.", "回答最多的词元数。"))
@click.option(
    "--temperature", type=click.FloatRange(0, 2), default=0.7, show_default=True,
    help=say("0 takes the likeliest word each time; higher draws more freely.", "0 表示每次取最可能的词；越高越自由。"),
)  # fmt: skip
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help=say("Draw from the likeliest words alone.", "只从最可能的词中抽取。")
)
@click.option("--seed", type=int, help=say("Equal seeds draw equally.", "相同的种子得到相同的结果。"))
def command(
    folder: str, message: str | None, system: str | None, max_tokens: int | None, temperature: float, top_p: float | None, seed: int | None
) -> None:
    from ..build.chat import Conversing
    from ._opening import open_chat

    if as_json() and message is None:
        raise UserError("--json needs a question", fix="give it with --message")
    task, bundle = open_chat(folder)
    drawing = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    assert isinstance(task, Conversing)  # open_chat has looked
    conversation = Conversation(bundle, task, system, {name: value for name, value in drawing.items() if value is not None})
    if message is None:
        _talk(conversation, bundle)
    elif as_json():
        conversation.add(message)
        show(task.answer(bundle.model, bundle.tokenizer, conversation.request()), "")
    else:
        _say_all(conversation.ask(message))


class Conversation:
    """What was said so far, and the model that answers."""

    def __init__(self, bundle: Bundle, task: Conversing, system: str | None, drawing: dict[str, Any]) -> None:
        self.bundle, self.task, self.drawing = bundle, task, drawing
        self.messages: list[dict[str, Any]] = []
        self.begin(system)

    def begin(self, system: str | None) -> None:
        """Forget what was said."""
        self.messages = [] if system is None else [{"role": "system", "content": system}]

    def add(self, question: str) -> None:
        self.messages.append({"role": "user", "content": question})

    def request(self) -> dict[str, Any]:
        return {"messages": self.messages, **self.drawing}

    def ask(self, question: str) -> Iterator[str]:
        """The answer, piece by piece; it is part of the conversation once it is whole. A question that cannot be asked is not."""
        from ..build.chat import ChatRequest, answer_parts

        model, tokenizer = self.bundle.model, self.bundle.tokenizer
        self.add(question)
        try:
            asked = self.task.ask(model, tokenizer, ChatRequest.parse(self.request(), where="chat"))
            said = ""
            for part in answer_parts(tokenizer, asked):
                said += part.text
                yield part.text
        except BaseException:
            self.messages.pop()
            raise
        self.messages.append({"role": "assistant", "content": said})


def _talk(conversation: Conversation, bundle: Bundle) -> None:
    """Ask until the person leaves. A question that cannot be answered is told and asked anew."""
    count = sum(parameter.numel() for parameter in bundle.model.parameters())
    click.echo(
        say(
            f"{count:,} parameters, context {bundle.config.context:,} tokens. /reset begins anew, /system TEXT instructs, /exit leaves.",
            f"参数 {count:,} 个，上下文 {bundle.config.context:,} 个词元。/reset 重新开始，/system 文字 给出指示，/exit 离开。",
        ),
        err=True,
    )
    while True:
        try:
            line = click.prompt(say("you", "您"), prompt_suffix="> ", err=True).strip()
        except click.Abort:
            click.echo(err=True)
            return
        name, _, rest = line.partition(" ")
        if name in ("/exit", "/quit", "exit", "quit") and not rest:
            return
        if name in ("/reset", "/system"):
            conversation.begin(rest if name == "/system" else None)
            click.echo(say("A new conversation.", "新的对话。"), err=True)
        elif line.startswith("/"):
            click.echo(
                say(f"There is no {name}; there are /reset, /system TEXT and /exit.", f"没有 {name}；可用 /reset、/system 文字、/exit。"),
                err=True,
            )
        elif line:
            try:
                _say_all(conversation.ask(line))
            except UserError as error:
                click.echo(f"lodestar: {error}", err=True)
            except KeyboardInterrupt:
                click.echo(say(" (stopped)", "（已停止）"), err=True)


def _say_all(pieces: Iterator[str]) -> None:
    for piece in pieces:
        click.echo(piece, nl=False)
    click.echo()
