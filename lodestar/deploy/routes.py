"""The routes that ask the model: POST /v1/completions and /v1/chat/completions, which can stream, and one for each answer that comes whole.

A client that goes away stops its work.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Body, Request, Response
from fastapi.responses import JSONResponse

from ..build.chat import Conversing
from ..contracts.errors import UserError, quoted
from ..contracts.task import Endpoint
from ..model.transformer import Transformer
from . import images, speech, transcriptions
from .answers import CLIENT_GONE, Answer, Completion, Feed, FeedStream, as_refusal
from .chat import ChatAnswer, ChatBody, chat_work
from .completions import completion_work, read_prompts
from .engine import BusyError, Engine, Work
from .errors import ApiError
from .exchange import Exchange, Exchanges
from .protocol import USER_CHARACTERS, CompletionBody
from .service import Service

T = TypeVar("T")
RETRIES_HEADER = "x-stainless-retry-count"
"""In which OpenAI's clients say how often they have tried before."""
_NUMBER = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True)
class ApiLimits:
    """How much one request may ask for."""

    body_bytes: int = 1_000_000
    upload_bytes: int = 25 << 20
    """Of a body that may hold a recording or a picture; OpenAI's limit for recordings."""
    choices: int = 16
    """Prompts times n."""
    max_tokens: int = 4096
    inputs: int = 128
    """Texts in one request for a whole answer, which is one turn of the engine."""
    explanations: int = 8
    """Explanations that wait for the one in work; more are refused."""


WHOLE: Mapping[Endpoint, tuple[str, str]] = {
    "classify": ("clsf", "classification"),
    "translate": ("trns", "translation"),
    "summarize": ("summ", "summary"),
    "answer": ("answ", "answer"),
    "embeddings": ("embd", "list"),
    "recommend": ("rcmd", "recommendations"),
    "detect": ("dtct", "detections"),
}
"""The endpoints whose answers come whole: what their ids begin with, and what their `object` is called."""


ONE_INPUT = ("history",)
"""Lists that are one input, however long: what a user chose."""


