"""SQuAD's form: articles of paragraphs, each with its questions → one record a question.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; also CMRC 2018's, XQuAD's, GermanQuAD's, DRCD's and SQuAD 2.0's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..contracts.errors import UserError, quoted

ENVELOPE = re.compile(r'\{\s*(?:"(?!data")\w+"\s*:\s*(?:"[^"\\]*"|[\d.]+)\s*,\s*)*"data"\s*:\s*(?=\[\s*\{)')
"""A file's beginning where its records are the array `data` of one object, as SQuAD's are: `{"version": "1.1", "data": [{`."""
_WANTED = 'write {"paragraphs": [{"context": "…", "qas": [{"question": "…", "answers": […]}, …]}, …]}'


def unfold(fields: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The records of an article, each with the place that it stands at, which names its question; any other record as it is.

    Raises:
        UserError: a paragraph of an article has no text or no questions.
    """
    paragraphs = fields.get("paragraphs")
    if not isinstance(paragraphs, list) or not any(isinstance(paragraph, Mapping) and "qas" in paragraph for paragraph in paragraphs):
        yield fields, where
        return
    for number, paragraph in enumerate(paragraphs, 1):
        place = f"{where}: paragraph {number}"
        if not isinstance(paragraph, Mapping) or not isinstance(paragraph.get("context"), str):
            raise UserError("the paragraph has no text 'context'", where=place, fix=_WANTED)
        questions = paragraph.get("qas")
        if not isinstance(questions, list) or not all(isinstance(question, Mapping) for question in questions):
            raise UserError("the paragraph's 'qas' is no list of questions", where=place, fix=_WANTED)
        for count, question in enumerate(questions, 1):
            name = question.get("id", f"{count} of paragraph {number}")
            yield {**question, "context": paragraph["context"]}, f"{where}: question {name}"


def read_answers(fields: Mapping[str, Any], context: str) -> list[tuple[str, int | None]]:
    """A question's answers without blanks around them, and the characters of the context before each; none where it is impossible.

    An answer that does not stand at its start is looked for, and has the place nearest to it; None where the context lacks it.

    Args:
        fields: `answers` as SQuAD has them ([{"text", "answer_start"}]), as Hugging Face's columns ({"text": […], "answer_start": […]}), or
            as strings; or `answer`; and perhaps `is_impossible`.

    Raises:
        UserError: they are in none of these forms, none of them stands in the context, or there is none of a possible question.
    """
    if fields.get("is_impossible"):
        return []
    found = [_placed(text, start, context) for text, start in _listed(fields.get("answers", fields.get("answer", [])))]
    if found and all(start is None for _, start in found):
        what = f"the answer {quoted(found[0][0])} does not stand in the context"
        raise UserError(what, fix="give words of the context, letter by letter, or no answers where it has none")
    if not found and fields.get("is_impossible") is False:
        raise UserError("the question has no answers, and is_impossible says that it has", fix="give them, or set is_impossible")
    return found


def _listed(given: Any) -> list[tuple[Any, Any]]:
    """Answers in any of their forms as texts and starts, blank ones (which some files write for none) left out."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Mapping):
        texts = given.get("text", [])
        starts = given.get("answer_start", given.get("start", [None] * len(texts)))
        given = [{"text": text, "start": start} for text, start in zip(texts, starts, strict=False)]
    if not isinstance(given, Sequence):
        raise UserError(f"the answers are {type(given).__name__}", fix='write [{"text": "…", "start": 0}, …], or []')
    pairs = [(one, None) if isinstance(one, str) else _pair(one) for one in given]
    return [(text, start) for text, start in pairs if text.strip()]


def _pair(answer: Any) -> tuple[str, Any]:
    text = answer.get("text") if isinstance(answer, Mapping) else answer
    if not isinstance(text, str):
        raise UserError(f"an answer is {quoted(answer)}", fix='write {"text": "…", "start": 0}, or the words alone')
    return text, answer.get("answer_start", answer.get("start"))


def _placed(text: str, start: Any, context: str) -> tuple[str, int | None]:
    """An answer without blanks around it, and where it stands: at its start, else at the place nearest to it, else None."""
    near = start + len(text) - len(text.lstrip()) if isinstance(start, int) else 0
    text = text.strip()
    if near >= 0 and context.startswith(text, near):
        return text, near
    before, after = context.rfind(text, 0, max(near, 0) + len(text)), context.find(text, max(near, 0))
    found = [place for place in (before, after) if place >= 0]
    return text, min(found, key=lambda place: abs(place - near)) if found else None
