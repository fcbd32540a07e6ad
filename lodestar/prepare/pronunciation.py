"""Text → what a synthesiser reads: the letters of English and the initials, finals and tones of Chinese, with pauses between.

English is read by its letters, so that a model learns from its recordings how they sound: no dictionary of a foreign licence, and any name
can be said. Chinese is read by its pinyin (pypinyin, MIT), with the third tone, 一 and 不 changed by what follows them, as they are said.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence

from ..contracts.errors import UserError, missing_extra
from ..contracts.symbols import EDGE, GAP, PAUSES, Symbol
from .spoken_text import HAN, spoken_text

_STRENGTHS = f"{GAP},."
"""Pauses, the weakest first; a question and an exclamation pause as a full stop does."""
_SAME_PAUSE = str.maketrans({";": ",", ":": ",", '"': " ", "(": ",", ")": ",", "[": ",", "]": ",", "{": ",", "}": ",", "-": " "})
_KINDS = {**dict.fromkeys("《》〈〉「」『』【】", " "), "～": ","}
_PART = re.compile(rf"[{HAN}]+|[A-Za-z']+|[{re.escape(PAUSES)}]|\s+|.", re.DOTALL)
_ENDS = re.compile(r"(?<=[.?!。？！\n])(?![.?!。？！\d])\s*")


def pronounce(text: str) -> list[Symbol]:
    """What is said of a text, between two edges; only the edges where it says nothing.

    Raises:
        UserError: the text has a sign that is neither English nor Chinese, which nobody could say; or pypinyin is missing.
    """
    said = spoken_text(text).translate(_SAME_PAUSE)
    symbols: list[Symbol] = []
    for part in _PART.findall("".join(_KINDS.get(sign, sign) for sign in said)):
        if re.match(f"[{HAN}]", part):
            symbols += _joint(symbols) + _chinese(part)
        elif part[0].isascii() and (part[0].isalpha() or part[0] == "'"):
            symbols += _joint(symbols) + [Symbol(letter) for letter in part.lower().strip("'")]
        elif part in PAUSES:
            symbols.append(Symbol(part))
        elif part.isspace():
            symbols.append(Symbol(GAP))
        else:
            raise _unspeakable(part, text)
    return [Symbol(EDGE), *_tidied(symbols), Symbol(EDGE)]


def _joint(before: Sequence[Symbol]) -> list[Symbol]:
    """A gap between two scripts that touch."""
    return [Symbol(GAP)] if before and not before[-1].is_pause else []


def _tidied(symbols: Sequence[Symbol]) -> list[Symbol]:
    """One pause in the place of several, the strongest; none before the first sound, and no gap after the last one."""
    kept: list[Symbol] = []
    for symbol in symbols:
        if not symbol.is_pause:
            kept.append(symbol)
        elif kept and kept[-1].is_pause:
            kept[-1] = max(kept[-1], symbol, key=lambda each: f" {PAUSES}".index(each.name))
        elif kept:
            kept.append(symbol)
    return kept[:-1] if kept and kept[-1].name == GAP else kept


def _chinese(characters: str) -> list[Symbol]:
    try:
        from pypinyin import Style, lazy_pinyin
    except ImportError:
        raise missing_extra("pypinyin", "speech", why="reading Chinese aloud") from None
    syllables = lazy_pinyin(characters, style=Style.TONE3, neutral_tone_with_five=True, tone_sandhi=True, errors=lambda _: "?")
    if "?" in syllables:
        sign = next(sign for sign in characters if lazy_pinyin(sign, errors=lambda _: "?") == ["?"])
        raise _unspeakable(sign, characters)
    return [symbol for syllable in syllables for symbol in syllable_symbols(syllable)]


def syllable_symbols(syllable: str) -> list[Symbol]:
    """A syllable of pinyin with its tone as a digit → initial and final: `shi4` → SH, IR with tone 4.

    The three vowels that pinyin writes i are apart: that of si (IZ), of shi (IR), and of xi (I).
    """
    from pypinyin.contrib.tone_convert import to_finals, to_initials

    initial, final, tone = to_initials(syllable).upper(), to_finals(syllable).upper(), int(syllable[-1])
    if final == "I" and initial in ("Z", "C", "S"):
        final = "IZ"
    elif final == "I" and initial in ("ZH", "CH", "SH", "R"):
        final = "IR"
    return [*([Symbol(initial)] if initial else []), Symbol(final or "E", tone)]


def known(symbols: Sequence[Symbol], inventory: Collection[str], text: str) -> list[Symbol]:
    """The symbols as a model says them that learnt an inventory: of a pause that it never heard, the next weaker one.

    Raises:
        UserError: it never heard a sound.
    """
    said: list[Symbol] = []
    for symbol in symbols:
        name, tone = symbol
        if name in inventory:
            said.append(symbol)
            continue
        if not symbol.is_pause:
            shown = repr(name) if name.islower() else f"the {'vowel' if tone else 'consonant'} of pinyin {name.lower()!r}"
            what = f"the model never heard in its recordings how {shown} sounds, which {_shown(text)} needs"
            raise UserError(what, fix="write other words, or train it on recordings that have it")
        weaker = [each for each in _STRENGTHS[: _STRENGTHS.find(name) if name in _STRENGTHS else None] if each in inventory]
        said += [Symbol(weaker[-1])] if weaker else []
    return _tidied_end(said)


def _tidied_end(said: list[Symbol]) -> list[Symbol]:
    """Without a gap before the last edge, which no recording has."""
    return [*said[:-2], said[-1]] if len(said) > 1 and said[-2].name == GAP else said


def sentences(text: str) -> Iterator[str]:
    """The text piece by piece, each up to the end of a sentence."""
    for piece in _ENDS.split(text):
        if piece.strip():
            yield piece.strip()


def _unspeakable(sign: str, text: str) -> UserError:
    named = unicodedata.name(sign, f"U+{ord(sign):04X}").lower()
    return UserError(f"{sign!r} ({named}) in {_shown(text)} is neither English nor Chinese", fix="take it out, or write it in words")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
