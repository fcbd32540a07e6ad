"""The guided interview in a terminal, or with the answers from a pipe, one a line."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.errors import UserError, quoted
from ..contracts.language import say

if TYPE_CHECKING:
    from ..venture.interview import Interview
    from ..venture.interview_words import Question

_HELP, _BACK = ("?", "？"), ("<", "＜", "《")
_ROOM = 96
"""Columns of a line that explains."""


def hold_interview(name: str, template: str | None, folder: Path) -> Interview:
    """Ask until all is answered; what is known before is not asked. Nothing is written.

    Raises:
        UserError: what is known before cannot stand; or, without a terminal, an answer cannot, or there are too few or too many.
        click.Abort: the founder left.
    """
    from ..venture.interview import Interview
    from ._starts import load_start, starts

    load = cache(load_start)
    # Listing them imports every task: not for a choice that is made.
    found = starts() if template is None else {template: load(template).words}
    interview = Interview(found, load, folder).know(name)
    if template is not None:
        interview = interview.know(template)
    return _in_terminal(interview) if sys.stdin.isatty() else _from_lines(interview)


def _from_lines(interview: Interview) -> Interview:
    """Answers that nobody is there to correct: the first that cannot stand ends it."""
    lines = sys.stdin.read().splitlines()
    number = 0
    while (question := interview.question) is not None:
        if number == len(lines):
            raise UserError(
                f"the answers end before the question {question.key!r}: {question.words.en}", where=f"line {number + 1} of the answers",
                fix="answer it; an empty line takes the default",
            )  # fmt: skip
        try:
            interview = interview.answer(lines[number])
        except UserError as error:
            raise UserError(f"{question.key}: {str(error).rstrip('.')}", where=f"line {number + 1} of the answers") from None
        number += 1
    rest = next((line for line in lines[number:] if line.strip()), None)
    if rest is not None:
        raise UserError(f"{quoted(rest)} answers no question", where=f"line {number + 1} of the answers", fix="remove it")
    return interview


def _in_terminal(interview: Interview) -> Interview:
    """Ask, tell at once of an answer that cannot stand, and show all of it before it is written."""
    # Arrow keys move within an answer where this is loaded.
    import readline  # noqa: F401

    _tell(say("Enter takes what is in brackets; ? explains; < goes one question back; Ctrl-C leaves, and nothing is written.",
              "回车采用方括号里的内容；? 查看说明；< 回到上一题；Ctrl-C 退出，不写任何文件。"))  # fmt: skip
    heading = ""
    while True:
        question = interview.question
        if question is None:
            _show_summary(interview)
            text = _ask(say("[write it]", "[写入文件]"))
            if not text or text.lower() in ("y", "yes", "是", "好"):
                return interview
            if text in _BACK:
                interview = interview.back()
            elif text in _HELP:
                _tell(say("Enter writes the file; < goes back to change an answer.", "回车写入文件；< 返回修改。"))
            else:
                _tell(say("Enter writes it, < goes back, Ctrl-C leaves.", "回车写入，< 返回，Ctrl-C 退出。"))
            continue
        if str(question.section) != heading:
            heading = str(question.section)
            _tell(f"\n── {heading}")
        _show(question)
        interview = _answered(interview, question)


def _answered(interview: Interview, question: Question) -> Interview:
    """The interview after one answer, or after a step back."""
    while True:
        text = _ask(f"[{question.default}]" if question.default else say("[none]", "[无]") if question.optional else "")
        if text in _HELP:
            _tell(click.wrap_text(str(question.help), _ROOM, "  ", "  "))
            _list(question)
        elif text in _BACK:
            return interview.back()
        else:
            try:
                return interview.answer(text)
            except UserError as error:
                _tell(f"  ✗ {error}")


def _show(question: Question) -> None:
    _tell(f"\n{question.words}")
    if question.optional and question.choices:
        # One of several such lists: who forgot what a name means asks back.
        _tell(click.wrap_text(", ".join(question.choices), _ROOM, "  ", "  "))
    else:
        _list(question)


def _list(question: Question) -> None:
    """What can be chosen, with its numbers."""
    width = max((len(name) for name in question.choices), default=0)
    for number, (name, words) in enumerate(question.choices.items(), 1):
        _tell(f"  {number:>2}  {name:<{width}}  {words}")


def _show_summary(interview: Interview) -> None:
    _tell(f"\n── {say('All of it', '全部内容')}\n")
    for label, text in interview.summary():
        for number, line in enumerate(text.splitlines() or [say("none", "无")]):
            _tell(f"  {str(label) if not number else '':<{12 - _wide(str(label) if not number else '')}}{line}")

    for remark in interview.remarks():
        _tell(say(f"  remark: {remark}", f"  建议：{remark}"))


def _wide(text: str) -> int:
    """Columns that a text takes beyond one a character, as Chinese takes two."""
    return sum(character > "\u2e80" for character in text)


def _ask(default: str) -> str:
    """One line from the founder; what an empty one takes stands before it."""
    if default:
        _tell(f"  {default}")
    return str(click.prompt("", prompt_suffix="> ", default="", show_default=False, err=True)).strip()


def _tell(text: str) -> None:
    click.echo(text, err=True)
