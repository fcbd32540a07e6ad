"""An answer under way: the engine's events, told whole or as server-sent events, in OpenAI's shapes."""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..contracts.errors import UserError
from .completions import Delta, Prompt
from .engine import BusyError, Done, Engine, TimeLimitError, Work
from .errors import ApiError
from .exchange import Exchange
from .protocol import CompletionBody, StreamOptions

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection; it is told to the ledger and reaches nobody."""


class Feed:
    """A job's events, on this event loop; leaving the context stops the job."""

    def __init__(self, engine: Engine, work: Work) -> None:
        """Raises BusyError where the engine takes no more."""
        loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Any] = asyncio.Queue()

        def listen(event: Any) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, event)

        self.job = engine.submit(work, listen)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.job.cancel()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while not isinstance(event := await self._events.get(), Done):
            yield event
            # A queue that is never empty would never let the loop see that the client has gone.
            await asyncio.sleep(0)
        if event.error is not None:
            raise event.error


@dataclass(frozen=True)
class Answer(ABC):
    """The answer to one body, whole or as events."""

    model: str
    seed: int
    feed: Feed
    exchange: Exchange

    @property
    @abstractmethod
    def stream_options(self) -> StreamOptions:
        """How the client wants its stream told."""

    @abstractmethod
    async def whole(self) -> dict[str, Any]:
        """The response without streaming."""

    @abstractmethod
    def chunks(self, delta: Delta) -> Iterator[dict[str, Any]]:
        """What is sent of a delta: each a choice."""

    @abstractmethod
    def head(self, *, chunk: bool) -> dict[str, Any]:
        """What every part of the response begins with."""

    async def events(self) -> AsyncIterator[str]:
        """The response as server-sent events; an error in the middle is the last of them."""
        usage = {"usage": None} if self.stream_options.include_usage else {}
        try:
            async for delta in self.deltas():
                for choice in self.chunks(delta):
                    yield event({**self.head(chunk=True), "choices": [choice], **usage})
            if self.stream_options.include_usage:
                yield event({**self.head(chunk=True), "choices": [], "usage": self.usage()})
            yield "data: [DONE]\n\n"
        except Exception as error:  # noqa: BLE001 - the status line is long gone, so whatever went wrong is told in the stream
            refusal = as_refusal(error)
            self.exchange.close(refusal.status_code, "failed")
            yield event(refusal.body())

    async def deltas(self) -> AsyncIterator[Delta]:
        """What the engine makes, counted."""
        reasons = set()
        with self.feed:
            async for delta in self.feed:
                self.exchange.queue_ms = self.feed.job.queue_ms
                self.exchange.count(delta.tokens)
                reasons.add(delta.finish_reason)
                yield delta
        self.exchange.close(200, "length" if "length" in reasons else "stop")

    def usage(self) -> dict[str, int]:
        read, made = self.exchange.prompt_tokens, self.exchange.completion_tokens
        return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}

    def common(self) -> dict[str, Any]:
        return {
            "id": self.exchange.id, "created": self.exchange.created, "model": self.model, "system_fingerprint": self.model,
            "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True)
class Completion(Answer):
    """The answer to one body of POST /v1/completions."""

    body: CompletionBody
    prompts: list[Prompt]

    @property
    def stream_options(self) -> StreamOptions:
        return self.body.stream_options

    async def whole(self) -> dict[str, Any]:
        texts, reasons = [""] * (len(self.prompts) * self.body.n), [""] * (len(self.prompts) * self.body.n)
        async for delta in self.deltas():
            texts[delta.index] += delta.text
            reasons[delta.index] = delta.finish_reason or ""
        choices = [_choice(index, text, reason) for index, (text, reason) in enumerate(zip(texts, reasons, strict=True))]
        return {**self.head(chunk=False), "choices": choices, "usage": self.usage()}

    def chunks(self, delta: Delta) -> Iterator[dict[str, Any]]:
        if delta.text or delta.finish_reason:
            yield _choice(delta.index, delta.text, delta.finish_reason)

    def head(self, *, chunk: bool) -> dict[str, Any]:
        return {"object": "text_completion", **self.common()}


class FeedStream(StreamingResponse):
    """What is made of a feed, as it comes: server-sent events, or bytes of another type."""

    def __init__(
        self,
        content: AsyncIterator[str | bytes],
        feed: Feed,
        exchange: Exchange,
        *,
        media_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            content, media_type=media_type, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})}
        )
        self.feed, self.exchange = feed, exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A client that goes while the last piece is being sent leaves the content's iterator where it is: it cannot do this itself.
            self.feed.job.cancel()
            self.exchange.close(CLIENT_GONE, "cancelled")  # nothing, where it has been closed already


async def told(parts: AsyncIterator[dict[str, Any]], feed: Feed, exchange: Exchange) -> AsyncIterator[str]:
    """The parts of an answer as events, and its end; an error in the middle is the last of them."""
    try:
        with feed:
            async for part in parts:
                yield event(part)
        exchange.close(200, "answered")
        yield "data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - the status line is long gone, so whatever went wrong is told in the stream
        refusal = as_refusal(error)
        exchange.close(refusal.status_code, "failed")
        yield event(refusal.body())


def as_refusal(error: Exception) -> ApiError:
    """What the client is told of an error; of our own bugs no more than that they are ours."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UserError):
        return ApiError(400, str(error), code="invalid_value")
    if isinstance(error, BusyError):
        return ApiError(503, str(error), code="busy", headers={"Retry-After": str(error.retry_after_s)})
    if isinstance(error, TimeLimitError):
        return ApiError(504, str(error), code="timeout")
    log.error("a request failed", exc_info=error)
    return ApiError(500, "The server failed to answer; its log says why.", code="internal_error")


def _choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
