"""POST /v1/images/generations: what is to be shown, and pictures of it, in OpenAI's shapes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from fastapi import Response
from fastapi.responses import JSONResponse
from torch import nn

from ..contracts.tokenizer import Tokenizer
from .answers import Feed, FeedStream, told
from .errors import ApiError
from .exchange import Exchange
from .protocol import as_openai_reads_it

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "quality": ("auto", "standard"),
    "style": (),
    "background": ("auto", "opaque"),
    "output_compression": (100,),
}
"""OpenAI's parameters that this server does not have, and the values of theirs that ask for nothing."""
IGNORED = ("safety_identifier", "moderation")
"""OpenAI's parameters that change no picture."""


class OnTheWay(Protocol):
    """Pictures after a step."""

    step: int
    steps: int
    pictures: list[str]
    """Files in base64; none where no picture is told of after this step."""


@runtime_checkable
class Drawing(Protocol):
    """A task that makes pictures."""

    def generate(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> Iterator[OnTheWay | dict[str, Any]]:
        """What stands after each step, and at last the answer."""
        ...


def read_question(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request; with a seed that a person can read off the answer and send again.

    Raises:
        ApiError: it asks for what is not had here.
    """
    given: dict[str, Any] = as_openai_reads_it(body, NEUTRAL, IGNORED)
    if given.pop("response_format", "b64_json") != "b64_json":
        message = "Pictures are sent within the answer: none is kept to be linked to. Leave response_format out, or set it to b64_json."
        raise ApiError(400, message, param="response_format", code="unsupported_value")
    if not isinstance(given.get("stream", False), bool):
        raise ApiError(400, "The parameter 'stream' must be true or false.", param="stream", code="invalid_type")
    return {"seed": secrets.randbits(32), **given}


async def whole(feed: Feed, exchange: Exchange, model: str) -> Response:
    """The answer, once all is made."""
    answer: dict[str, Any] = {}
    with feed:
        async for made in feed:
            exchange.queue_ms = feed.job.queue_ms
            answer = made if isinstance(made, dict) else answer
    _count(exchange, answer)
    exchange.close(200, "answered")
    return JSONResponse({"id": exchange.id, "created": exchange.created, "model": model, **answer})


def stream(feed: Feed, exchange: Exchange, model: str, output_format: str) -> FeedStream:
    """The pictures on their way, as far as they are asked for, and each as it is at last, as server-sent events."""
    return FeedStream(told(_parts(feed, exchange, model, output_format), feed, exchange), feed, exchange)


async def _parts(feed: Feed, exchange: Exchange, model: str, output_format: str) -> AsyncIterator[dict[str, Any]]:
    common = {
        "id": exchange.id, "created_at": exchange.created, "model": model, "background": "opaque", "quality": "auto",
        "output_format": output_format,
    }  # fmt: skip
    shown = 0
    async for made in feed:
        exchange.queue_ms = feed.job.queue_ms
        if isinstance(made, dict):
            _count(exchange, made)
            rest = {"size": made["size"], "seed": made["seed"], "usage": made["usage"]}
            for index, picture in enumerate(made["data"]):
                yield {"type": "image_generation.completed", **common, **rest, **picture, "index": index}
        elif made.pictures:
            for index, picture in enumerate(made.pictures):
                part = {"b64_json": picture, "partial_image_index": shown, "index": index, "step": made.step, "steps": made.steps}
                yield {"type": "image_generation.partial_image", **common, "size": "auto", **part}
            shown += 1


def _count(exchange: Exchange, answer: Mapping[str, Any]) -> None:
    exchange.prompt_tokens = int(answer["usage"]["input_tokens"])
    exchange.count(int(answer["usage"]["output_tokens"]))
