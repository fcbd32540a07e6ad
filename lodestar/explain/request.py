"""A request for an explanation over HTTP, and what is answered to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field
from torch import nn

from ..contracts.config import Config
from ..contracts.language import Language
from ..contracts.reading import Reading
from ..contracts.task import Task
from ..contracts.tokenizer import Tokenizer
from .explanation import Explanation, attention_json, check_explainable, explain, look, to_json
from .faithfulness import ORDERS
from .page import attention_maps, part, style
from .patches import attended_json, explain_picture, look_at, picture_json
from .patches_page import picture_maps, picture_part, picture_summary
from .sentences import summary_words, verdict_words

SENDING = ("model", "n", "stream", "stream_options", "user")
"""Fields of OpenAI's requests that say who answers and how it is sent, not what is asked."""


class ExplainRequest(Config):
    """What is to be explained, and how."""

    request: dict[str, Any]
    """The request whose answer is explained, as the task's own endpoint takes it."""
    output: str | None = None
    """The answer to be explained, a label or a text; the model's own where absent."""
    only: Literal["attention"] | None = None
    """Give nothing but the attention, which takes one pass of the model: to look through layers and heads."""
    layer: int | None = Field(None, ge=1)
    """Whose attention is given, counted from 1; the mean of all where absent."""
    head: int | None = Field(None, ge=1)
    """As `layer`."""
    orders: int = Field(ORDERS, ge=1, le=199)
    """Random orders that each method must beat; fewer than 19 let none win."""
    seed: int = 0
    """Of the random orders."""
    language: Language = "en"
    """Of the sentences."""
    html: bool = False
    """Give pictures in place of numbers: `html`, a part of a page, and its style sheet, `css`."""


def answer(task: Task, model: nn.Module, tokenizer: Tokenizer, body: Mapping[str, Any]) -> Iterator[dict[str, Any] | None]:
    """The explanation that a body of POST /v1/explain asks for, after a None for each step on the way to it.

    Raises:
        UserError: the body is wrong, or its answer cannot be explained.
    """
    asked = ExplainRequest.parse(body, where="request")
    check_explainable(model)
    request = {name: value for name, value in asked.request.items() if name not in SENDING and value is not None}
    reading = task.reading(model, tokenizer, request, asked.output)
    layer, head = (None if one is None else one - 1 for one in (asked.layer, asked.head))
    if reading.picture is not None:
        yield from _of_picture(model, reading, asked)
        return
    usage = {"usage": {"prompt_tokens": len(reading.source) + len(reading.tokens)}}
    yield None
    if asked.only == "attention":
        seen = look(model, tokenizer, reading, layer=layer, head=head)
        yield (_drawn(attention_maps(seen, language=asked.language)) if asked.html else attention_json(seen)) | usage
        return
    made = yield from explain(model, tokenizer, reading, layer=layer, head=head, orders=asked.orders, seed=asked.seed)
    summary = {"summary": summary_words(made).in_language(asked.language)}
    if asked.html:
        drawn = _drawn(part(made, language=asked.language, level=3))
        size = {"layers": len(made.maps), "heads": len(made.maps[0])}
        yield {"answer": made.answer, "probability": made.probability, **size, **summary, **drawn, **usage}
    else:
        yield _told(made, asked.language) | summary | usage


def _of_picture(model: nn.Module, reading: Reading, asked: ExplainRequest) -> Iterator[dict[str, Any] | None]:
    """The same of an answer about a picture."""
    layer, head = (None if one is None else one - 1 for one in (asked.layer, asked.head))
    if asked.only == "attention":
        seen = look_at(model, reading, layer=layer, head=head)
        yield _drawn(picture_maps(seen, language=asked.language)) if asked.html else attended_json(seen)
        return
    made = yield from explain_picture(model, reading, layer=layer, head=head, orders=asked.orders, seed=asked.seed)
    told = {"summary": picture_summary(made).in_language(asked.language), "usage": {"prompt_tokens": len(made.importance["rollout"])}}
    if asked.html:
        size = {"layers": len(made.maps), "heads": len(made.maps[0])}
        drawn = _drawn(picture_part(made, language=asked.language, level=3))
        yield {"answer": made.answer, "probability": made.probability, **size, **told, **drawn}
        return
    found = picture_json(made)
    for name, verdict in made.verdicts.items():
        found["faithfulness"][name]["sentence"] = verdict_words(verdict).in_language(asked.language)
    yield found | told


def _drawn(html: str) -> dict[str, str]:
    return {"html": html, "css": style()}


def _told(made: Explanation, language: Language) -> dict[str, Any]:
    told = to_json(made)
    for name, verdict in made.verdicts.items():
        told["faithfulness"][name]["sentence"] = verdict_words(verdict).in_language(language)
    return told
