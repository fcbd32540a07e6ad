"""POST /v1/chat/completions: its body, the work behind it, and how its answer is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from ..build.chat import ChatRequest, Question, Reply, answer_parts, message_of, named
from ..contracts.randomness import derive_seed
from ..contracts.tokenizer import Tokenizer
from .answers import Answer
from .completions import Delta
from .errors import ApiError
from .protocol import IGNORED, NEUTRAL, USER_CHARACTERS, StreamOptions, as_openai_reads_it, one_or_several

CHAT_NEUTRAL = {
    **{name: values for name, values in NEUTRAL.items() if name != "best_of"},
    "logprobs": (False,), "top_logprobs": (0,), "modalities": (["text"],),
}  # fmt: skip
"""As `NEUTRAL`, of this route's parameters."""
CHAT_IGNORED = (*IGNORED, "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key")
"""As `IGNORED`, of this route's parameters."""


class ChatBody(ChatRequest):
    """The body of POST /v1/chat/completions: OpenAI's, with `top_k`. A field that is null counts as left out."""

    model_config = ConfigDict(strict=True, defer_build=False)  # FastAPI takes it as it is

    model: str | None = None
    """The name that GET /v1/models tells; checked where given."""
    n: int = Field(1, ge=1)
    """Answers; the first one draws with `seed`, the others with seeds derived from it."""
    stream: bool = False
    """Send the text as it is made, as server-sent events."""
    stream_options: StreamOptions = StreamOptions()
    user: str | None = Field(None, max_length=USER_CHARACTERS)
    """Whose request it is, by a name that the client makes up; kept as a salted hash, to know who comes back."""

    @model_validator(mode="before")
    @classmethod
    def _as_openai_reads_it(cls, data: Any) -> Any:
        given = as_openai_reads_it(data, CHAT_NEUTRAL, CHAT_IGNORED)
        if isinstance(given, dict) and "max_completion_tokens" in given:
            newer = given.pop("max_completion_tokens")
            if given.setdefault("max_tokens", newer) != newer:
                raise ApiError(
                    400, "max_tokens and max_completion_tokens are two names of one limit, and differ. Send one of them.",
                    param="max_completion_tokens", code="invalid_value",
                )  # fmt: skip
        return given

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_or_several(cls, stop: Any) -> Any:
        return one_or_several(stop)


def chat_work(tokenizer: Tokenizer, question: Question, n: int, seed: int) -> Callable[[], Iterator[Delta]]:
    """The deltas of all answers, one answer after the other. The first one draws with `seed`, so that it equals the offline one."""

    def work() -> Iterator[Delta]:
        for index in range(n):
            for part in answer_parts(tokenizer, question, seed if index == 0 else derive_seed(seed, "choice", index)):
                yield Delta(index, *part)

    return work


@dataclass(frozen=True)
class ChatAnswer(Answer):
    """The answer to one body of POST /v1/chat/completions."""

    body: ChatBody
    question: Question
    replies: dict[int, Reply] = field(default_factory=dict)
    """The messages under way."""

    @property
    def stream_options(self) -> StreamOptions:
        return self.body.stream_options

    async def whole(self) -> dict[str, Any]:
        contents, reasons = [""] * self.body.n, [""] * self.body.n
        async for delta, text in self._texts():
            contents[delta.index] += text
            reasons[delta.index] = delta.finish_reason or ""
        choices = []
        for index, (content, reason) in enumerate(zip(contents, reasons, strict=True)):
            calls = self._calls(index)
            message = {**message_of(content, calls), "refusal": None}
            finish_reason = "tool_calls" if calls else reason
            choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason})
        return {**self.head(chunk=False), "choices": choices, "usage": self.usage()}

    async def _texts(self) -> AsyncIterator[tuple[Delta, str]]:
        async for delta in self.deltas():
            yield delta, self._certain(delta)

    def _certain(self, delta: Delta) -> str:
        """The content that a delta makes certain: what may be a call is held back."""
        reply = self.replies.setdefault(delta.index, Reply(self.question.tools))
        return reply.push(delta.text) + (reply.finish() if delta.finish_reason else "")

    def _calls(self, index: int) -> list[dict[str, Any]]:
        return named(self.replies[index].calls, self.seed if index == 0 else derive_seed(self.seed, "choice", index))

    def chunks(self, delta: Delta) -> Iterator[dict[str, Any]]:
        if delta.index not in self.replies:
            yield _chunk(delta.index, {"role": "assistant", "content": ""})
        text = self._certain(delta)
        if text:
            yield _chunk(delta.index, {"content": text})
        if delta.finish_reason:
            calls = self._calls(delta.index)
            if calls:
                yield _chunk(delta.index, {"tool_calls": [{"index": number, **call} for number, call in enumerate(calls)]})
            yield _chunk(delta.index, {}, "tool_calls" if calls else delta.finish_reason)

    def head(self, *, chunk: bool) -> dict[str, Any]:
        return {"object": "chat.completion.chunk" if chunk else "chat.completion", **self.common()}


def _chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
