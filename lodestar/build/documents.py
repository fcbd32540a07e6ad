"""Translating a whole document with anything that translates strings: its layout stays, and what must not change does not.

What must not change are markup (emphasis, code, the targets of links, tags) and placeholders (`{name}`, `%s`, `{{x}}`, `${x}`, URLs,
addresses of e-mail, and numbers if asked), and a glossary says how some terms are to be translated. A sentence is translated with all of
these in it, and looked at: where one was lost, made up or, of markup, put in another order, the text between them is translated apart,
piece by piece, so that none is ever lost. That reads worse, but it is never wrong.

A glossary's term is found as it is written, with a capital or a small first letter; it is not inflected, neither where it is found nor
where its translation is put.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..contracts.errors import UserError, quoted, unknown
from .layouts import LAYOUTS
from .layouts.passage import Layout, Passage
from .sentences import Span, cut_to_fit, sentence_spans

Translate = Callable[[list[str]], list[str]]
"""Strings → their translations, in order."""


@dataclass(frozen=True)
class Translated:
    """A document, translated."""

    text: str
    sentences: int
    """Of the document; those that have no letters are not translated."""
    piecewise: int
    """Sentences whose text between what must not change was translated apart."""
    kept: int
    """Sentences, or pieces of them, that stand as they were, since nothing useful came back."""


def translate_document(
    text: str,
    translate: Translate,
    *,
    form: str = "plain",
    glossary: Mapping[str, str] | None = None,
    numbers: bool = False,
    fits: Callable[[str], bool] | None = None,
) -> Translated:
    """A document in another language: the same lines, tables, code and links.

    Args:
        translate: is asked at most three times, about many strings at once.
        form: plain, markdown, html or subtitles.
        glossary: term → its translation.
        numbers: numbers, too, must not change.
        fits: whether a string is short enough to be translated at once; a sentence that is not is translated in parts. All are where None.

    Raises:
        UserError: another form, or a glossary with an empty term.
    """
    if form not in LAYOUTS:
        raise unknown("form", form, LAYOUTS)
    layout = LAYOUTS[form]
    holder = Holder(layout, glossary or {}, numbers=numbers)
    parts = layout.parts(text)
    passages = [part for part in parts if isinstance(part, Passage)]
    of_passage = [list(_sentences(layout.read(passage.text), holder)) for passage in passages]
    every = [sentence for sentences in of_passage for sentence in sentences]
    _translate_all(every, translate, holder, fits or (lambda _: True))
    written = iter([_lay_out(passage, sentences, layout, holder) for passage, sentences in zip(passages, of_passage, strict=True)])
    return Translated(
        "".join(part if isinstance(part, str) else next(written) for part in parts),
        sentences=len(every),
        piecewise=sum(sentence.piecewise for sentence in every),
        kept=sum(sentence.kept for sentence in every),
    )


def _lay_out(passage: Passage, sentences: Sequence[_Sentence], layout: Layout, holder: Holder) -> str:
    written = "".join(sentence.before + sentence.written + sentence.after for sentence in sentences)
    if written == layout.read(passage.text):
        return passage.source
    return passage.laid_out(written, [Span(held.start, held.end) for held in holder.held(written, terms=False)])


# What must not change

PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]{1,80}\}\}|\$?\{[\w.:!#,%+ -]{0,60}\}"
    r"|%(?:\(\w{1,60}\))?(?:\d{1,2}\$)?[-+0#]{0,3}\d{0,4}(?:\.\d{1,4})?(?:hh?|ll?|[Lqjzt])?[sdifuxXoeEgGcp@](?![A-Za-z])|%[A-Za-z_]\w{0,40}%"
    r"|</?[A-Za-z][^<>\n]{0,300}>"
    r"|(?:https?|ftp)://[!#-&(-;=?-~]{0,2000}[#-&(*+/-9=@-Z_a-z~-]|(?<![\w.@])www\.[!#-&(-;=?-~]{0,2000}[#-&(*+/-9=@-Z_a-z~-]"
    r"|(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"
)
"""Of Python, of printf, of templates; tags; addresses."""
NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*%?")
_LETTERS = re.compile(r"[^\W\d_]")


class Held(NamedTuple):
    """A part of a text that must be in its translation."""

    start: int
    end: int
    kind: Literal["mark", "placeholder", "term"]
    becomes: str
    """How: itself, or what the glossary says."""


class Holder:
    """Knows what of a text must not change, and whether it did not."""

    def __init__(self, layout: Layout, glossary: Mapping[str, str], *, numbers: bool) -> None:
        self._marks = layout.marks
        patterns = [PLACEHOLDER.pattern, *([NUMBER.pattern] if numbers else [])]
        self._placeholder = re.compile("|".join(patterns))
        for term, becomes in glossary.items():
            if not term.strip() or not becomes.strip():
                what = f"the term {quoted(term)} becomes {quoted(becomes)}"
                raise UserError(what, where="glossary", fix="give a word for each, or leave it out")
        self._glossary = {spelling: becomes for term, becomes in glossary.items() for spelling in _spellings(term)}
        # The longest first, so that a term within another one is not taken alone.
        terms = sorted(self._glossary, key=len, reverse=True)
        self._term = re.compile("|".join(map(_whole, terms))) if terms else None

    def held(self, text: str, *, terms: bool = True) -> list[Held]:
        """What of a text must not change, in order and apart from each other."""
        found: list[Held] = []
        place = 0
        for mark in [*self._marks(text), Span(len(text), len(text))]:
            for match in self._placeholder.finditer(text, place, mark.start):
                found += self._terms(text, place, match.start()) if terms else []
                found.append(Held(match.start(), match.end(), "placeholder", match[0]))
                place = match.end()
            found += self._terms(text, place, mark.start) if terms else []
            if mark.end > mark.start:
                found.append(Held(mark.start, mark.end, "mark", text[mark.start : mark.end]))
            place = mark.end
        return found

    def _terms(self, text: str, start: int, end: int) -> list[Held]:
        if self._term is None:
            return []
        return [Held(match.start(), match.end(), "term", self._glossary[match[0]]) for match in self._term.finditer(text, start, end)]

    def survived(self, held: Sequence[Held], written: str) -> bool:
        """Whether a translation has the very same marks in the same order, the same placeholders, and the terms."""
        found = self.held(written, terms=False)
        for kind, count in (("mark", list), ("placeholder", Counter)):
            wanted = count(one.becomes for one in held if one.kind == kind)
            if count(one.becomes for one in found if one.kind == kind) != wanted:
                return False
        terms = Counter(one.becomes for one in held if one.kind == "term")
        return bool(written.strip()) and all(written.count(becomes) >= number for becomes, number in terms.items())


def _spellings(term: str) -> set[str]:
    return {term, term[0].upper() + term[1:], term[0].lower() + term[1:] if not term[:2].isupper() else term}


def _whole(term: str) -> str:
    """A term that is no part of a longer word, in scripts that have words."""
    before, behind = (r"(?<![^\W\d_])" if term[0].isascii() else ""), (r"(?![^\W\d_])" if term[-1].isascii() else "")
    return f"{before if term[0].isalnum() else ''}{re.escape(term)}{behind if term[-1].isalnum() else ''}"


# Sentences


@dataclass
class _Sentence:
    """A sentence of a passage, and what became of it."""

    before: str
    core: str
    """What is to be translated: without the white space, and without the markup that is around all of it."""
    after: str
    held: list[Held]
    written: str
    """The translation; the core itself until there is one."""
    done: bool
    piecewise: bool = False
    kept: int = 0
    pieces: list[_Piece] = field(default_factory=list)


@dataclass
class _Piece:
    """Of a sentence that is translated piecewise: a string to translate, with what stands around it."""

    before: str
    core: str
    after: str


def _sentences(text: str, holder: Holder) -> Iterator[_Sentence]:
    held = holder.held(text)
    marks = iter(held)
    mark = next(marks, None)
    start = 0
    for span in sentence_spans(text):
        # A border within what must not change is none.
        while mark is not None and mark.end <= span.end:
            mark = next(marks, None)
        if mark is not None and mark.start < span.end:
            continue
        yield _sentence(text[start : span.end], holder)
        start = span.end
    if start < len(text):
        yield _sentence(text[start:], holder)


def _sentence(text: str, holder: Holder) -> _Sentence:
    held = holder.held(text)
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    first, last = 0, len(held) - 1
    while first < last and held[first].kind == held[last].kind == "mark" and held[first].start == start and held[last].end == end:
        start, end, first, last = held[first].end, held[last].start, first + 1, last - 1
    held = held[first : last + 1]
    core = text[start:end]
    inner = core.strip()
    start += len(core) - len(core.lstrip()) if inner else 0
    end = start + len(inner)
    moved = [Held(one.start - start, one.end - start, one.kind, one.becomes) for one in held]
    return _Sentence(text[:start], text[start:end], text[end:], moved, text[start:end], done=not _has_letters(text[start:end], moved))


def _has_letters(text: str, held: Iterable[Held]) -> bool:
    """Whether there is anything to translate outside of what must not change; a term is something."""
    place = 0
    for one in held:
        if one.kind == "term" or _LETTERS.search(text, place, one.start):
            return True
        place = one.end
    return bool(_LETTERS.search(text, place))


def _translate_all(sentences: Sequence[_Sentence], translate: Translate, holder: Holder, fits: Callable[[str], bool]) -> None:
    """Three rounds: whole; with the glossary's terms put in; piece by piece."""
    for prepare in (_as_it_is, _with_terms):
        prepared = [(sentence, prepare(sentence)) for sentence in sentences if not sentence.done]
        asked = [(sentence, string) for sentence, string in prepared if string is not None and fits(string)]
        for (sentence, _), written in zip(asked, _ask(translate, [string for _, string in asked]), strict=True):
            if holder.survived(sentence.held, written):
                sentence.written, sentence.done = written, True
    left = [sentence for sentence in sentences if not sentence.done]
    for sentence in left:
        sentence.pieces = list(_pieces(sentence, fits))
        sentence.piecewise = True
    wanted = [piece.core for sentence in left for piece in sentence.pieces if piece.core]
    answers = iter(_ask(translate, wanted))
    for sentence in left:
        _join(sentence, answers, holder)