class Routes:
    """The handlers, over one service and its engine."""

    def __init__(self, service: Service, engine: Engine, exchanges: Exchanges, limits: ApiLimits, also: str | None = None) -> None:
        """`also` is a further name that the model answers to, where it stands in for another one."""
        self.service, self.engine, self.exchanges, self.limits, self.also = service, engine, exchanges, limits, also
        self._explaining = asyncio.Lock()
        self._explanations = 0

    async def completions(self, body: CompletionBody, request: Request) -> Response:
        """Continue one or several prompts, as OpenAI's route of this name does."""
        exchange = self._begin(request, "/v1/completions", "cmpl")
        exchange.user = body.user

        async def begin() -> Completion:
            return self._begin_completion(body, exchange)

        return await self._told(request, exchange, begin, stream=body.stream)

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """Say what comes next in a conversation, as OpenAI's route of this name does."""
        exchange = self._begin(request, "/v1/chat/completions", "chatcmpl")
        exchange.user = body.user
        return await self._told(request, exchange, lambda: self._begin_chat(body, exchange), stream=body.stream)

    async def _told(self, request: Request, exchange: Exchange, begin: Callable[[], Awaitable[Answer]], *, stream: bool) -> Response:
        """The response to a body that `begin` reads and queues."""
        exchange.streamed = stream
        try:
            answer = await begin()
        except (ApiError, BusyError, UserError) as error:
            raise self._refused(exchange, error) from None
        if stream:
            return FeedStream(answer.events(), answer.feed, answer.exchange)
        return await self._answer(request, exchange, answer.whole())

    async def whole(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """The task's own answer to a body."""
        prefix, kind = WHOLE[self.service.task.endpoint]
        exchange = self._begin(request, self.service.route, prefix)
        try:
            question = dict(body)
            exchange.user = _user(question.pop("user", None))
            model = self._asked(question.pop("model", None))
            self._check_inputs(question)
            feed = self._feed(model, lambda: iter([self.service.answer(question)]))
        except (ApiError, BusyError) as error:
            raise self._refused(exchange, error) from None
        return await self._answer(request, exchange, self._whole(feed, exchange, kind, model))

    async def explain(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Which words an answer rests on, and how far that may be believed."""
        exchange = self._begin(request, "/v1/explain", "expl")
        try:
            asked = dict(body)
            exchange.user = _user(asked.pop("user", None))
            model = self._asked(asked.pop("model", None))
            self._check_inputs(asked["request"] if isinstance(asked.get("request"), dict) else {})
            self._check_text(asked)
        except ApiError as error:
            raise self._refused(exchange, error) from None
        return await self._answer(request, exchange, self._explain(asked, exchange, model))

    async def _explain(self, asked: dict[str, Any], exchange: Exchange, model: str) -> dict[str, Any]:
        """One at a time: each takes as many passes of the model as hundreds of answers do, and the engine's other places are for these."""
        if self._explanations > self.limits.explanations:
            raise BusyError(self.limits.explanations, self._explanations - 1)
        self._explanations += 1
        try:
            async with self._explaining:
                return await self._whole(self._feed(model, lambda: self.service.explain(asked)), exchange, "explanation", model)
        finally:
            self._explanations -= 1

    async def transcriptions(self, request: Request) -> Response:
        """Write down a recording, as OpenAI's route of this name does: a form with the field `file`, or JSON with it as a data: URL."""
        exchange = self._begin(request, "/v1/audio/transcriptions", "trsc")
        try:
            question = await transcriptions.read_question(request)
            exchange.user = _user(question.pop("user", None))
            model = self._asked(question.pop("model", None))
            service, form = self.service, str(question.get("response_format", "json"))
            exchange.streamed = str(question.get("stream", "")).lower() == "true"
            assert isinstance(service.task, transcriptions.Transcribing)
            transcribe = service.task.transcribe
            feed = self._feed(model, lambda: transcribe(service.model, service.tokenizer, question))
        except (ApiError, BusyError) as error:
            raise self._refused(exchange, error) from None
        if exchange.streamed:
            return transcriptions.stream(feed, exchange)
        return await self._told_while_connected(request, exchange, transcriptions.whole(feed, exchange, model, form))

    async def speech(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Say a text, as OpenAI's route of this name does: the file, its samples as they are made, or an event for each sentence."""
        exchange = self._begin(request, "/v1/audio/speech", "spch")
        service = self.service
        try:
            question = {name: value for name, value in body.items() if value is not None}
            exchange.user = _user(question.pop("user", None))
            model = self._asked(question.pop("model", None))
            self._check_text(question)
            told = speech.manner(question)
            exchange.streamed = told != "whole"
            assert isinstance(service.task, speech.Speaking)
            # What cannot be said is refused here, with a status of its own, before a stream begins.
            pieces = None if told == "whole" else service.task.utter(service.model, service.tokenizer, question)
            feed = self._feed(model, lambda: iter([service.answer(question)]) if pieces is None else pieces)
        except (ApiError, BusyError, UserError) as error:
            raise self._refused(exchange, error) from None
        if told == "whole":
            return await self._told_while_connected(request, exchange, speech.whole(feed, exchange))
        return speech.stream(feed, exchange, told, int(service.task.choices()["rate"]))

    async def images(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Make pictures of what is asked for, as OpenAI's route of this name does."""
        exchange = self._begin(request, "/v1/images/generations", "img")
        try:
            question = images.read_question(body)
            exchange.user = _user(question.pop("user", None))
            model = self._asked(question.pop("model", None))
            self._check_text(question)
            service, exchange.streamed = self.service, question.pop("stream", False)
            assert isinstance(service.task, images.Drawing)
            generate = service.task.generate
            feed = self._feed(model, lambda: generate(service.model, service.tokenizer, question))
        except (ApiError, BusyError) as error:
            raise self._refused(exchange, error) from None
        if exchange.streamed:
            return images.stream(feed, exchange, model, str(question.get("output_format", "png")))
        return await self._told_while_connected(request, exchange, images.whole(feed, exchange, model))

    def _begin(self, request: Request, route: str, prefix: str) -> Exchange:
        retries = request.headers.get(RETRIES_HEADER, "")
        tried = int(retries) if _NUMBER.fullmatch(retries) else 0
        exchange = self.exchanges.begin(route, prefix, release=self.service.release, retries=tried)
        exchange.arm = getattr(request.state, "arm", None)
        return exchange

    def _begin_completion(self, body: CompletionBody, exchange: Exchange) -> Completion:
        model = self._asked(body.model)
        self._check_amount(len(body.prompts) * body.n, body.max_tokens)
        assert isinstance(self.service.model, Transformer)
        prompts = read_prompts(self.service.model, self.service.tokenizer, body)
        # A seed that a person can read off the answer and send again.
        seed = secrets.randbits(32) if body.seed is None else body.seed
        feed = self._feed(model, completion_work(self.service.model, self.service.tokenizer, body, prompts, seed))
        exchange.prompt_tokens = sum(len(prompt.ids) for prompt in prompts)
        return Completion(model, seed, feed, exchange, body, prompts)

    async def _begin_chat(self, body: ChatBody, exchange: Exchange) -> ChatAnswer:
        model = self._asked(body.model)
        self._check_amount(body.n, body.max_tokens or 1)
        self._check_text(body.model_dump(include={"messages", "tools", "response_format"}))
        service = self.service
        assert isinstance(service.task, Conversing)
        asked = partial(service.task.ask, service.model, service.tokenizer, body)
        # A picture of many megapixels takes a second to read, in which others are to be heard.
        question = await asyncio.to_thread(asked) if service.holds_files else asked()
        seed = secrets.randbits(32) if body.seed is None else body.seed
        feed = self._feed(model, chat_work(service.tokenizer, question, body.n, seed))
        exchange.prompt_tokens = len(question.ids)
        return ChatAnswer(model, seed, feed, exchange, body, question)

    def _check_amount(self, choices: int, max_tokens: int) -> None:
        if choices > self.limits.choices:
            message = f"{choices} answers were asked for (prompts × n), and at most {self.limits.choices} are given at once. Ask for fewer."
            raise ApiError(400, message, param="n", code="invalid_value")
        if max_tokens > self.limits.max_tokens:
            message = f"max_tokens is {max_tokens}, and at most {self.limits.max_tokens} are given at once. Lower it."
            raise ApiError(400, message, param="max_tokens", code="invalid_value")

    async def _whole(self, feed: Feed, exchange: Exchange, kind: str, model: str) -> dict[str, Any]:
        with feed:
            answers = [answer async for answer in feed if answer is not None]  # None is a step on the way
            exchange.queue_ms = feed.job.queue_ms
        usage = answers[0].get("usage", {})
        exchange.prompt_tokens = int(usage.get("prompt_tokens", 0))
        exchange.completion_tokens = int(usage.get("completion_tokens", 0))
        exchange.close(200, "answered")
        return {"id": exchange.id, "object": kind, "created": exchange.created, "model": model, **answers[0]}

    async def _answer(self, request: Request, exchange: Exchange, answering: Coroutine[Any, Any, dict[str, Any]]) -> Response:
        """Wait for a whole answer, as long as its client does."""

        async def responding() -> Response:
            return JSONResponse(await answering)

        return await self._told_while_connected(request, exchange, responding())

    async def _told_while_connected(self, request: Request, exchange: Exchange, responding: Coroutine[Any, Any, Response]) -> Response:
        try:
            response = await _while_connected(request, responding)
        except Exception as error:  # each kind becomes its own status, and what is unknown becomes 500
            raise self._refused(exchange, error) from error
        finally:
            exchange.close(CLIENT_GONE, "cancelled")  # nothing, where it has been closed already
        return Response(status_code=CLIENT_GONE) if response is None else response

    def _asked(self, name: object) -> str:
        """The name of the model that answers: the one that was asked for, the release itself where none was."""
        if name is None or name == self.also:
            return self.service.name
        if name not in self.service.names:
            raise no_such_model(name, self.service)
        return str(name)

    def _feed(self, model: str, work: Work) -> Feed:
        return Feed(self.engine, self.service.work(model, work))

    def _check_inputs(self, question: dict[str, Any]) -> None:
        for name, value in question.items():
            if isinstance(value, list) and len(value) > self.limits.inputs and name not in ONE_INPUT:
                message = f"{len(value)} inputs were sent, and at most {self.limits.inputs} are answered at once. Send fewer."
                raise ApiError(400, message, param=name, code="invalid_value")
        self._check_text(question)

    @staticmethod
    def _check_text(question: dict[str, Any]) -> None:
        try:
            json.dumps(question, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no tokenizer can read
            raise ApiError(400, "The body holds half of a surrogate pair, which is no text. Remove it.") from None

    @staticmethod
    def _refused(exchange: Exchange, error: Exception) -> ApiError:
        refusal = as_refusal(error)
        exchange.close(refusal.status_code, "refused" if refusal.status_code < 500 else "failed")
        return refusal


def _user(given: object) -> str | None:
    """The name that a client gives its user."""
    if given is None or (isinstance(given, str) and len(given) <= USER_CHARACTERS):
        return given
    raise ApiError(400, f"The parameter 'user' must be a text of at most {USER_CHARACTERS} characters.", param="user", code="invalid_value")


def no_such_model(name: object, service: Service) -> ApiError:
    """The refusal of a model that this server does not have."""
    known = ", ".join(map(repr, service.names))
    return ApiError(404, f"There is no model {quoted(name)} here. This server has {known}.", param="model", code="model_not_found")


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
