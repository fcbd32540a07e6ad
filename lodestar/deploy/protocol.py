"""The bodies of the HTTP API: what a request may say, which of OpenAI's parameters are refused, and how a mistake is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from ..build.completion import CompletionRequest
from ..contracts.config import Config
from ..contracts.errors import nearest
from .errors import ApiError

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "logprobs": (),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
}
"""OpenAI's parameters that this server does not have, and the values of theirs that ask for nothing."""
IGNORED: tuple[str, ...] = ()
"""OpenAI's parameters that change nothing."""
USER_CHARACTERS = 512
"""Of a name that a client gives its user."""


class StreamOptions(Config):
    """How a stream is told."""

    include_usage: bool = False
    """A last chunk without choices carries the usage."""
    include_obfuscation: bool = False
    """OpenAI's padding against eavesdroppers on the length; accepted, not added."""


def as_openai_reads_it(data: Any, neutral: Mapping[str, tuple[Any, ...]], ignored: Sequence[str]) -> Any:
    """A body less its nulls, its parameters that change nothing, and those that this server does not have and that ask for nothing."""
    if not isinstance(data, Mapping):
        return data
    given = {key: value for key, value in data.items() if value is not None and key not in ignored}
    for key, values in neutral.items():
        if key in given and given.pop(key) not in values:
            raise ApiError(400, f"This server does not support {key!r}. Leave it out.", param=key, code="unsupported_parameter")
    return given


def one_or_several(stop: Any) -> Any:
    """A stop string, or several, as several."""
    return [stop] if isinstance(stop, str) else stop


class CompletionBody(CompletionRequest):
    """The body of POST /v1/completions: OpenAI's, with `top_k`. A field that is null counts as left out."""

    model_config = ConfigDict(strict=True, defer_build=False)  # FastAPI takes it as it is

    prompt: str | list[str] | list[int] | list[list[int]] = ""  # type: ignore[assignment] # the route takes several at once
    """A text, several texts, or the token ids of one or several."""
    model: str | None = None
    """The name that GET /v1/models tells; checked where given."""
    n: int = Field(1, ge=1)
    """Answers to each prompt; the first one draws with `seed`, the others with seeds derived from it."""
    stream: bool = False
    """Send the text as it is made, as server-sent events."""
    stream_options: StreamOptions = StreamOptions()
    user: str | None = Field(None, max_length=USER_CHARACTERS)
    """Whose request it is, by a name that the client makes up; kept as a salted hash, to know who comes back."""
    echo: bool = False
    """Begin each answer with its prompt."""

    @model_validator(mode="before")
    @classmethod
    def _as_openai_reads_it(cls, data: Any) -> Any:
        return as_openai_reads_it(data, NEUTRAL, IGNORED)

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_or_several(cls, stop: Any) -> Any:
        return one_or_several(stop)

    @property
    def prompts(self) -> Sequence[str | list[int]]:
        """One entry a prompt: a text, or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]  # pydantic has checked that all of them are
        return self.prompt  # type: ignore[return-value]

    def for_choice(self, seed: int | None) -> CompletionRequest:
        """The parameters of one answer."""
        return CompletionRequest(
            max_tokens=self.max_tokens, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, seed=seed, stop=self.stop
        )


class Feedback(Config):
    """The body of POST /v1/feedback: what a person thought of one answer, or what came of it."""

    model_config = ConfigDict(strict=True, defer_build=False)  # FastAPI takes it as it is

    id: str
    """The answer's id."""
    rating: Literal["up", "down"] | None = None
    """Whether it was good or bad."""
    comment: Annotated[str, Field(max_length=2000)] = ""
    """Why; kept as it is, so it should name nobody."""
    outcome: bool | None = None
    """Whether it did what it was for: the ticket was closed, the thing was bought."""

    @model_validator(mode="after")
    def _says_something(self) -> Feedback:
        if self.rating is None and self.outcome is None:
            raise ApiError(
                400, "The feedback says nothing. Send `rating` (up or down), `outcome` (true or false), or both.", param="rating"
            )
        return self


UNIONS = {
    "prompt": "a string, a list of strings, or the token ids of one or several prompts",
    "stop": "a string or a list of strings that are not empty",
    "truncate_prompt_tokens": "-1 (as many as there is room for), or a whole number of at least 1",
    "tool_choice": 'auto, none, required, or {"type": "function", "function": {"name": "…"}}',
}
"""Fields that take several types, in words: pydantic would list one mistake for each of the types."""


def as_api_error(errors: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> ApiError:
    """The first of pydantic's mistakes as one sentence that names the field."""
    first = errors[0]
    path = [part for part in first["loc"] if part != "body"]
    name = str(path[0]) if path else None
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return ApiError(400, f"The body is not JSON ({reason}, at character {first['loc'][-1]}). Send a JSON object.", code="invalid_json")
    if name is None:
        return ApiError(400, "The body must be a JSON object of parameters.", code="invalid_json")
    where = ".".join(str(part) for part in path)
    if first["type"] == "extra_forbidden":
        guess = nearest(name, fields)
        fix = f"Did you mean {guess!r}?" if guess and len(path) == 1 else "Leave it out."
        return ApiError(400, f"Unknown parameter: {where!r}. {fix}", param=where, code="unknown_parameter")
    if first["type"] == "missing":
        return ApiError(400, f"The parameter {where!r} is missing. Add it.", param=where, code="missing_parameter")
    if name in UNIONS:
        return ApiError(400, f"The parameter {name!r} must be {UNIONS[name]}.", param=name, code="invalid_type")
    message = first["msg"].removeprefix("Input should be ")
    return ApiError(400, f"The parameter {where!r} must be {message}.", param=where, code="invalid_value")