def _ask(translate: Translate, strings: list[str]) -> list[str]:
    """Translations on one line each; equal strings are asked about once."""
    different = list(dict.fromkeys(strings))
    answers = dict(zip(different, translate(different) if different else [], strict=True))
    return [answers[string] if answers[string] == string else " ".join(answers[string].split()) for string in strings]


def _as_it_is(sentence: _Sentence) -> str | None:
    return sentence.core


def _with_terms(sentence: _Sentence) -> str | None:
    """The core with the terms in the other language already, which many a model leaves as they are; None where it has none."""
    parts, place = list[str](), 0
    for one in sentence.held:
        if one.kind == "term":
            parts += [sentence.core[place : one.start], one.becomes]
            place = one.end
    return "".join([*parts, sentence.core[place:]]) if parts else None


_LEADING = re.compile(r"[\s,;:.!?)\]}，。；：！？、）】》]*")
_TRAILING = " \t\r\n\u00a0\u3000([{（【《"


def _pieces(sentence: _Sentence, fits: Callable[[str], bool]) -> Iterator[_Piece]:
    """The text between what must not change, in parts that fit, and behind each what comes next as it is to be."""
    place = 0
    for one in [*sentence.held, None]:
        end = len(sentence.core) if one is None else one.start
        text = sentence.core[place:end]
        parts = [text[start:stop] for start, stop in cut_to_fit(text, fits)]
        for part in parts:
            yield _piece(part)
        if one is not None:
            yield _Piece(one.becomes, "", "")
            place = one.end


def _piece(part: str) -> _Piece:
    if not _LETTERS.search(part):
        return _Piece(part, "", "")
    leading = _LEADING.match(part)
    start, end = leading.end() if leading else 0, len(part.rstrip(_TRAILING))
    return _Piece(part[:start], part[start:end], part[end:])


def _join(sentence: _Sentence, answers: Iterator[str], holder: Holder) -> None:
    parts: list[str] = []
    for piece in sentence.pieces:
        written = piece.core
        if piece.core:
            answer = next(answers)
            useful = bool(answer) and not holder.held(answer, terms=False)
            written = answer if useful else piece.core
            sentence.kept += not useful
        parts.append(piece.before + written + piece.after)
    sentence.written, sentence.done = "".join(parts), True
