"""Sentences, as spans of the text that they stand in, and windows of whole sentences that a model can read.

The rules are those of Unicode's sentence boundaries (UAX #29) with the exceptions that words need which end in a full stop, as CLDR
gives them; no language has to be named, since a text may hold several. decisions/0004-sentence-rules.md says why no library splits.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """A part of a text: `text[start:end]`."""

    start: int
    end: int


def sentence_spans(text: str) -> list[Span]:
    """The sentences of a text, each with the white space behind it, so that they stand end to end and make the text again.

    A sentence ends at a full stop, question or exclamation mark with the quotes and brackets that it closes, or at an empty line. What
    can be doubted (a full stop behind an abbreviation, an initial, an ordinal number) does not end one: half a sentence is worse to
    read alone than two together. Takes time in proportion to the text's length, whatever is in it.
    """
    spans: list[Span] = []
    start = 0
    for match in _STOP.finditer(text):
        if match.end() < len(text) and _ends(text, start, match):
            spans.append(Span(start, match.end()))
            start = match.end()
    if start < len(text):
        spans.append(Span(start, len(text)))
    return spans


def sentences(text: str) -> list[str]:
    """As `sentence_spans`, as strings: joined, they are the text."""
    return [text[start:end] for start, end in sentence_spans(text)]


# What follows from the characters alone

_FULL = "。！？｡‼⁇⁈⁉؟۔।॥"
"""Marks that stand for nothing else: they end a sentence with no space behind them."""
_CLOSING = "\"'”’»›)]}」』）】》〉］｝〕"
_BRACKETS = {")": "(", "]": "[", "}": "{", "）": "（", "】": "【", "］": "［", "｝": "｛", "〕": "〔"}
_CJK = (
    r"\u1100-\u11ff\u2e80-\u2fff\u3040-\u30ff\u3130-\u318f\u31f0-\u4dbf\u4e00-\u9fff"
    r"\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_HAS_CJK = re.compile(f"[{_CJK}]")
# Every branch takes what it has looked at, so that nothing is looked at twice.
_STOP = re.compile(
    # „Nein.“ and « Oui. » close with signs that open elsewhere, or with a space before them: a space behind them tells.
    rf"(?P<mark>[.!?…{_FULL}]+)(?P<closing>[{re.escape(_CLOSING)}]*(?:(?:[“‘«]|[ \u00a0\u202f]»)(?=\s|\Z|,))?)(?P<space>\s*)|(?P<gap>\s+)"
)
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n|\u2029")
_NEXT = re.compile(r"[\"'“‘„«‹(\[{「『（【《〈¿¡*_#>-]{0,4}(?P<word>\w{0,24})")
_LAST = re.compile(r"[\w.’'-]{1,24}\Z")
_NEAR = 24
"""Characters before a mark that are looked at for the word that it belongs to."""
_BRACKET_REACH = 400
"""Characters before a closing bracket that its opening one is looked for in."""


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the sentence that began at `start` ends with this match; there is text behind it."""
    space = match["gap"] or match["space"] or ""
    if _EMPTY_LINE.search(space):
        return match["gap"] is None or match.start() > start
    if match["gap"] is not None:
        return False
    mark, closing, end = match["mark"], match["closing"], match.end()
    follower = text[end]
    if follower in ",，、;；:：":
        return False
    if closing and _goes_on_behind_bracket(text, start, match, closing):
        return False
    if any(sign in _FULL for sign in mark):
        # 「…。」と言った: the quoted sentence is part of one that goes on.
        return not (closing and text.startswith(("と", "って", "라고", "하고", "的"), end))
    return _half_width_ends(text, start, match, mark, closing, space)


def _goes_on_behind_bracket(text: str, start: int, match: re.Match[str], closing: str) -> bool:
    """A mark within brackets ends the sentence only where the whole sentence stands in them."""
    for sign in closing:
        opening = _BRACKETS.get(sign)
        if opening is None:
            continue
        found = text.rfind(opening, max(start, match.start() - _BRACKET_REACH), match.start())
        if found > start and text[start:found].strip():
            follower = text[match.end()]
            return not (match["space"] and (follower.isupper() or "." in text[max(start, found - 2) : found]))
    return False


