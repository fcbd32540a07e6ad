"""A request for an explanation, the same from the command line and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import nn

from ..contracts.config import Config
from ..contracts.language import Language
from ..contracts.task import Task
from ..contracts.tokenizer import Tokenizer
from .explanation import Method, explain, to_json
from .faithfulness import ORDERS
from .page import part, style
from .sentences import summary_words, verdict_words


class ExplainRequest(Config):
    """What is to be explained, and how."""

    request: dict[str, Any]
    """The request whose answer is explained, as the task's own endpoint takes it."""
    output: str | None = None
    """The answer to be explained, a label or a text; the model's own where absent."""
    method: Method = "gradients"
    """Which method's values lead; all three are given."""
    layer: int | None = Field(None, ge=1)
    """Whose attention is shown, counted from 1; the mean of all where absent."""
    head: int | None = Field(None, ge=1)
    """As `layer`."""
    orders: int = Field(ORDERS, ge=1, le=999)
    """Random orders that each method must beat; fewer than 19 let none win."""
    seed: int = 0
    """Of the random orders."""
    language: Language = "en"
    """Of the sentences, and of the page."""
    html: bool = False
    """Give the pictures, too: `html`, a part of a page, and its style sheet, `css`."""


def answer(task: Task, model: nn.Module, tokenizer: Tokenizer, body: Mapping[str, Any]) -> dict[str, Any]:
    """The explanation that a body of POST /v1/explain asks for.

    Raises:
        UserError: the body is wrong, or its answer cannot be explained.
    """
    asked = ExplainRequest.parse(body, where="request")
    made = explain(
        model, tokenizer, task.reading(model, tokenizer, asked.request, asked.output),
        layer=None if asked.layer is None else asked.layer - 1, head=None if asked.head is None else asked.head - 1,
        orders=asked.orders, seed=asked.seed,
    )  # fmt: skip
    told = to_json(made, asked.method)
    for name, verdict in made.verdicts.items():
        told["faithfulness"][name]["sentence"] = verdict_words(verdict).in_language(asked.language)
    pictures = {"html": part(made, language=asked.language), "css": style()} if asked.html else {}
    usage = {"prompt_tokens": max(word.end for word in made.words)}
    return {**told, "summary": summary_words(made).in_language(asked.language), **pictures, "usage": usage}
