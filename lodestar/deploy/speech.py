"""POST /v1/audio/speech: a text, and how it sounds, in OpenAI's shapes."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from torch import nn

from ..build.reading_aloud import Chunk
from ..contracts.media import SOUND_TYPES
from ..contracts.tokenizer import Tokenizer
from .answers import CLIENT_GONE, Feed, as_refusal
from .exchange import Exchange

Manner = Literal["whole", "bytes", "events"]
"""The file at once; its bytes as they are made; or events of them."""


@runtime_checkable
class Speaking(Protocol):
    """A task that says texts."""

    def utter(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> Iterator[Chunk]:
        """What is said, piece by piece; a request that cannot be answered is refused at once."""
        ...

    def choices(self) -> dict[str, Any]: ...


def manner(question: Mapping[str, Any]) -> Manner:
    """How a request is to be answered: bare samples need not wait for the last one, and a file's header does."""
    if question.get("stream_format") == "sse":
        return "events"
    return "bytes" if question.get("response_format") == "pcm" else "whole"


async def whole(feed: Feed, exchange: Exchange) -> Response:
    """The file, once all is said."""
    with feed:
        (answer,) = [answer async for answer in feed]
        exchange.queue_ms = feed.job.queue_ms
    exchange.prompt_tokens = int(answer["usage"]["prompt_tokens"])
    exchange.close(200, "answered")
    content = base64.b64decode(answer["audio"])
    return Response(content, media_type=SOUND_TYPES[answer["format"]], headers={"X-Request-Id": exchange.id})


class SpeechStream(StreamingResponse):
    """What is said as it is made: bare samples, or each piece as a server-sent event.

    Args:
        rate: samples a second.
    """

    def __init__(self, feed: Feed, exchange: Exchange, told: Manner, rate: int) -> None:
        content: AsyncIterator[bytes | str] = _bytes(feed, exchange) if told == "bytes" else _events(feed, exchange, rate)
        media_type = SOUND_TYPES["pcm"] if told == "bytes" else "text/event-stream"
        super().__init__(content, media_type=media_type, headers={"Cache-Control": "no-cache", "X-Request-Id": exchange.id})
        self.feed, self.exchange = feed, exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A client that goes while a piece is being sent leaves the iterator where it is.
            self.feed.job.cancel()
            self.exchange.close(CLIENT_GONE, "cancelled")  # nothing, where it has been closed already


async def _bytes(feed: Feed, exchange: Exchange) -> AsyncIterator[bytes]:
    with feed:
        async for piece in feed:
            _count(piece, feed, exchange)
            yield piece.content
    exchange.close(200, "answered")


async def _events(feed: Feed, exchange: Exchange, rate: int) -> AsyncIterator[str]:
    sounds = 0
    try:
        with feed:
            async for piece in feed:
                _count(piece, feed, exchange)
                sounds += len(piece.sounds)
                audio = base64.b64encode(piece.content).decode()
                timed = [sound._asdict() for sound in piece.sounds]
                yield _event({"type": "speech.audio.delta", "audio": audio, "id": exchange.id, "rate": rate, "sounds": timed})
        usage = {"input_tokens": sounds, "output_tokens": 0, "total_tokens": sounds}
        yield _event({"type": "speech.audio.done", "usage": usage})
        exchange.close(200, "answered")
        yield "data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - the status line is long gone, so whatever went wrong is told in the stream
        refusal = as_refusal(error)
        exchange.close(refusal.status_code, "failed")
        yield _event(refusal.body())


def _count(piece: Chunk, feed: Feed, exchange: Exchange) -> None:
    exchange.queue_ms = feed.job.queue_ms
    exchange.count(len(piece.sounds))


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
