"""POST /v1/audio/transcriptions: a recording in a form, or in JSON, and what is said in it, in OpenAI's shapes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send
from torch import nn

from ..build.speech import Segment, joined
from ..contracts.media import Recording
from ..contracts.tokenizer import Tokenizer
from .answers import CLIENT_GONE, Feed, as_refusal
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
        async for told in feed:
            exchange.queue_ms = feed.job.queue_ms
            if isinstance(told, Segment):
                exchange.count(len(told.words))
            else:
                answer = told
    exchange.close(200, "answered")
    if form in MEDIA_TYPES:
        return PlainTextResponse(answer["text"], media_type=MEDIA_TYPES[form], headers={"X-Request-Id": exchange.id})
    return JSONResponse({"id": exchange.id, "created": exchange.created, "model": model, **answer})


class TranscriptStream(StreamingResponse):
    """Each segment as a server-sent event, and at last the whole text."""

    def __init__(self, feed: Feed, exchange: Exchange) -> None:
        super().__init__(_events(feed, exchange), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self.feed, self.exchange = feed, exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A client that goes while an event is being sent leaves the iterator where it is.
            self.feed.job.cancel()
            self.exchange.close(CLIENT_GONE, "cancelled")  # nothing, where it has been closed already


async def _events(feed: Feed, exchange: Exchange) -> AsyncIterator[str]:
    text = ""
    try:
        with feed:
            async for told in feed:
                exchange.queue_ms = feed.job.queue_ms
                if isinstance(told, Segment):
                    exchange.count(len(told.words))
                    before, text = text, joined([text, told.text])
                    delta = {"type": "transcript.text.delta", "delta": text[len(before) :], "start": told.start, "end": told.end}
                    yield _event(delta)
                else:
                    yield _event({"type": "transcript.text.done", "text": told["text"], "usage": told["usage"]})
        exchange.close(200, "answered")
        yield "data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - the status line is long gone, so whatever went wrong is told in the stream
        refusal = as_refusal(error)
        exchange.close(refusal.status_code, "failed")
        yield _event(refusal.body())


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
