"""Decoding with the cache, and the one sampler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor

from .cache import KVCache
from .config import ModelConfig
from .fast import Sources, TokenDecoder, left_padding, takes
from .transformer import Transformer


def sample(
    logits_BV: Tensor,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Choose the next token of each row, (B,).

    Args:
        temperature: 0 takes the likeliest token; otherwise logits are divided by it.
        top_k: only the k likeliest tokens can be drawn.
        top_p: only the likeliest tokens that together reach this probability (Holtzman et al. 2020), always at least one.
        generator: the source of the draw.
    """
    if temperature == 0.0:
        return logits_BV.max(-1).indices  # argmax takes four times as long over bfloat16 (measured 2026-11: bench/RESULTS.d/speed.md)
    logits_BV = logits_BV.float() / temperature
    if top_k is not None and top_k < logits_BV.shape[-1]:
        smallest = logits_BV.topk(top_k, dim=-1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < smallest, -torch.inf)
    if top_p is not None and top_p < 1.0:
        ordered, order = logits_BV.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # what the likelier tokens already reach
        logits_BV = logits_BV.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), -torch.inf)
    return torch.multinomial(logits_BV.softmax(-1), 1, generator=generator).squeeze(-1)


@torch.inference_mode()
def stream(
    model: Transformer,
    tokens: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop_ids: Collection[int] = (),
    embeddings: Tensor | None = None,
    attention_mask: Tensor | None = None,
    source_tokens: Tensor | None = None,
    source_embeddings: Tensor | None = None,
    source_mask: Tensor | None = None,
    allow: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """The next token of each row, (B,), one step at a time; ends once every row has drawn one of `stop_ids`.

    A row that has stopped repeats its stop token until the others have, too. What does not fit the context is not asked for: the
    caller sees the limit as a ValueError before the first step.

    Args:
        model: a decoder or an encoder-decoder, in eval mode.
        tokens: the prompt, (B, T), T ≥ 1; shorter rows are padded on the left.
        embeddings: what is read in the place of the prompt's own embeddings, (B, T, W), where not all of it is text.
        attention_mask: (B, T), False on the padding; None where there is none.
        source_tokens, source_mask: what an encoder-decoder reads, (B, S); or
        source_embeddings: the same, embedded by another front end, (B, S, W).
        seed: of the draws; None draws afresh.
        allow: called with the logits (B, V) before each draw, after the caller has been given the token before; what it returns is drawn
            from, so that it can keep tokens out.
    """
    batch, length = tokens.shape
    if length + max_new_tokens > model.config.context:
        raise ValueError(
            f"a prompt of {length} tokens and {max_new_tokens} new ones exceed the context of {model.config.context}; shorten one of them"
        )
    device, dtype = tokens.device, model.dtype
    generator = None
    if temperature > 0.0:
        generator = torch.Generator(device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
    memory = None
    if source_tokens is not None or source_embeddings is not None:
        memory = model.encode(source_tokens, source_mask, embeddings=source_embeddings)
    cache = KVCache(model.config, batch, length + max_new_tokens, dtype=dtype, device=device)
    positions = None
    if attention_mask is not None:
        positions = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
    padding = torch.zeros(batch, dtype=torch.long) if attention_mask is None else left_padding(attention_mask)
    fast = None
    if padding is not None and takes(model, batch):
        sources = None if memory is None else Sources.of(model, memory, source_mask)
        fast = TokenDecoder(model, cache, sources) if (memory is None) == (sources is None) else None
    turning, read = _turning_point(model.config), tokens
    given = embeddings
    stops = torch.tensor(sorted(stop_ids), device=device)
    stopped = torch.zeros(batch, dtype=torch.bool, device=device)
    for _ in range(max_new_tokens):
        if turning is not None and 0 < cache.length <= turning < cache.length + tokens.shape[1]:
            # From here on every angle is another, those of the keys held so far, too: all is read again, once.
            cache.length, tokens = 0, read
            given = None if embeddings is None else torch.cat((embeddings, model.embed(read[:, embeddings.shape[1] :])), dim=1)
            positions = None if attention_mask is None else (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
        if fast is not None and padding is not None and tokens.shape[1] == 1 and given is None:
            logits = fast.step(tokens, positions, padding)
        else:
            hidden = model.hidden(
                tokens, embeddings=given, positions=positions, attention_mask=attention_mask, memory=memory, source_mask=source_mask,
                cache=cache,
            )  # fmt: skip
            logits = model.logits(hidden[:, -1])
        drawn = sample(logits if allow is None else allow(logits), temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
        if len(stops):
            drawn = torch.where(stopped, tokens[:, -1], drawn)
            stopped = stopped | torch.isin(drawn, stops)
        yield drawn
        if len(stops) and bool(stopped.all()):
            return
        tokens, given = drawn[:, None], None
        read = read if turning is None else torch.cat((read, tokens), dim=1)
        if attention_mask is not None and positions is not None:
            attention_mask = torch.cat((attention_mask, torch.ones_like(attention_mask[:, :1])), dim=1)
            positions = positions[:, -1:] + 1


def _turning_point(config: ModelConfig) -> int | None:
    """The number of tokens past which LongRoPE turns all keys by other angles (Ding et al. 2024); None where angles stay.

    The dynamic scaling changes with every token, and keys keep the angles that they were made with, as in transformers.
    """
    scaling = config.rotary_scaling
    return scaling.original_context if config.position == "rotary" and scaling is not None and scaling.kind == "longrope" else None


def generate(
    model: Transformer,
    tokens: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop_ids: Collection[int] = (),
    embeddings: Tensor | None = None,
    attention_mask: Tensor | None = None,
    source_tokens: Tensor | None = None,
    source_embeddings: Tensor | None = None,
    source_mask: Tensor | None = None,
) -> Tensor:
    """The new tokens, (B, at most max_new_tokens); greedy unless told. The arguments are those of `stream`."""
    steps = stream(
        model, tokens, max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, stop_ids=stop_ids,
        embeddings=embeddings, attention_mask=attention_mask, source_tokens=source_tokens, source_embeddings=source_embeddings,
        source_mask=source_mask,
    )  # fmt: skip
    drawn = list(steps)
    return torch.stack(drawn, dim=1) if drawn else tokens[:, :0]
