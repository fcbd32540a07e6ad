"""English and Chinese side by side, where a person reads them."""

from __future__ import annotations

import locale
import os
import re
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


def language() -> Language:
    """The user's language: LODESTAR_LANGUAGE (en or zh) if set, else the locale, else English."""
    chosen = os.environ.get("LODESTAR_LANGUAGE") or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES")
    chosen = chosen or os.environ.get("LANG") or (locale.getlocale()[0] or "")
    return "zh" if chosen.lower().startswith(("zh", "chinese")) else "en"


def say(en: str, zh: str) -> str:
    """The one of the two that is in the user's language."""
    return str(Words(en, zh))
