"""The page around every view: the head, the flow, what may be done here, and the forms for it. Plain functions, HTML that reads without
a script."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from starlette.responses import Response

from ..contracts.clock import now
from ..contracts.language import language, say
from ..venture import page as venture_page
from ..venture.page import STAR
from ..venture.status import Status
from ..venture.venture import Venture
from .access import ROLE_WORDS, Person, refusal
from .acts import Act, Field
from .flow import flow
from .view import StageName

PAGE = Path(__file__).parent / "page"


@dataclass(frozen=True)
class Frame:
    """What a page of the studio knows beside its own content."""

    person: Person | None
    """Nobody, on the page to log in."""
    name: str
    """The venture's."""
    status: Status | None
    address: str
    """The page's own path, to come back to."""


@cache
def style() -> str:
    """One style sheet for all: the one of the venture's pages, those of its plan, and the studio's own."""
    venture = Path(venture_page.__file__)
    files = [venture.with_name("page.css"), venture.with_name("plan.css"), *sorted(PAGE.glob("*.css"))]
    return "\n".join(file.read_text("utf-8") for file in files)


@cache
def script() -> str:
    return (PAGE / "studio.js").read_text("utf-8")


@cache
def _version(text: str) -> str:
    """So that a browser keeps a file for as long as it is the same."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def whole(frame: Frame, heading: str, body: str, *, stage: StageName | None = None, said: str = "", wrong: str = "") -> str:
    """A whole page.

    Args:
        heading: of the window and of the page, plain.
        body: HTML.
        stage: the one that the page belongs to.
        said, wrong: what was just done, or why it was not; plain.
    """
    lang = "zh-CN" if language() == "zh" else "en"
    notices = _notice("said", "status", said) + _notice("notice", "alert", wrong)
    stars = flow(frame.status, stage) if frame.person else ""
    role = f" may-{frame.person.role}" if frame.person else ""
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)} · {escape(frame.name)}</title>\n"
        f'<link rel="icon" href="/icon.svg" type="image/svg+xml">\n<link rel="stylesheet" href="/studio.css?{_version(style())}">\n'
        f'<script src="/studio.js?{_version(script())}" defer></script>\n</head>\n<body class="studio{role}">\n'
        f'<a class="skip" href="#content">{say("To the content", "跳到正文")}</a>\n'
        f'<header class="sky"><div class="bar">{_mark(frame)}{_who(frame)}</div>{stars}</header>\n'
        f'<main id="content" tabindex="-1" {_script_words()}>\n{notices}{body}\n'
        f"<footer><span>{escape(frame.name)} · <time>{now():%Y-%m-%d %H:%M} UTC</time></span>"
        f"<span>{say('Made with Lodestar', '由北极星 Lodestar 生成')}</span></footer>\n</main>\n</body>\n</html>\n"
    )


def _notice(style: str, role: str, text: str) -> str:
    return f'<p class="{style}" role="{role}">{escape(text)}</p>' if text else ""


def _mark(frame: Frame) -> str:
    inner = f"{STAR}<span>{escape(frame.name)}</span>"
    return f'<a class="mark" href="/" title="{say("What to do next", "下一步做什么")}">{inner}</a>'


def _who(frame: Frame) -> str:
    """Who is here, the way out, and the other language."""
    other, code = ("English", "en") if language() == "zh" else ("中文", "zh")
    switch = f'<a href="/language/{code}?to={quote(frame.address)}" lang="{"en" if code == "en" else "zh-CN"}">{other}</a>'
    person = frame.person
    if person is None:
        return f'<nav class="who" aria-label="{say("Language", "语言")}">{switch}</nav>'
    who = f'<a href="/people">{escape(person.name)} · {escape(str(ROLE_WORDS[person.role]))}</a>'
    leave = (
        "" if person.local else f'<form method="post" action="/logout"><button class="plain">{say("Log out", "退出登录")}</button></form>'
    )
    return f'<nav class="who" aria-label="{say("You", "您")}">{who}{switch}{leave}</nav>'


def _script_words() -> str:
    """What the script says, which knows no language of its own."""
    words = {
        "save": say("Save picture", "保存图片"),
        "stale": say("The studio does not answer; what you see may be old.", "工作室没有响应，所见内容可能已过时。"),
    }
    return " ".join(f'data-{name}="{escape(text)}"' for name, text in words.items())


def html_response(page: str, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page as an answer, which no cache keeps."""
    return Response(page, code, {"Cache-Control": "no-store", **(headers or {})}, "text/html; charset=utf-8")


# Forms


def panel(act: Act, venture: Venture, person: Person, filled: Mapping[str, str] | None = None) -> str:
    """An act's form, or why this person may not do it; empty where there is nothing to do."""
    fields = act.fields(venture)
    if fields is None:
        return ""
    heading = f"<h2>{escape(str(act.heading))}</h2>"
    if not person.may(act.least):
        return f'<section class="act">{heading}<p class="may-not">{escape(refusal(person, act.least))}</p></section>'
    if act.in_view:
        return ""
    inner = "".join(_field(act, field, (filled or {}).get(field.name, field.value)) for field in fields)
    button = f"<button>{escape(str(act.button))}</button>"
    return f'<section class="act">{heading}<form method="post" action="/do/{act.name}">{inner}{button}</form></section>'


def _field(act: Act, field: Field, value: str) -> str:
    id = f"{act.name}-{field.name}"
    common = f'id="{id}" name="{escape(field.name)}"{" required" if field.required else ""}'
    if field.kind == "choice":
        options = "".join(
            f'<option value="{escape(choice)}"{" selected" if choice == value else ""}>{escape(called)}</option>'
            for choice, called in field.choices
        )
        control = f"<select {common}>{options}</select>"
    elif field.kind == "long":
        control = f'<textarea {common} rows="3">{escape(value)}</textarea>'
    elif field.kind == "password":  # never filled in by the page
        control = f'<input {common} type="password" autocomplete="{"current" if field.name in ("old", "password") else "new"}-password">'
    else:
        control = f'<input {common} type="{field.kind}" value="{escape(value)}">'
    return f'<p class="field"><label for="{id}">{escape(str(field.label))}</label>{control}</p>'


def panels(acts: Sequence[Act], venture: Venture, person: Person, place: str, tried: tuple[str, Mapping[str, str]] | None = None) -> str:
    """The forms that stand at one place; `tried` is the one that was just refused, with what it was filled in with."""
    drawn = [panel(act, venture, person, tried[1] if tried and tried[0] == act.name else None) for act in acts if act.place == place]
    # What can be done on the first view changes as a run begins and ends; its forms have no fields that somebody could be filling in.
    live = ' id="acts" data-live' if place == "overview" else ""
    return f'<div class="acts"{live}>{"".join(drawn)}</div>' if live or any(drawn) else ""


def log_in_page(frame: Frame, to: str, name: str = "", wrong: str = "") -> str:
    """The door."""
    heading = say("Log in", "登录")
    body = (
        f'<form class="door" method="post" action="/login"><h1>{heading}</h1><input type="hidden" name="to" value="{escape(to)}">'
        f'<p class="field"><label for="name">{say("Name", "姓名")}</label>'
        f'<input id="name" name="name" autocomplete="username" required autofocus value="{escape(name)}"></p>'
        f'<p class="field"><label for="password">{say("Password", "密码")}</label>'
        f'<input id="password" name="password" type="password" autocomplete="current-password" required></p>'
        f"<button>{heading}</button></form>"
    )
    return whole(frame, heading, body, wrong=wrong)
