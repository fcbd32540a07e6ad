"""Answering in a conversation: what a request means, the same offline, in a terminal and served."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, runtime_checkable

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from ..contracts.config import Config
from ..contracts.errors import UserError, unknown
from ..contracts.messages import FILE_PARTS, read_messages, read_tools
from ..contracts.randomness import derive_seed
from ..contracts.task import device_of
from ..contracts.tokenizer import Tokenizer
from ..model.transformer import Transformer
from .chat_template import ChatFormat, prompted
from .completion import CompletionRequest, Drawing, Part, completion_parts
from .constrain import Constraint, Grammar, calls_grammar, json_grammar

ANSWER_TOKENS = 512
"""Tokens that an answer may have where the request does not say, as far as the context has room."""
LEAST_ROOM = 16
"""Tokens that must be left for an answer where the request does not say."""


class JsonSchema(Config):
    """A JSON schema under the name that OpenAI's API gives it."""

    name: str = ""
    description: str | None = None
    of: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None
    """Held to either way."""


class ResponseFormat(Config):
    """What form the answer has."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None
    """Of the type `json_schema`."""

    @model_validator(mode="after")
    def _a_schema_where_one_is_named(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("'json_schema' belongs to the type 'json_schema', and to no other")
        return self

    def grammar(self) -> Grammar | None:
        """The form; None for text of any.

        Raises:
            UserError: the schema cannot be honoured.
        """
        if self.type == "text":
            return None
        return json_grammar({"type": "object"} if self.json_schema is None else self.json_schema.of, "response_format")


class ToolName(Config):
    """The name of a function."""

    name: str


class ToolChoice(Config):
    """The one function that is to be called."""

    type: Literal["function"] = "function"
    function: ToolName


class ChatRequest(Drawing):
    """A request for the next message; the names are those of OpenAI's chat completions."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    """The conversation so far: `role`, `content`, `tool_calls`."""
    tools: list[dict[str, Any]] = []
    """The functions that the model may ask to be called, as OpenAI's API takes them; of one that is `strict`, the arguments are held to
    its parameters."""
    tool_choice: Literal["auto", "none", "required"] | ToolChoice = "auto"
    """Whether it calls one: as it likes; never; at least one; or this one, once."""
    parallel_tool_calls: bool = True
    """Whether one answer may call several."""
    response_format: ResponseFormat = ResponseFormat()
    """The form of the answer: text, a JSON object, or JSON that a schema allows."""
    max_tokens: int | None = Field(None, ge=1)
    """At most so many new tokens; what the context has room for, up to 512, where absent."""

    @field_validator("messages", mode="before")
    @classmethod
    def _in_the_one_form(cls, messages: Any) -> Any:
        return read_messages(messages, "messages", FILE_PARTS)

    @field_validator("tools", mode="before")
    @classmethod
    def _as_functions(cls, tools: Any) -> Any:
        return read_tools(tools)


@runtime_checkable
class Conversing(Protocol):
    """A task that answers in conversations."""

    @property
    def form(self) -> ChatFormat: ...

    def ask(self, model: nn.Module, tokenizer: Tokenizer, request: ChatRequest) -> Question:
        """The request as the model reads it; raises `UserError` where it cannot be answered."""
        ...


@dataclass(frozen=True)
class Files:
    """The files of a conversation, looked at and ready to be read."""

    positions: Sequence[int]
    """Of the model, that each takes."""
    embed: Callable[[Tensor, Tensor], Tensor]
    """Ids (1, T), and which of them are positions of files (1, T) → what the decoder is given (1, T, W)."""


@dataclass(frozen=True)
class Question:
    """A request, as the model reads it."""

    decoder: Transformer
    """What writes the answer."""
    ids: list[int]
    request: CompletionRequest
    """How to draw; `max_tokens` filled in."""
    stop_ids: list[int]
    tools: bool
    constraint: Constraint | None = None
    """The form that the answer keeps to, where it has one; `again` for each answer."""
    files: list[bool] = field(default_factory=list)
    """For each of `ids`, whether it is a position of a file."""
    embed: Callable[[], Tensor] | None = None
    """What the decoder is given in the place of the ids' embeddings, (1, T, W), where there are files; it is made when it is wanted."""


