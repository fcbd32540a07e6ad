"""English and Chinese side by side, where a person reads them."""

from __future__ import annotations

import locale
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]
LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
"""Of any language, not only ours: ISO 639, perhaps with a script or a region: en, cmn, zh-Hant, pt_BR, zho_Hans."""


class Words(NamedTuple):
    """The same words in both languages; `str()` of it is in the user's language."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.in_language(language())

    def in_language(self, which: Language) -> str:
        return self.zh if which == "zh" else self.en


_reader: ContextVar[Language | None] = ContextVar("reader", default=None)


@contextmanager
def read_in(which: Language) -> Iterator[None]:
    """Speak this language inside: to one reader of a server that has several."""
    token = _reader.set(which)
    try:
        yield
    finally:
        _reader.reset(token)


def language() -> Language:
    """The user's language: the reader's where one is being spoken to, else LODESTAR_LANGUAGE (en or zh), else the locale, else English."""
    if (reader := _reader.get()) is not None:
        return reader
    chosen = os.environ.get("LODESTAR_LANGUAGE") or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES")
    chosen = chosen or os.environ.get("LANG") or (locale.getlocale()[0] or "")
    return "zh" if chosen.lower().startswith(("zh", "chinese")) else "en"


def say(en: str, zh: str) -> str:
    """The one of the two that is in the user's language."""
    return str(Words(en, zh))
