"""The routes that ask the model: POST /v1/completions and POST /v1/classify. A client that goes away stops its work."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, TypeVar

from fastapi import Body, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..contracts.errors import UserError
from ..model.transformer import Transformer
from .completions import Delta, Prompt, completion_work, read_prompts
from .engine import BusyError, Done, Engine, TimeLimitError, Work
from .errors import ApiError
from .exchange import Exchange, Exchanges
from .protocol import CompletionBody
from .service import Service

log = logging.getLogger(__name__)

T = TypeVar("T")

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection; it is told to the ledger and reaches nobody."""


@dataclass(frozen=True)
class ApiLimits:
    """How much one request may ask for."""

    body_bytes: int = 1_000_000
    choices: int = 16
    """Prompts times n."""
    max_tokens: int = 4096
    inputs: int = 128
    """Texts to classify in one request, which is one turn of the engine."""


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


class Routes:
    """The handlers, over one service and its engine."""

    def __init__(self, service: Service, engine: Engine, exchanges: Exchanges, limits: ApiLimits) -> None:
        self.service, self.engine, self.exchanges, self.limits = service, engine, exchanges, limits

    async def completions(self, body: CompletionBody, request: Request) -> Response:
        """Continue one or several prompts, as OpenAI's route of this name does."""
        exchange = self.exchanges.begin("/v1/completions", "cmpl")
        exchange.streamed = body.stream
        try:
            answer = self._begin_completion(body, exchange)
        except (ApiError, BusyError) as error:
            raise self._refused(exchange, error) from None
        if body.stream:
            return EventStream(answer)
        return await self._answer(request, exchange, answer.whole())

    async def classify(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Give a text its label, with the probability of each."""
        exchange = self.exchanges.begin("/v1/classify", "clsf")
        try:
            question = dict(body)
            self._check_model(question.pop("model", None))
            self._check_inputs(question)
            feed = Feed(self.engine, lambda: iter([self.service.task.answer(self.service.model, self.service.tokenizer, question)]))
        except (ApiError, BusyError) as error:
            raise self._refused(exchange, error) from None
        return await self._answer(request, exchange, self._classified(feed, exchange))

    def _begin_completion(self, body: CompletionBody, exchange: Exchange) -> Completion:
        self._check_model(body.model)
        choices = len(body.prompts) * body.n
        if choices > self.limits.choices:
            message = f"{choices} answers were asked for (prompts × n), and at most {self.limits.choices} are given at once. Ask for fewer."
            raise ApiError(400, message, param="n", code="invalid_value")
        if body.max_tokens > self.limits.max_tokens:
            message = f"max_tokens is {body.max_tokens}, and at most {self.limits.max_tokens} are given at once. Lower it."
            raise ApiError(400, message, param="max_tokens", code="invalid_value")
        assert isinstance(self.service.model, Transformer)
        prompts = read_prompts(self.service.model, self.service.tokenizer, body)
        # A seed that a person can read off the answer and send again.
        seed = secrets.randbits(32) if body.seed is None else body.seed
        feed = Feed(self.engine, completion_work(self.service.model, self.service.tokenizer, body, prompts, seed))
        exchange.prompt_tokens = sum(len(prompt.ids) for prompt in prompts)
        return Completion(self.service.name, body, prompts, seed, feed, exchange)

    async def _classified(self, feed: Feed, exchange: Exchange) -> dict[str, Any]:
        with feed:
            answers = [answer async for answer in feed]
            exchange.queue_ms = feed.job.queue_ms
        usage = answers[0].get("usage", {})
        exchange.prompt_tokens = int(usage.get("prompt_tokens", 0))
        exchange.close(200, "answered")
        return {"id": exchange.id, "object": "classification", "created": exchange.created, "model": self.service.name, **answers[0]}

    async def _answer(self, request: Request, exchange: Exchange, answering: Coroutine[Any, Any, dict[str, Any]]) -> Response:
        """Wait for a whole answer, as long as its client does."""
        try:
            answer = await _while_connected(request, answering)
        except Exception as error:  # each kind becomes its own status, and what is unknown becomes 500
            raise self._refused(exchange, error) from error
        finally:
            exchange.close(CLIENT_GONE, "cancelled")  # nothing, where it has been closed already
        return Response(status_code=CLIENT_GONE) if answer is None else JSONResponse(answer)

    def _check_model(self, name: object) -> None:
        if name is not None and name != self.service.name:
            raise no_such_model(name, self.service)

    def _check_inputs(self, question: dict[str, Any]) -> None:
        for name, value in question.items():
            if isinstance(value, list) and len(value) > self.limits.inputs:
                message = f"{len(value)} inputs were sent, and at most {self.limits.inputs} are answered at once. Send fewer."
                raise ApiError(400, message, param=name, code="invalid_value")
        try:
            json.dumps(question, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no tokenizer can read
            raise ApiError(400, "The body holds half of a surrogate pair, which is no text. Remove it.") from None

    @staticmethod
    def _refused(exchange: Exchange, error: Exception) -> ApiError:
        refusal = as_refusal(error)
        exchange.close(refusal.status_code, "refused" if refusal.status_code < 500 else "failed")
        return refusal


@dataclass(frozen=True)
class Completion:
    """The answer to one body of POST /v1/completions, whole or as events."""

    model: str
    body: CompletionBody
    prompts: list[Prompt]
    seed: int
    feed: Feed
    exchange: Exchange

    async def whole(self) -> dict[str, Any]:
        """The response without streaming."""
        texts, reasons = [""] * (len(self.prompts) * self.body.n), [""] * (len(self.prompts) * self.body.n)
        async for delta in self._deltas():
            texts[delta.index] += delta.text
            reasons[delta.index] = delta.finish_reason or ""
        choices = [_choice(index, text, reason) for index, (text, reason) in enumerate(zip(texts, reasons, strict=True))]
        return {**self._head(), "choices": choices, "usage": self._usage()}

    async def events(self) -> AsyncIterator[str]:
        """The response as server-sent events; an error in the middle is the last of them."""
        usage = {"usage": None} if self.body.stream_options.include_usage else {}
        try:
            async for delta in self._deltas():
                if delta.text or delta.finish_reason:
                    yield _event({**self._head(), "choices": [_choice(delta.index, delta.text, delta.finish_reason)], **usage})
            if self.body.stream_options.include_usage:
                yield _event({**self._head(), "choices": [], "usage": self._usage()})
            yield "data: [DONE]\n\n"
        except Exception as error:  # noqa: BLE001 - the status line is long gone, so whatever went wrong is told in the stream
            refusal = as_refusal(error)
            self.exchange.close(refusal.status_code, "failed")
            yield _event(refusal.body())

    async def _deltas(self) -> AsyncIterator[Delta]:
        reasons = set()
        with self.feed:
            async for delta in self.feed:
                self.exchange.queue_ms = self.feed.job.queue_ms
                self.exchange.count(delta.tokens)
                reasons.add(delta.finish_reason)
                yield delta
        self.exchange.close(200, "length" if "length" in reasons else "stop")

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.exchange.id, "object": "text_completion", "created": self.exchange.created, "model": self.model,
            "system_fingerprint": self.model, "seed": self.seed,
        }  # fmt: skip

    def _usage(self) -> dict[str, int]:
        read, made = self.exchange.prompt_tokens, self.exchange.completion_tokens
        return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}


class EventStream(StreamingResponse):
    """A completion as server-sent events."""

    def __init__(self, answer: Completion) -> None:
        super().__init__(answer.events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A client that goes while the last event is being sent leaves the events' iterator where it is: it cannot do this itself.
            self.answer.feed.job.cancel()
            self.answer.exchange.close(CLIENT_GONE, "cancelled")  # nothing, where it has been closed already


def no_such_model(name: object, service: Service) -> ApiError:
    """The refusal of a model that this server does not have."""
    return ApiError(404, f"There is no model {name!r} here. This server has {service.name!r}.", param="model", code="model_not_found")


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


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


async def _while_connected(request: Request, answering: Coroutine[Any, Any, T]) -> T | None:
    """What `answering` returns; None, and an end to it, when the client goes away first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer, leaving = asyncio.ensure_future(answering), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await answer if answer.done() else None
    finally:
        for task in (answer, leaving):
            task.cancel()