@dataclass
class Reply:
    """A message under way: its text as it becomes certain, and, at the end, the calls in it."""

    tools: bool
    text: str = ""
    shown: int = 0
    calls: list[dict[str, Any]] = field(default_factory=list)

    def push(self, text: str) -> str:
        """The part of the content that is certain with some more text: all of it, but for what may be a call."""
        self.text += text
        end = len(self.text)
        if self.tools:
            begin = _possible_call(self.text)
            end = end if begin is None else begin
        new = self.text[self.shown : end]
        self.shown = max(self.shown, end)
        return new

    def finish(self) -> str:
        """The rest of the content, once no more text comes; `calls` is complete then."""
        content, self.calls = parse_calls(self.text) if self.tools else (self.text, [])
        return content[self.shown :]


def ask(model: nn.Module, tokenizer: Tokenizer, form: ChatFormat, request: ChatRequest, files: Files | None = None) -> Question:
    """The request as tokens.

    Args:
        model: the decoder, or what it is the `transformer` of.
        files: those of the messages, in their order; None for a model that reads text alone.

    Raises:
        UserError: the template refuses it, the form of the answer cannot be honoured, or it does not fit the context beside its answer;
            nothing is cut off in silence.
    """
    decoder = model if isinstance(model, Transformer) else model.transformer
    assert isinstance(decoder, Transformer)
    if files is None:
        _check_all_text(request.messages)
    tools = [] if request.tool_choice == "none" else request.tools
    grammar = _grammar(tokenizer, form, request, tools)
    read = prompted(form.prompt(tokenizer, request.messages, tools), () if files is None else files.positions, tokenizer.pad)
    ids, context = read.ids, decoder.config.context
    room = context - len(ids)
    wanted = request.max_tokens
    if room < (wanted or LEAST_ROOM):
        raise UserError(
            f"the context has {context} tokens, and the conversation takes {len(ids)} of them beside {wanted or LEAST_ROOM} for the answer",
            where="request", fix="shorten the conversation" + (", or lower max_tokens" if wanted else ""),
        )  # fmt: skip
    drawing = CompletionRequest(
        max_tokens=wanted or min(room, ANSWER_TOKENS), temperature=request.temperature, top_k=request.top_k, top_p=request.top_p,
        seed=request.seed, stop=request.stop,
    )  # fmt: skip
    stop_ids = form.stop_ids(tokenizer)
    constraint = None if grammar is None else Constraint(grammar, tokenizer, decoder.config.vocabulary_size, stop_ids)
    embed = None
    if files is not None and files.positions:
        given = files.embed

        def embed() -> Tensor:
            device = device_of(decoder)
            return given(torch.tensor([ids], device=device), torch.tensor([read.files], device=device))

    return Question(decoder, ids, drawing, stop_ids, bool(tools), constraint, read.files, embed)


def _check_all_text(messages: Sequence[Mapping[str, Any]]) -> None:
    for number, message in enumerate(messages, 1):
        if isinstance(message["content"], list):
            kind = next(part["type"] for part in message["content"] if part["type"] != "text")
            what = f"message {number} of messages holds a part of type {kind!r}, and this model reads text alone"
            raise UserError(what, fix="remove the part, or ask a model of the task multimodal")


