"""SQuAD's form: articles of paragraphs, each with its questions → one record a question.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; also CMRC 2018's, XQuAD's, GermanQuAD's, DRCD's and SQuAD 2.0's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..contracts.errors import UserError

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
