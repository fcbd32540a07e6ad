"""A Transformer's steps for beam search: its cache, and the rows that go on from each other. By the modules, or by compiled code.

Axes: B sentences, P tokens of a prompt, S source tokens, R rows, V vocabulary, W model width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import fast
from .beam import Step
from .cache import KVCache
from .transformer import Transformer


def make_step(
    model: Transformer,
    prompt_BP: Tensor,
    most: int,
    *,
    beams: int,
    attention_mask: Tensor | None = None,
    source_tokens: Tensor | None = None,
    source_mask: Tensor | None = None,
    memory: Tensor | None = None,
) -> Step:
    """The fastest way at hand; the arguments are those of `TransformerStep`.

    Args:
        beams: rows that a sentence comes to have at most.
    """
    plain = TransformerStep(
        model, prompt_BP, most, attention_mask=attention_mask, source_tokens=source_tokens, source_mask=source_mask, memory=memory
    )  # fmt: skip
    if prompt_BP.device.type != "cpu" or not fast.takes(model, beams * len(prompt_BP)):
        return plain
    padding_B = torch.zeros(len(prompt_BP), dtype=torch.long) if attention_mask is None else fast.left_padding(attention_mask)
    sources = None if plain.memory is None else fast.Sources.of(model, plain.memory, source_mask)
    if padding_B is None or (plain.memory is None) != (sources is None):
        return plain
    return CompiledStep(plain, sources, padding_B, beams)


class TransformerStep:
    """See `beam.Step`. The model is an encoder-decoder or a decoder, in eval mode.

    Past the original context of LongRoPE, keys keep the angles that they were made with; `generate.stream` reads all again there.

    Args:
        prompt_BP: what each sentence's output begins with, P ≥ 1; shorter rows are padded on the left.
        most: steps at most.
        attention_mask: (B, P), False on the prompts' padding; None where there is none.
        source_tokens, source_mask: what an encoder-decoder reads, (B, S).
        memory: in the place of the tokens, what its encoder made of them or of something else, (B, S, W).

    Raises:
        ValueError: the prompt and `most` new tokens exceed the context.
    """

    def __init__(
        self,
        model: Transformer,
        prompt_BP: Tensor,
        most: int,
        *,
        attention_mask: Tensor | None = None,
        source_tokens: Tensor | None = None,
        source_mask: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> None:
        batch, length = prompt_BP.shape
        if length + most > model.config.context:
            raise ValueError(
                f"a prompt of {length} tokens and {most} new ones exceed the context of {model.config.context}; shorten one of them"
            )
        self.model, self.prompt_BP, self.attention_mask, self.source_mask = model, prompt_BP, attention_mask, source_mask
        self.memory = memory if source_tokens is None else model.encode(source_tokens, source_mask)
        self.cache = KVCache(model.config, batch, length + most, dtype=model.dtype, device=prompt_BP.device)
        self.positions = None if attention_mask is None else (attention_mask.long().cumsum(-1) - 1).clamp(min=0)

    def begin(self) -> Tensor:
        """(B, V)."""
        return self._logits(self.prompt_BP)

    def next(self, tokens_R: Tensor) -> Tensor:
        """(R) → (R, V)."""
        if self.attention_mask is not None and self.positions is not None:
            self.attention_mask = torch.cat((self.attention_mask, torch.ones_like(self.attention_mask[:, :1])), dim=1)
            self.positions = self.positions[:, -1:] + 1
        return self._logits(tokens_R[:, None])

    def reorder(self, rows_R: Tensor, *, same_sources: bool) -> None:
        """See `beam.Step`."""
        self.cache.reorder(rows_R, cross=not same_sources)
        if same_sources:
            return
        if self.source_mask is not None:
            self.source_mask = self.source_mask[rows_R]
        if self.memory is not None:
            self.memory = self.memory[rows_R]
        if self.attention_mask is not None and self.positions is not None:
            self.attention_mask, self.positions = self.attention_mask[rows_R], self.positions[rows_R]

    def _logits(self, tokens_RT: Tensor) -> Tensor:
        hidden = self.model.hidden(
            tokens_RT, positions=self.positions, attention_mask=self.attention_mask, memory=self.memory, source_mask=self.source_mask,
            cache=self.cache,
        )  # fmt: skip
        return self.model.logits(hidden[:, -1])


class CompiledStep:
    """See `beam.Step`. Rows go on from each other without moving any key or value: each remembers which row of the cache holds each of
    its tokens, and which source it reads.

    Args:
        plain: the same by the modules, at its beginning; it takes the prompt, and is not used otherwise.
        sources: what an encoder-decoder reads.
        padding_B: tokens at the beginning of each prompt that are none, int64.
        beams: rows that a sentence comes to have at most.
    """

    def __init__(self, plain: TransformerStep, sources: fast.Sources | None, padding_B: Tensor, beams: int) -> None:
        self.plain, self.padding_B, batch = plain, padding_B, len(plain.prompt_BP)
        self.model, self.cache = plain.model, KVCache(plain.model.config, beams * batch, plain.cache.capacity, dtype=plain.model.dtype)
        self.decoder = fast.TokenDecoder(self.model, self.cache, sources)
        self.slots_RT = torch.arange(batch, dtype=torch.int32)[:, None].repeat(1, self.cache.capacity)
        self.sentences_R = torch.arange(batch)

    def begin(self) -> Tensor:
        """(B, V)."""
        prompt_BP = self.plain.prompt_BP
        if prompt_BP.shape[1] == 1:
            return self.next(prompt_BP[:, 0])
        logits_BV, cache, batch = self.plain.begin(), self.plain.cache, len(prompt_BP)
        for ours, theirs in ((self.cache.keys_LBHSD, cache.keys_LBHSD), (self.cache.values_LBHSD, cache.values_LBHSD)):
            ours[:, :batch, :, : cache.length] = theirs[:, :, :, : cache.length]
        self.cache.advance(cache.length)
        return logits_BV

    def next(self, tokens_R: Tensor) -> Tensor:
        """(R) → (R, V)."""
        padding_R, length = self.padding_B[self.sentences_R], self.cache.length
        positions_R1 = None if self.plain.attention_mask is None else (length - padding_R)[:, None]
        logits_RV = self.decoder.step(
            tokens_R[:, None], positions_R1, padding_R, slots_BT=self.slots_RT, sources_B=self.sentences_R
        )  # fmt: skip
        self.slots_RT[:, length] = torch.arange(len(tokens_R), dtype=torch.int32)
        return logits_RV

    def reorder(self, rows_R: Tensor, *, same_sources: bool) -> None:
        """See `beam.Step`."""
        self.slots_RT = self.slots_RT[rows_R]
        if not same_sources:
            self.sentences_R = self.sentences_R[rows_R]
