"""POST /v1/audio/speech: a text, and how it sounds, in OpenAI's shapes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from fastapi import Response
from torch import nn

from ..build.reading_aloud import Chunk
from ..contracts.media import SOUND_TYPES
from ..contracts.tokenizer import Tokenizer
from .answers import Feed, FeedStream, told
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


def stream(feed: Feed, exchange: Exchange, form: Manner, rate: int) -> FeedStream:
    """What is said as it is made: bare samples, or each piece as a server-sent event.

    Args:
        rate: samples a second.
    """
    headers = {"X-Request-Id": exchange.id}
    if form == "bytes":
        return FeedStream(_bytes(feed, exchange), feed, exchange, media_type=SOUND_TYPES["pcm"], headers=headers)
    return FeedStream(told(_parts(feed, exchange, rate), feed, exchange), feed, exchange, headers=headers)


async def _bytes(feed: Feed, exchange: Exchange) -> AsyncIterator[bytes]:
    with feed:
        async for piece in feed:
            _count(piece, feed, exchange)
            yield piece.content
    exchange.close(200, "answered")


async def _parts(feed: Feed, exchange: Exchange, rate: int) -> AsyncIterator[dict[str, Any]]:
    sounds = 0
    async for piece in feed:
        _count(piece, feed, exchange)
        sounds += len(piece.sounds)
        audio = base64.b64encode(piece.content).decode()
        timed = [sound._asdict() for sound in piece.sounds]
        yield {"type": "speech.audio.delta", "audio": audio, "id": exchange.id, "rate": rate, "sounds": timed}
    yield {"type": "speech.audio.done", "usage": {"input_tokens": sounds, "output_tokens": 0, "total_tokens": sounds}}


def _count(piece: Chunk, feed: Feed, exchange: Exchange) -> None:
    exchange.queue_ms = feed.job.queue_ms
    exchange.count(len(piece.sounds))
