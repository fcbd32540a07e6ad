"""Say which of two chat models answers better, by a judge that you name.

由你指定的评判者，判断两个对话模型中谁的回答更好。
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show

if TYPE_CHECKING:
    from ..evaluate.judge import Ask, Judgement, Pair, Preference
    from ..tasks.chat import Conversation

RECORDS = "records"


@lodestar_command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--data", required=True, metavar=say("FILE", "文件"),
    help=say(
        "Conversations whose last answer is to be given: records as the task chat reads them. A or B may be `records`: the answers there.",
        "要作答的对话：task chat 能读的记录。A 或 B 可以写 `records`，即记录中原有的回答。",
    ),
)  # fmt: skip
@click.option(
    "--judge", "judge_at", required=True, metavar=say("URL_OR_FOLDER", "地址或目录"),
    help=say("An OpenAI-compatible server, such as https://api.openai.com/v1, or the folder of a chat model.",
             "兼容 OpenAI 的服务，如 https://api.openai.com/v1，或某个对话模型的目录。"),
)  # fmt: skip
@click.option(
    "--judge-model", default="", metavar=say("NAME", "名称"), help=say("What the server calls the judge.", "服务中评判模型的名称。")
)
@click.option(
    "--key-env", metavar=say("NAME", "名称"), help=say("The environment variable that holds the server's key.", "存放密钥的环境变量名。")
)
@click.option(
    "--criteria", metavar=say("TEXT", "文字"), help=say("What makes an answer better, in your words.", "用您的话说明什么是更好的回答。")
)
@click.option(
    "--examples", type=click.IntRange(1), default=100, show_default=True, help=say("At most so many conversations.", "最多这么多段对话。")
)
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True, help=say("The longest answer.", "回答最多的词元数。"))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar=say("FILE", "文件"),
    help=say("Write every pair and what was said of it, as JSON lines.", "写出每一对回答及其评判，JSON lines 格式。"),
)  # fmt: skip
def command(
    a: str, b: str, data: str, judge_at: str, judge_model: str, key_env: str | None, criteria: str | None, examples: int, max_tokens: int,
    out: Path | None,
) -> None:  # fmt: skip
    from ..build.opening import find_folder
    from ..contracts.messages import last_answer
    from ..evaluate.judge import Pair, check_judge, judge, preference

    if a == b:
        raise UserError("A and B are the same", where="judge", fix="name two models")
    for name in (a, b):
        if name != RECORDS:
            find_folder(name)
    conversations = _read(data)[:examples]
    ask = _judge(judge_at, judge_model, key_env)
    check_judge(ask, judge_model or "judge")
    prompts = [last_answer(conversation.messages)[0] for conversation in conversations]
    answers = [
        [last_answer(one.messages)[1] for one in conversations] if name == RECORDS else _answers(name, conversations, prompts, max_tokens)
        for name in (a, b)
    ]
    pairs = [Pair(*row) for row in zip(prompts, *answers, strict=True)]
    judgements = judge(ask, judge_model or "judge", pairs, criteria)
    found = preference(pairs, judgements)
    by = f"{judge_model} at {judge_at}" if judge_model else judge_at
    if out is not None:
        _write(out, a, b, by, pairs, judgements)
    show({"a": a, "b": b, "judge": by, "criteria": criteria, **found.to_json()}, _words(found, a, b, by, out))


def _words(found: Preference, a: str, b: str, by: str, out: Path | None) -> str:
    rate, total = found.win_rate, found.wins + found.losses + found.ties
    better = {"A": a, "B": b}.get(found.verdict)
    lines = [
        say(f"{better} is better.", f"{better} 更好。") if better else say("Cannot tell which is better.", "无法判断孰优。"),
        say(
            f"  {b} wins {rate.value:.1%} of {total} pairs, between {rate.low:.1%} and {rate.high:.1%} "
            f"({found.wins} won, {found.losses} lost, {found.ties} ties, which count half)",
            f"  {b} 在 {total} 对中得分 {rate.value:.1%}，介于 {rate.low:.1%} 与 {rate.high:.1%}"
            f"（胜 {found.wins}，负 {found.losses}，平 {found.ties}，平局记一半）",
        ),
        say(f"  judge: {by}", f"  评判者：{by}"),
    ]
    if found.unread:
        lines.append(
            say(
                f"  Of {found.unread} pairs the judge said nothing that can be read; they count as ties.",
                f"  有 {found.unread} 对的评判无法读懂，按平局计。",
            )
        )
    if found.contradictions * 3 > total:
        lines.append(
            say(
                f"  In {found.contradictions} pairs the judge's choice went with the order of the answers: it hardly tells them apart.",
                f"  有 {found.contradictions} 对的评判随回答的先后而改变：这个评判者难以分辨它们。",
            )
        )
    if found.longer is not None and found.wins + found.losses >= 10 and not 0.3 <= found.longer <= 0.7:
        lines.append(
            say(
                f"  The longer answer won {found.longer:.0%} of the decided pairs: look whether it is length that is judged.",
                f"  在分出胜负的回答中，较长者胜 {found.longer:.0%}：请看看评判的是否只是长度。",
            )
        )
    if out is not None:
        lines.append(say(f"  pairs: {out}", f"  各对回答：{out}"))
    return "\n".join(lines)


def _read(data: str) -> list[Conversation]:
    """The conversations of a file or folder."""
    from ..contracts.settings import DataSettings
    from ..prepare.readers import read
    from ..prepare.records import Validator
    from ..prepare.sources import find_sources
    from ..tasks.chat import Conversation

    validator = Validator(Conversation, {})
    files = find_sources(DataSettings(sources=[data]), Path.cwd()).files
    return [validator.example(raw) for file in files for raw in read(file, {}, lone=len(files) == 1, advance=lambda _: None)]


def _judge(place: str, model: str, key_env: str | None) -> Ask:
    from ..evaluate.judge import http_judge

    if not place.startswith(("http://", "https://")):
        from ._opening import open_chat

        task, bundle = open_chat(place)
        return lambda body: str(
            task.answer(bundle.model, bundle.tokenizer, {k: v for k, v in body.items() if k != "model"})["message"]["content"]
        )
    if not model:
        raise UserError("the server needs to be told which model judges", where="judge", fix="name it with --judge-model")
    key = None
    if key_env is not None:
        key = os.environ.get(key_env)
        if not key:
            raise UserError(f"the environment variable {key_env} is not set", where="--key-env", fix="set it to the server's key")
    return http_judge(place, key)


def _answers(
    source: str, conversations: Sequence[Conversation], prompts: Sequence[Sequence[Mapping[str, Any]]], max_tokens: int
) -> list[str]:
    from ..contracts.progress import track
    from ._opening import open_chat

    task, bundle = open_chat(source)
    told = []
    for conversation, prompt in track(list(zip(conversations, prompts, strict=True)), source, say("answer", "回答")):
        tools = {"tools": conversation.tools} if conversation.tools else {}
        message = task.answer(bundle.model, bundle.tokenizer, {"messages": list(prompt), "max_tokens": max_tokens, **tools})["message"]
        told.append(str(message["content"] or message.get("tool_calls")))
    return told


def _write(out: Path, a: str, b: str, by: str, pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> None:
    import json

    from ..store.files import write_atomic

    rows = [
        {"messages": pair.messages, "a": {"model": a, "answer": pair.a}, "b": {"model": b, "answer": pair.b},
         "judge": by, "a_shown_first": one.first, "b_shown_first": one.second, "winner": one.winner}
        for pair, one in zip(pairs, judgements, strict=True)
    ]  # fmt: skip
    write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
