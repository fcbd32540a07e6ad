"""The guided interview on the page: where there is no venture yet, its questions one after another, until venture.yaml is written.

Nothing is kept between two requests: each form carries the answers that were given so far, and they are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from starlette.responses import RedirectResponse, Response

from ..contracts.errors import UserError
from ..contracts.language import say
from ..venture.interview import Interview
from ..venture.interview_words import NONE, Question
from ..venture.page import facts
from ..venture.scaffold import create
from .shell import Frame, html_response, whole


class Begin:
    """Asks, and writes.

    Args:
        interview: a new one, for a folder.
    """

    def __init__(self, folder: Path, interview: Callable[[Path], Interview]) -> None:
        self._folder, self._interview = folder, interview

    def page(self, frame: Frame) -> Response:
        """The first question."""
        return html_response(_asking(frame, self._interview(self._folder), []))

    def answer(self, frame: Frame, pairs: Sequence[tuple[str, str]]) -> Response:
        """What follows from a form: the next question, the one before, the same one with what is wrong, or a venture."""
        given = [value for name, value in pairs if name == "given"]
        form = dict(pairs)
        step, text = form.get("step", "next"), form.get("answer", "").strip()
        if step == "back":
            given = given[:-1]
        interview = self._interview(self._folder)
        try:
            interview = interview.answer_all(given)
            if step == "write" and interview.question is None:
                create(self._folder, interview.name, interview.venture(), interview.files())
                return RedirectResponse("/vision", 303)
            if step == "next" and interview.question is not None:
                # On a page, what was emptied is to be none; in a terminal an empty line takes the default.
                text = text or (NONE if interview.question.optional else "")
                interview, given = interview.answer(text), [*given, text]
        except UserError as error:
            return html_response(_asking(frame, interview, given, wrong=str(error), tried=text), 400)
        return html_response(_asking(frame, interview, given))


def _asking(frame: Frame, interview: Interview, given: Sequence[str], *, wrong: str = "", tried: str | None = None) -> str:
    heading = say("A new venture", "新项目")
    hidden = "".join(f'<input type="hidden" name="given" value="{escape(text)}">' for text in given)
    back = f'<button name="step" value="back" class="plain" formnovalidate>{say("One question back", "上一题")}</button>' if given else ""
    question = interview.question
    if question is None:
        lines = facts((str(label), text.replace("\n", say("; ", "；"))) for label, text in interview.summary())
        remarks = "".join(f"<li>{escape(str(remark))}</li>" for remark in interview.remarks())
        inner = (
            f"<h2>{say('All of it', '全部内容')}</h2>{lines}{f'<ul>{remarks}</ul>' if remarks else ''}"
            f'<p class="turn"><button name="step" value="write">{say("Write venture.yaml", "写入 venture.yaml")}</button>{back}</p>'
        )
    else:
        inner = (
            f"<h2>{escape(str(question.section))}</h2>{_control(question, question.default if tried is None else tried)}"
            f'<p class="turn"><button name="step" value="next">{say("Next", "下一题")}</button>{back}</p>'
        )
    body = f'<h1>{heading}</h1><form class="interview" method="post" action="/begin">{hidden}{inner}</form>{_so_far(interview, given)}'
    return whole(frame, heading, body, stage="vision", wrong=wrong)


def _control(question: Question, value: str) -> str:
    common = 'id="answer" name="answer" aria-describedby="help" autofocus'
    if question.kind == "choice":
        empty = f'<option value="">{say("none", "无")}</option>' if question.optional else ""
        options = "".join(
            f'<option value="{escape(name)}"{" selected" if name == value else ""}>{escape(name)}: {escape(str(words))}</option>'
            for name, words in question.choices.items()
        )
        control = f"<select {common}>{empty}{options}</select>"
    elif question.kind in ("list", "team", "sources") or len(value) > 80:
        control = f'<textarea {common} rows="3">{escape(value)}</textarea>'
    else:
        control = f'<input {common} type="{"date" if question.kind == "date" else "text"}" value="{escape(value)}">'
    label = f'<label for="answer">{escape(str(question.words))}</label>'
    return f'<p class="field">{label}{control}</p><p class="legend" id="help">{escape(str(question.help))}</p>'


def _so_far(interview: Interview, given: Sequence[str]) -> str:
    told = [(str(question.words), text) for question, text in zip(interview.asked(), given, strict=False)]
    return f"<details><summary>{say('Your answers so far', '目前的回答')}</summary>{facts(told)}</details>" if told else ""