def _half_width_ends(text: str, start: int, match: re.Match[str], mark: str, closing: str, space: str) -> bool:
    following = _NEXT.match(text, match.end())
    word = following["word"] if following else ""
    before = text[match.start() - 1] if match.start() > start else ""
    cjk_follows = bool(_HAS_CJK.match(word))
    ellipsis = "…" in mark or mark.startswith("..")
    if not space:
        # yahoo.com, 3.14, ?page=2; but 好吗?好 and 我来了.他走了 are two sentences.
        return cjk_follows and not ellipsis and ("." not in mark or bool(_HAS_CJK.match(before)))
    if cjk_follows:
        return not (ellipsis and _HAS_CJK.match(before)) if "." not in mark or ellipsis else not _is_short_form(text, start, match, word)
    if word[:1].islower():
        # “Really?” he asked; wait … what; but: hello! how are you
        return "." not in mark and not ellipsis and not closing
    if ellipsis or "!" in mark or "?" in mark:
        return True
    return not _is_short_form(text, start, match, word)


# What follows from words that end in a full stop


def _is_short_form(text: str, start: int, match: re.Match[str], following: str) -> bool:
    """Whether the full stop belongs to the word before it, and the sentence goes on."""
    if match["closing"] and not match["closing"].strip(")]}"):
        return False
    found = _LAST.search(text[max(start, match.start() - _NEAR) : match.start()])
    if found is None:
        return False
    last = found[0].strip("'’-")
    at_start = not text[start : match.start() - len(last)].strip(" \t\n#>*-(") if match.start() - start <= 2 * _NEAR else False
    if last.isdecimal():
        return at_start or _is_ordinal(text, start, match.start() - len(last), last, following)
    lowered = last.lower()
    if lowered in _BEFORE_NUMBERS:
        return following[:1].isdecimal()
    if lowered in _NEVER_LAST or (len(last) == 1 and last.upper() != last.lower() and following not in _STARTERS):
        return True
    if lowered in _SOMETIMES_LAST or _DOTTED.fullmatch(last):
        return following not in _STARTERS and not (lowered in _ENDINGS and following[:1].isupper())
    # IV. and a) at the beginning of a sentence number it.
    return at_start and (len(last) == 1 or bool(_ROMAN.fullmatch(last)))


_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]{1,2}")
_ROMAN = re.compile(r"[IVXLC]{1,5}|[ivxlc]{1,5}")


def _is_ordinal(text: str, start: int, place: int, number: str, following: str) -> bool:
    """German: am 3. Oktober, der 2. Versuch."""
    if len(number) > 2:
        return False
    words = text[max(start, place - _NEAR) : place].split()
    return following in _MONTHS or bool(words and words[-1].lower() in _BEFORE_ORDINALS)


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_NEVER_LAST = _words(
    """mr mrs ms messrs mx dr prof vs viz cf eg ie e.g i.e c.f approx resp incl excl bzgl bzw d.h z.b u.a z.t u.u i.d.r o.ä v.a s.o s.u vgl
    evtl ggf inkl exkl zzgl hr fr frl dipl prof.dr sog bspw i.a m.e m.w z.hd"""
)
"""English and German words whose full stop says nothing of the sentence (CLDR's suppressions, and what was met)."""
_BEFORE_NUMBERS = _words(
    """no nos vol vols pp fig figs eq eqs sec ch chap ed eds art abb abs aufl bd bde nr str tel max min ca jan feb mar apr jun jul aug sept
    sep oct nov dec mon tue tues wed thu thurs fri sat sun"""
)
"""Those that are words, too, and short forms before a number alone."""
_ENDINGS = _words("etc usw inc ltd co corp bros jr sr a.m p.m u.s.w usf dgl et.al al dept est")
"""Words with a full stop that often are a sentence's last: it ends where a capital follows."""
_SOMETIMES_LAST = _ENDINGS | _words(
    """u.s u.k u.n e.u ph.d m.d b.a m.a d.c n.y ave blvd rd univ assn st mt ft rev hon gen col lt maj capt cmdr sgt gov sen rep pres geb
    gest hl ing ungef u.ä"""
)
"""Words with a full stop that a sentence goes on behind, unless a word follows that begins one."""
_STARTERS = _words(
    """The This That These Those He She It We They You I But And So In On At When If As After Before There Then However What Why How Who
    Where A An Its His Her Their Our My Your No Not Yes For From With To Now Here Some Many Most Der Die Das Ein Eine Er Sie Es Wir Ihr
    Ich Aber Und Dann Dort Dies Diese Dieser Dieses Im In Am Auf Bei Nach Wenn Als Doch"""
)
"""Words that, capitalised behind a doubtful full stop, begin a sentence."""
_MONTHS = _words(
    """Januar Jänner Februar März April Mai Juni Juli August September Oktober November Dezember Jan Feb Mrz Apr Jun Jul Aug Sep Sept Okt
    Nov Dez Jahrhundert Jh Jahrhunderts Klasse Weltkrieg Weltkriegs Auflage Kapitel Stock"""
)
_BEFORE_ORDINALS = _words("am der die das dem den des vom zum zur im beim bis seit ab jeder jeden jede ersten")


