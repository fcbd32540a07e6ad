"""Continuing a prompt: what a request means, the same offline and served."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import takewhile
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.progress import track
from ..contracts.randomness import derive_seed
from ..contracts.task import device_of
from ..contracts.tokenizer import Tokenizer
from ..model.generate import generate, stream
from ..model.transformer import Transformer
from .constrain import Constraint
from .fill import FillMarks, near_gap
from .incremental import StopStrings, TextStream
from .measuring import batches_by_length, evaluating


class Drawing(Config):
    """How tokens are drawn, and what ends a text; the names are those of OpenAI's API."""

    temperature: float = Field(0.0, ge=0, le=2)
    """0 takes the likeliest token each time; higher draws more freely."""
    top_k: int | None = Field(None, ge=1)
    """Draw from the k likeliest tokens alone."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Draw from the likeliest tokens that together have this probability."""
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    """Equal seeds draw equally; none draws afresh."""
    stop: list[Annotated[str, Field(min_length=1)]] = []
    """The text ends before the first of these strings."""


class CompletionRequest(Drawing):
    """A request for a continuation; the names are those of OpenAI's completions."""

    prompt: str = ""
    """The text to continue; with the new tokens it must fit the model's context."""
    truncate_prompt_tokens: Literal[-1] | Annotated[int, Field(ge=1)] | None = None
    """Of a prompt that is longer, read so many tokens, those nearest to the new text; with -1, as many as the context has room for. vLLM's
    parameter, for an editor, which cannot count the model's tokens; absent, a prompt that does not fit is refused."""
    suffix: str = ""
    """What follows the new text, for a model that has learnt to fill a gap."""
    max_tokens: int = Field(16, ge=1)
    """At most so many new tokens; less than the context."""

    def room(self, context: int) -> int | None:
        """Tokens of the prompt that are read at most; None where all of it must be."""
        if self.truncate_prompt_tokens == -1:
            return max(1, context - self.max_tokens)
        return self.truncate_prompt_tokens


def prompt_tokens(model: Transformer, tokenizer: Tokenizer, request: CompletionRequest) -> list[int]:
    """What the model reads: the mark that begins a document, and the prompt.

    Raises:
        UserError: they do not fit the context beside `max_tokens`: nothing is cut off in silence; or there is a suffix, and the model has
            not learnt to fill gaps.
    """
    context = model.config.context
    tokens = read_prompt(tokenizer, request.prompt, request.suffix, request.room(context))
    if len(tokens) + request.max_tokens > context:
        raise UserError(
            f"the context has {context} tokens, and {len(tokens) + request.max_tokens} were asked for ({len(tokens)} in the prompt, "
            f"{request.max_tokens} in the completion)",
            where="request", fix="shorten the prompt, or lower max_tokens",
        )  # fmt: skip
    return tokens


def read_prompt(tokenizer: Tokenizer, prompt: str, suffix: str = "", room: int | None = None) -> list[int]:
    """A prompt as tokens, with the gap after it where there is a suffix; raises `UserError` where the model cannot fill gaps.

    Args:
        room: read at most so many tokens, those nearest to what is to be written; all where absent.
    """
    if not suffix:
        whole = [tokenizer.opening, *tokenizer.encode(prompt)]
        return whole if room is None else whole[-room:]
    marks = FillMarks.of(tokenizer)
    if marks is None:
        raise UserError("this model has not learnt to fill a gap", where="suffix", fix="leave it out, or ask a model for code")
    if room is not None:
        return near_gap(tokenizer, marks, prompt, suffix, room)
    return [tokenizer.opening, *marks.prompt(tokenizer.encode(prompt), tokenizer.encode(suffix))]


def completion_tokens(
    model: Transformer,
    tokenizer: Tokenizer,
    request: CompletionRequest,
    prompt_ids: Sequence[int] | None = None,
    stop_ids: Collection[int] | None = None,
    constraint: Constraint | None = None,
    embeddings: Tensor | None = None,
) -> Iterator[int]:
    """The new tokens one by one; ends before a token of `stop_ids`, or after `max_tokens`. Stop strings are the caller's.

    Args:
        prompt_ids: what the model reads, exactly, in place of `request.prompt`.
        stop_ids: the mark that ends a document where absent.
        constraint: the form that the tokens keep to.
        embeddings: of the prompt, (1, T, W), where not all of it is text.
    """
    ends = {tokenizer.end_of_text} if stop_ids is None else set(stop_ids)
    read = prompt_tokens(model, tokenizer, request) if prompt_ids is None else prompt_ids
    prompt = torch.tensor([list(read)], device=device_of(model))
    steps = stream(
        model, prompt, request.max_tokens, temperature=request.temperature, top_k=request.top_k, top_p=request.top_p, seed=request.seed,
        embeddings=embeddings, allow=None if constraint is None else constraint.mask,
    )  # fmt: skip
    for drawn in steps:
        token = int(drawn)
        if token in ends:
            return
        if constraint is not None:
            constraint.accept(token)
        yield token