def _grammar(tokenizer: Tokenizer, form: ChatFormat, request: ChatRequest, tools: Sequence[Mapping[str, Any]]) -> Grammar | None:
    """The form that a request asks its answer to keep to."""
    choice = request.tool_choice
    wanted = request.response_format.grammar()
    if choice not in ("auto", "none") and not tools:
        raise UserError("a call of a tool is required, and there are no tools", where="tool_choice", fix="send tools, or leave it out")
    if isinstance(choice, ToolChoice):
        known = [tool["function"].get("name") for tool in tools]
        if choice.function.name not in known:
            raise unknown("tool", choice.function.name, [str(name) for name in known], where="tool_choice")
        tools = [tool for tool in tools if tool["function"].get("name") == choice.function.name]
    required = choice not in ("auto", "none")
    if wanted is not None and tools:
        raise UserError(
            "an answer cannot both be held to a form and call tools", where="response_format",
            fix='leave out the tools, or the response_format (tool_choice "none" leaves the tools out)',
        )  # fmt: skip
    several = request.parallel_tool_calls and not isinstance(choice, ToolChoice)
    if required or any(tool["function"].get("strict") for tool in tools) or (tools and not several):
        return calls_grammar(form, tokenizer, tools, required=required, several=several)
    return wanted


def answer_parts(tokenizer: Tokenizer, question: Question, seed: int | None = None) -> Iterator[Part]:
    """The answer's text as it is written; `seed` in place of the request's."""
    request = question.request if seed is None else question.request.model_copy(update={"seed": seed})
    constraint = None if question.constraint is None else question.constraint.again()
    embeddings = None if question.embed is None else question.embed()
    return completion_parts(
        question.decoder, tokenizer, request, question.ids, stop_ids=question.stop_ids, constraint=constraint, embeddings=embeddings
    )


def answer(tokenizer: Tokenizer, question: Question, seed: int | None) -> dict[str, Any]:
    """`message`, `finish_reason` (`stop`, `length` or `tool_calls`) and `usage` in tokens.

    Args:
        seed: the request's, which names the calls.
    """
    reply = Reply(question.tools)
    content, written, reason = "", 0, ""
    for part in answer_parts(tokenizer, question):
        content += reply.push(part.text)
        written += part.tokens
        reason = part.finish_reason or reason
    content += reply.finish()
    return {
        "message": message_of(content, named(reply.calls, seed or 0)),
        "finish_reason": "tool_calls" if reply.calls else reason,
        "usage": {"prompt_tokens": len(question.ids), "completion_tokens": written, "total_tokens": len(question.ids) + written},
    }


def message_of(content: str, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The assistant's message in OpenAI's form."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message |= {"content": content or None, "tool_calls": list(calls)}
    return message


def named(calls: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Calls in OpenAI's form: an id each, and the arguments as JSON."""
    return [
        {
            "id": f"call_{derive_seed(seed, 'call', number):016x}", "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)},
        }
        for number, call in enumerate(calls)
    ]  # fmt: skip


# Tool calls in a text. Families write them as JSON: between <tool_call> marks (Hermes, Qwen, ours), after a special token that the
# decoder leaves out (Mistral), or bare (Llama 3, with `parameters`).

_MARKED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_OPENING = "<tool_call>"


def parse_calls(text: str) -> tuple[str, list[dict[str, Any]]]:
    """The content, and each call's `name` and `arguments`. What only looks like a call stays content."""
    marked = [_as_calls(found.group(1)) for found in _MARKED.finditer(text)]
    if marked:
        if not all(marked):
            return text, []
        return text[: text.find(_OPENING)].rstrip(), [call for calls in marked for call in calls or ()]
    bare = _as_calls(text.strip())
    return ("", bare) if bare else (text, [])


def _as_calls(text: str) -> list[dict[str, Any]] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    calls = value if isinstance(value, list) else [value]
    found = []
    for call in calls:
        arguments = call.get("arguments", call.get("parameters")) if isinstance(call, dict) else None
        if not isinstance(arguments, dict) or not isinstance(call.get("name"), str):
            return None
        found.append({"name": call["name"], "arguments": arguments})
    return found or None


def _possible_call(text: str) -> int | None:
    """Where what may become a call begins; None where nothing does."""
    if text.lstrip()[:1] in ("{", "["):
        return 0
    begin = text.find(_OPENING)
    if begin < 0:
        begin = next((len(text) - size for size in range(min(len(_OPENING) - 1, len(text)), 0, -1) if text.endswith(_OPENING[:size])), -1)
    return None if begin < 0 else len(text[:begin].rstrip())