# Windows


def windows(text: str, fits: Callable[[str], bool]) -> list[Span]:
    """Spans of whole sentences, as many in each as a model can read at once; end to end they are the text.

    A sentence that alone is too long is cut in halves near its middle until they fit: at a comma or the like, else at a space, else
    anywhere.

    Args:
        fits: whether a text can be read at once; of parts of a text that fits, each does, too. It is asked about every window and of
            about twice its text besides.

    Raises:
        ValueError: one character alone is too long.
    """
    parts = [part for span in sentence_spans(text) for part in _fitting(text, span, fits)]
    return _filled(text, parts, fits)


def cut_to_fit(text: str, fits: Callable[[str], bool]) -> list[Span]:
    """A text in as many parts as it takes for each to fit, cut as a sentence of `windows` is."""
    return _fitting(text, Span(0, len(text)), fits) if text else []


def _filled(text: str, parts: Sequence[Span], fits: Callable[[str], bool]) -> list[Span]:
    """As many neighbours together as fit."""
    found: list[Span] = []
    first = 0
    while first < len(parts):
        # As many parts as fit: doubled until they do not, then halved in between.
        step, last = 1, first
        while last + step < len(parts) and fits(text[parts[first].start : parts[last + step].end]):
            last, step = last + step, 2 * step
        while step > 1:
            step //= 2
            if last + step < len(parts) and fits(text[parts[first].start : parts[last + step].end]):
                last += step
        found.append(Span(parts[first].start, parts[last].end))
        first = last + 1
    return found


def _fitting(text: str, span: Span, fits: Callable[[str], bool]) -> list[Span]:
    if fits(text[span.start : span.end]):
        return [span]
    if span.end - span.start < 2:
        raise ValueError(f"the character {text[span.start : span.end]!r} alone is longer than the window; give more room")
    places = list(_places(text, span))
    middle = _cut(text, span, places)
    return [part for half in (Span(span.start, middle), Span(middle, span.end)) for part in _fitting(text, half, fits)]


_CLAUSE = re.compile(r"[,;:](?=\s)\s*|[，；：、]\s*|\n+")
_SPACE = re.compile(r"\s+")


def _places(text: str, span: Span) -> Sequence[int]:
    """Where a clause ends in the middle half of a span, or else a word."""
    quarter = (span.end - span.start) // 4
    low, high = span.start + quarter, span.end - quarter
    for pattern in (_CLAUSE, _SPACE):
        places = [match.end() for match in pattern.finditer(text, low, high) if span.start < match.end() < span.end]
        if places:
            return places
    return []


_MARKS = 30
"""Marks in a row that still belong to one character: Unicode's Stream-Safe Text Format (UAX #15, section 13) allows so many."""


def _cut(text: str, span: Span, places: Sequence[int]) -> int:
    """The place that is nearest to the middle; without any, the middle, but not before a mark that belongs to the character before it."""
    middle = (span.start + span.end) // 2
    if places:
        at = bisect_right(places, middle)
        return min(places[max(at - 1, 0) : at + 1], key=lambda place: abs(place - middle))
    last, end = middle, min(middle + _MARKS, span.end - 1)
    while last < end and (unicodedata.combining(text[last]) or text[last] in "\u200d\ufe0f" or text[last - 1] == "\u200d"):
        last += 1
    return last
