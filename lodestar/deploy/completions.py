"""The work behind POST /v1/completions: each prompt's answers, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..build.completion import completion_parts, read_prompt
from ..contracts.randomness import derive_seed
from ..contracts.tokenizer import Tokenizer
from ..model.transformer import Transformer
from .errors import ApiError
from .protocol import CompletionBody


@dataclass(frozen=True)
class Delta:
    """What one turn added to one answer."""

    index: int
    text: str
    tokens: int
    """New tokens in this step, 0 or 1; a token may add no text yet."""
    finish_reason: str | None = None
    """`stop` or `length` in the answer's last delta."""


@dataclass(frozen=True)
class Prompt:
    """One prompt, as the model reads it."""

    text: str
    ids: Sequence[int]


def read_prompts(model: Transformer, tokenizer: Tokenizer, body: CompletionBody) -> list[Prompt]:
    """The prompts as tokens, all checked before any work is queued.

    Raises:
        ApiError: when a prompt is empty where it must not be, holds an id the vocabulary lacks or half a character, or does not fit the
            context beside `max_tokens`: nothing is ever cut off silently.
    """
    if not body.prompts:
        raise ApiError(400, "The list of prompts is empty. Send at least one.", param="prompt", code="invalid_value")
    prompts = [_read(tokenizer, prompt, body.suffix, body.room(model.config.context)) for prompt in body.prompts]
    for prompt in prompts:
        needed, context = len(prompt.ids) + body.max_tokens, model.config.context
        if needed > context:
            raise ApiError(
                400,
                f"This model's context is {context} tokens, and {needed} were asked for ({len(prompt.ids)} in the prompt, "
                f"{body.max_tokens} in the completion). Shorten the prompt or lower max_tokens.",
                param="prompt" if len(prompt.ids) >= context else "max_tokens",
                code="context_length_exceeded",
            )
    return prompts


def _read(tokenizer: Tokenizer, prompt: str | list[int], suffix: str, room: int | None) -> Prompt:
    if isinstance(prompt, str):
        for name, text in (("prompt", prompt), ("suffix", suffix)):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ApiError(
                    400, f"The {name} holds half of a surrogate pair (character {error.start}), which is no text. Remove it.", param=name
                ) from None
        return Prompt(prompt, read_prompt(tokenizer, prompt, suffix, room))
    if suffix:
        raise ApiError(
            400, "A suffix goes with a prompt of text, not of token ids. Send both as text.", param="suffix", code="invalid_value"
        )
    if not prompt:
        raise ApiError(400, "A prompt of token ids needs at least one. Send some, or the empty string.", param="prompt")
    for token in prompt:
        if not 0 <= token < tokenizer.vocabulary_size:
            message = f"There is no token {token}: the vocabulary has {tokenizer.vocabulary_size}. Send ids of this model's tokenizer."
            raise ApiError(400, message, param="prompt", code="invalid_value")
    return Prompt(tokenizer.decode(prompt), prompt if room is None else prompt[-room:])


def completion_work(
    model: Transformer, tokenizer: Tokenizer, body: CompletionBody, prompts: Sequence[Prompt], seed: int
) -> Callable[[], Iterator[Delta]]:
    """The deltas of all answers, one answer after the other; answer `i` of a prompt `p` has the index `p · n + i`.

    The first answer draws with `seed`, so that it equals the task's offline answer.
    """

    def work() -> Iterator[Delta]:
        for number, prompt in enumerate(prompts):
            for choice in range(body.n):
                index = number * body.n + choice
                request = body.for_choice(seed if index == 0 else derive_seed(seed, "choice", index))
                if body.echo:
                    yield Delta(index, prompt.text, 0)
                for part in completion_parts(model, tokenizer, request, prompt.ids):
                    yield Delta(index, *part)

    return work
