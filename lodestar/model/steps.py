"""A Transformer's steps for beam search: its cache, and the rows that go on from each other.

Axes: B sentences, P tokens of a prompt, S source tokens, R rows, V vocabulary, W model width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .cache import KVCache
from .transformer import Transformer


class TransformerStep:
    """See `beam.Step`. The model is an encoder-decoder or a decoder, in eval mode.

    Args:
        prompt_BP: what each sentence's output begins with, P ≥ 1; shorter rows are padded on the left.
        most: steps at most.
        attention_mask: (B, P), False on the prompts' padding; None where there is none.
        source_tokens, source_mask: what an encoder-decoder reads, (B, S).

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
    ) -> None:
        batch, length = prompt_BP.shape
        if length + most > model.config.context:
            raise ValueError(
                f"a prompt of {length} tokens and {most} new ones exceed the context of {model.config.context}; shorten one of them"
            )
        self.model, self.prompt_BP, self.attention_mask, self.source_mask = model, prompt_BP, attention_mask, source_mask
        self.memory = None if source_tokens is None else model.encode(source_tokens, source_mask)
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
