"""POST /v1/audio/transcriptions: a recording in a form, or in JSON, and what is said in it, in OpenAI's shapes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from torch import nn

from ..build.speech import Segment, joined
from ..contracts.media import Recording
from ..contracts.tokenizer import Tokenizer
from .answers import Feed, FeedStream, told
from .errors import ApiError
from .exchange import Exchange
from .multipart import read_form

NEUTRAL: Mapping[str, tuple[Any, ...]] = {"chunking_strategy": ("auto",), "include": ([],), "known_speaker_names": ([],)}
"""OpenAI's parameters that this server does not have, and the values of theirs that ask for nothing."""
LISTS = ("timestamp_granularities", "include", "known_speaker_names", "known_speaker_references")
"""Parameters that a form gives several times, with `[]` after their name."""
MEDIA_TYPES = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}
"""Of the forms that are no JSON."""


@runtime_checkable
class Transcribing(Protocol):
    """A task that writes down recordings."""

    def transcribe(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> Iterator[Segment | dict[str, Any]]:
        """Each segment as soon as it is heard, and at last the answer."""
        ...


async def read_question(request: Request) -> dict[str, Any]:
    """The parameters of a request; the recording as `file`.

    Raises:
        ApiError: the body is neither a form nor JSON, lacks the recording, or asks for what is not had here.
    """
    kind = request.headers.get("content-type", "")
    given = _of_form(await request.body(), kind) if kind.lower().startswith("multipart/form-data") else _of_json(await request.body())
    for name, values in NEUTRAL.items():
        if name in given and given.pop(name) not in values:
            raise ApiError(400, f"This server does not support {name!r}. Leave it out.", param=name, code="unsupported_parameter")
    if "file" not in given:
        raise ApiError(400, "There is no recording. Send it as the field `file`.", param="file", code="missing_parameter")
    return given


def _of_form(body: bytes, content_type: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part in read_form(body, content_type):
        name = part.name.removesuffix("[]")
        if name == "file":
            if part.filename is None:
                raise ApiError(400, "The field `file` holds no file. Send the recording's content.", param="file", code="invalid_value")
            given[name] = Recording.of(part.content, part.filename)
            continue
        try:
            text = part.content.decode()
        except UnicodeDecodeError:
            raise ApiError(400, f"The field {name!r} is no text in UTF-8.", param=name, code="invalid_value") from None
        if name in LISTS:
            given.setdefault(name, []).append(text)
        else:
            given[name] = text
    return given


def _of_json(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError as error:
        raise ApiError(
            400, f"The body is not JSON ({error}). Send a form with the recording, or a JSON object.", code="invalid_json"
        ) from None
    if not isinstance(given, dict):
        raise ApiError(400, "The body must be a JSON object of parameters.", code="invalid_json")
    return {name: value for name, value in given.items() if value is not None}


async def whole(feed: Feed, exchange: Exchange, model: str, form: str) -> Response:
    """The answer, once all is heard."""
    answer: dict[str, Any] = {}
    with feed:
        async for heard in feed:
            exchange.queue_ms = feed.job.queue_ms
            if isinstance(heard, Segment):
                exchange.count(len(heard.words))
            else:
                answer = heard
    exchange.close(200, "answered")
    if form in MEDIA_TYPES:
        return PlainTextResponse(answer["text"], media_type=MEDIA_TYPES[form], headers={"X-Request-Id": exchange.id})
    return JSONResponse({"id": exchange.id, "created": exchange.created, "model": model, **answer})


def stream(feed: Feed, exchange: Exchange) -> FeedStream:
    """Each segment as a server-sent event, and at last the whole text."""
    return FeedStream(told(_parts(feed, exchange), feed, exchange), feed, exchange)


async def _parts(feed: Feed, exchange: Exchange) -> AsyncIterator[dict[str, Any]]:
    text = ""
    async for heard in feed:
        exchange.queue_ms = feed.job.queue_ms
        if isinstance(heard, Segment):
            exchange.count(len(heard.words))
            before, text = text, joined([text, heard.text])
            yield {"type": "transcript.text.delta", "delta": text[len(before) :], "start": heard.start, "end": heard.end}
        else:
            yield {"type": "transcript.text.done", "text": heard["text"], "usage": heard["usage"]}
