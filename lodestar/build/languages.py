"""Languages by their codes: names for prompts, and the tags that open translators know them by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..contracts.language import LANGUAGE_CODE

_KNOWN = {
    "af": ("afr", "Afrikaans"), "ar": ("arb", "Arabic"), "bg": ("bul", "Bulgarian"), "bn": ("ben", "Bengali"), "ca": ("cat", "Catalan"),
    "cs": ("ces", "Czech"), "da": ("dan", "Danish"), "de": ("deu", "German"), "el": ("ell", "Greek"), "en": ("eng", "English"),
    "es": ("spa", "Spanish"), "et": ("est", "Estonian"), "fa": ("pes", "Persian"), "fi": ("fin", "Finnish"), "fr": ("fra", "French"),
    "he": ("heb", "Hebrew"), "hi": ("hin", "Hindi"), "hr": ("hrv", "Croatian"), "hu": ("hun", "Hungarian"), "id": ("ind", "Indonesian"),
    "it": ("ita", "Italian"), "ja": ("jpn", "Japanese"), "ko": ("kor", "Korean"), "lt": ("lit", "Lithuanian"), "lv": ("lvs", "Latvian"),
    "ms": ("zsm", "Malay"), "nl": ("nld", "Dutch"), "no": ("nob", "Norwegian"), "pl": ("pol", "Polish"), "pt": ("por", "Portuguese"),
    "ro": ("ron", "Romanian"), "ru": ("rus", "Russian"), "sk": ("slk", "Slovak"), "sl": ("slv", "Slovenian"), "sr": ("srp", "Serbian"),
    "sv": ("swe", "Swedish"), "sw": ("swh", "Swahili"), "ta": ("tam", "Tamil"), "th": ("tha", "Thai"), "tr": ("tur", "Turkish"),
    "uk": ("ukr", "Ukrainian"), "ur": ("urd", "Urdu"), "vi": ("vie", "Vietnamese"), "zh": ("zho", "Chinese"),
}  # fmt: skip
"""ISO 639-1 → the code that NLLB writes, and the English name. Another code is taken as it stands."""
_RANGES = r"\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
_UNSPACED = re.compile(f"[{_RANGES}]")
_WORD = re.compile(rf"[{_RANGES}]|[^\W{_RANGES}]+|[^\w\s]")


def name_of(code: str) -> str:
    """The English name, for a prompt; the code itself where it is not known here."""
    return _KNOWN.get(_base(code), ("", code))[1]


def tags_of(code: str) -> Iterator[str]:
    """How open translators may spell a language: the code, M2M-100's __en__, mBART's en_XX, NLLB's eng_Latn (its beginning)."""
    long = _KNOWN.get(_base(code), ("", ""))[0]
    yield from (code, f"__{code}__", f"{code}_")
    if long:
        yield from (long, f"{long}_")


def find_tag(code: str, vocabulary: Iterable[str]) -> str | None:
    """The special token among `vocabulary` that is a language's tag; of several scripts the first in the alphabet (zho_Hans, not Hant)."""
    tokens = sorted(vocabulary)
    for tag in tags_of(code):
        for token in tokens:
            if token == tag or (tag.endswith("_") and token.startswith(tag) and LANGUAGE_CODE.fullmatch(token)):
                return token
    return None


def words_of(text: str) -> list[str]:
    """A text as words and signs; of Chinese and Japanese, characters."""
    return _WORD.findall(text)


def joined(words: Iterable[str]) -> str:
    """The inverse, about: blanks between words, none beside Chinese and Japanese characters or before a closing sign."""
    text = ""
    for word in words:
        close = not text or word in ".,!?;:)]}”’…%" or _UNSPACED.match(word) or _UNSPACED.match(text[-1])
        text += word if close else f" {word}"
    return text


def _base(code: str) -> str:
    return re.split("[-_]", code)[0].lower()