class Part(NamedTuple):
    """What one new token, or the end, added to a completion's text."""

    text: str
    tokens: int
    """New tokens, 0 or 1; a token may add no text yet."""
    finish_reason: str | None = None
    """In the last part: `stop` where the model or a stop string ended it, else `length`."""


def completion_parts(
    model: Transformer,
    tokenizer: Tokenizer,
    request: CompletionRequest,
    prompt_ids: Sequence[int],
    stop_ids: Collection[int] | None = None,
    constraint: Constraint | None = None,
    embeddings: Tensor | None = None,
) -> Iterator[Part]:
    """A completion as it is written: whole characters only, and nothing of the stop string that ends it.

    The arguments are those of `completion_tokens`.
    """
    text, stops = TextStream(tokenizer), StopStrings(request.stop)
    count = 0
    for token in completion_tokens(model, tokenizer, request, prompt_ids, stop_ids, constraint, embeddings):
        count += 1
        certain = stops.push(text.push(token))
        if stops.found:
            yield Part(certain, 1, "stop")
            return
        yield Part(certain, 1)
    # The last bytes may be no character; they are shown as what they are, and may still complete a stop string.
    rest = stops.push(text.flush())
    yield Part(rest + stops.flush(), 0, "stop" if stops.found or count < request.max_tokens else "length")


def complete(model: nn.Module, tokenizer: Tokenizer, request: CompletionRequest) -> dict[str, Any]:
    """`text`, `finish_reason` (`stop` where the model or a stop string ended it, else `length`) and `usage` in tokens."""
    assert isinstance(model, Transformer)
    read = prompt_tokens(model, tokenizer, request)
    parts = list(completion_parts(model, tokenizer, request, read))
    written = sum(part.tokens for part in parts)
    return {
        "text": "".join(part.text for part in parts),
        "finish_reason": parts[-1].finish_reason,
        "usage": {"prompt_tokens": len(read), "completion_tokens": written, "total_tokens": len(read) + written},
    }


def complete_all(model: nn.Module, tokenizer: Tokenizer, prompts: Sequence[str], max_tokens: int) -> list[str]:
    """The greedy completion of each prompt, as `complete` gives it, many at once.

    For measuring: of a prompt that is too long for the context beside `max_tokens` (at most half of it), the model reads the end.
    """
    rows = [read_prompt(tokenizer, prompt) for prompt in prompts]
    return complete_rows(model, tokenizer, rows, max_tokens, [tokenizer.end_of_text])


def complete_rows(
    model: nn.Module,
    tokenizer: Tokenizer,
    rows: Sequence[Sequence[int]],
    max_tokens: int,
    stop_ids: Collection[int],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    embed: Callable[[Sequence[int], Tensor], Tensor] | None = None,
) -> list[str]:
    """As `complete_all`, of prompts as tokens; each text ends before the first of `stop_ids`.

    Args:
        temperature: draws where it is not 0; rows that are alike draw apart.
        embed: some of the rows, and their tokens (B, T), padded on the left → their embeddings (B, T, W), where they are not all text; no
            such row may be too long.
    """
    assert isinstance(model, Transformer)
    max_tokens = min(max_tokens, model.config.context // 2)
    room = model.config.context - max_tokens
    read = [list(row)[-room:] for row in rows]
    texts = [""] * len(read)
    device, ends = device_of(model), set(stop_ids)
    with evaluating(model):
        for batch in track(batches_by_length([len(row) + max_tokens for row in read]), "completions", "batch"):
            longest = len(read[batch[-1]])
            tokens_BT = torch.tensor([[tokenizer.pad] * (longest - len(read[row])) + read[row] for row in batch], device=device)
            lengths_B = torch.tensor([len(read[row]) for row in batch], device=device)
            # True on the real tokens, which stand on the right; rows of one length need no mask.
            mask_BT = torch.arange(longest, device=device) >= longest - lengths_B[:, None]
            new_BT = generate(
                model, tokens_BT, max_tokens, stop_ids=ends, embeddings=None if embed is None else embed(batch, tokens_BT),
                attention_mask=None if bool(mask_BT.all()) else mask_BT,
                temperature=temperature, seed=derive_seed(seed, "rows", batch[0]),
            )  # fmt: skip
            for row, ids in zip(batch, new_BT.tolist(), strict=True):
                texts[row] = tokenizer.decode(takewhile(lambda token: token not in ends, ids))
    return texts
