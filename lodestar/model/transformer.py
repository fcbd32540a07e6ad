"""The Transformer: decoder-only, encoder-only and encoder-decoder, from one config.

Axes: B batch, T tokens, S source tokens, W model width, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .attention import Attention, Mask, make_mask
from .blocks import Block
from .cache import KVCache
from .config import ModelConfig
from .linear import Linear, linear
from .norms import make_norm
from .positions import rotary_tables, sinusoids


class Stack(nn.Module):
    """Positions, layers and the last norm: an encoder, or a decoder."""

    cos: Tensor
    sin: Tensor
    sinusoids: Tensor

    def __init__(self, config: ModelConfig, depth: int, *, causal: bool, cross: bool) -> None:
        super().__init__()
        self.config, self.causal = config, causal
        self.learned = nn.Embedding(config.context, config.width) if config.position == "learned" else None
        self.make_buffers()
        self.blocks = nn.ModuleList(Block(config, cross=cross) for _ in range(depth))
        self.norm = make_norm(config) if config.norm_place == "pre" else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute the position tables, which follow from the config and so are not part of the state."""
        if self.config.position == "rotary":
            cos, sin = rotary_tables(self.config.context, self.config.head_size, self.config.rotary_base)
            self.register_buffer("cos", cos.to(device), persistent=False)
            self.register_buffer("sin", sin.to(device), persistent=False)
        if self.config.position == "sinusoidal":
            self.register_buffer("sinusoids", sinusoids(self.config.context, self.config.width).to(device), persistent=False)

    def forward(
        self,
        x_BTW: Tensor,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        source_BSW: Tensor | None = None,
        source_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Embedded tokens (B, T, W) → normed hidden states (B, T, W)."""
        start = 0 if cache is None else cache.length
        length = x_BTW.shape[1]
        if start + length > self.config.context:
            raise ValueError(f"{start + length} tokens exceed the context of {self.config.context}; shorten the input")
        x_BTW = _as_products(self.dropout(self._add_positions(x_BTW, positions, start)))
        rotary = self._rotary(positions, start, length)
        mask = make_mask(
            length, start + length, causal=self.causal, window=self.config.window,
            document_ids_BT=document_ids, attention_mask_BS=attention_mask, device=x_BTW.device,
        )  # fmt: skip
        seen = None if source_mask is None else Mask(allowed=source_mask[:, None, None, :].bool())
        for layer, block in enumerate(self.blocks):
            x_BTW = block(x_BTW, mask, rotary=rotary, source_BSW=source_BSW, source_mask=seen, cache=cache, layer=layer)
        if cache is not None:
            cache.advance(length)
        return self.norm(x_BTW)

    def _add_positions(self, x_BTW: Tensor, positions: Tensor | None, start: int) -> Tensor:
        if self.config.position == "learned":
            assert self.learned is not None
            table = self.learned.weight
        elif self.config.position == "sinusoidal":
            table = self.sinusoids.to(x_BTW.dtype)
        else:
            return x_BTW
        return x_BTW + (table[start : start + x_BTW.shape[1]] if positions is None else table[positions])

    def _rotary(self, positions: Tensor | None, start: int, length: int) -> tuple[Tensor, Tensor] | None:
        if self.config.position != "rotary":
            return None
        if positions is None:
            return self.cos[start : start + length], self.sin[start : start + length]
        return self.cos[positions][:, None], self.sin[positions][:, None]  # (B, 1, T, D/2): the same in every head


def _as_products(x_BTW: Tensor) -> Tensor:
    """Under autocast the residual stream is in the type of the products, too: sums and norms move half the bytes, and nothing is cast."""
    kind = x_BTW.device.type
    return x_BTW.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x_BTW


class Transformer(nn.Module):
    """Token ids to logits (or, for an encoder, to hidden states)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.encoder = Stack(config, config.encoder_layers, causal=False, cross=False) if config.encoder_layers else None
        cross = config.architecture == "encoder-decoder"
        self.decoder = Stack(config, config.decoder_layers, causal=True, cross=cross) if config.decoder_layers else None
        untied = not config.tied_embeddings and config.architecture != "encoder"
        self.output = Linear(config.width, config.vocabulary_size, bias=False) if untied else None
        self._initialise()

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        source_tokens: Tensor | None = None,
        source_mask: Tensor | None = None,
        memory: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits (B, T, V) for the token after each of `tokens`; for an encoder, its hidden states (B, T, W).

        Args:
            tokens: ids (B, T).
            positions: (B, T) where a row's tokens do not count from the cache's length upwards.
            document_ids: (B, T); tokens attend within their own document only.
            attention_mask: True on real tokens: (B, T), or with a cache (B, length + T).
            source_tokens: what an encoder-decoder reads, (B, S); or
            memory: what `encode` made of it, (B, S, W).
            source_mask: True on real source tokens, (B, S).
            cache: keys and values of the tokens before these; extended in place.

        Raises:
            ValueError: when the tokens exceed the context.
        """
        hidden = self.hidden(
            tokens, positions=positions, document_ids=document_ids, attention_mask=attention_mask,
            source_tokens=source_tokens, source_mask=source_mask, memory=memory, cache=cache,
        )  # fmt: skip
        return hidden if self.decoder is None else self.logits(hidden)

    def hidden(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        source_tokens: Tensor | None = None,
        source_mask: Tensor | None = None,
        memory: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """As `forward`, but the normed hidden states (B, T, W) that the logits are made of."""
        if self.decoder is None:
            return self.encode(tokens, attention_mask, positions=positions, document_ids=document_ids)
        if self.encoder is not None and memory is None:
            if source_tokens is None:
                raise ValueError("an encoder-decoder needs source_tokens or memory; give what it is to read")
            memory = self.encode(source_tokens, source_mask)
        return self.decoder(
            self.embed(tokens), positions=positions, document_ids=document_ids, attention_mask=attention_mask,
            source_BSW=memory, source_mask=source_mask, cache=cache,
        )  # fmt: skip

    def encode(
        self,
        tokens: Tensor,
        attention_mask: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
    ) -> Tensor:
        """The encoder's hidden states (B, T, W)."""
        if self.encoder is None:
            raise ValueError("a decoder-only model has no encoder; use hidden")
        return self.encoder(self.embed(tokens), positions=positions, document_ids=document_ids, attention_mask=attention_mask)

    def embed(self, tokens: Tensor) -> Tensor:
        """Token embeddings (B, T, W), scaled where the config says so."""
        x_BTW = self.embedding(tokens)
        return x_BTW * math.sqrt(self.config.width) if self.config.scaled_embeddings else x_BTW

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (…, W) → logits (…, V)."""
        return linear(hidden, self.embedding.weight if self.output is None else self.output.weight)

    def parameter_count(self) -> int:
        """Parameters held, shared ones once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _initialise(self) -> None:
        """Normal weights; those that write to the residual stream are divided by √(sublayers), so that its variance does not grow with
        depth (Radford et al. 2019, section 2.3). Norms start at one, biases at zero.
        """
        std = self.config.initial_std
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=std)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
        for stack in (self.encoder, self.decoder):
            if stack is None:
                continue
            for block in stack.blocks:
                assert isinstance(block, Block)
                sublayers = 3 if block.cross_attention is not None else 2
                depth_scaled = std / math.sqrt(sublayers * len(stack.blocks))
                for module in block.modules():
                    if isinstance(module, Attention):
                        nn.init.normal_(module.output.weight, std=depth_scaled)
                nn.init.normal_(block.feed_forward.down.weight, std=depth_scaled)  # type: ignore[union-attr, arg-type]


def meta_transformer(config: ModelConfig) -> Transformer:
    """A Transformer without storage, to count or to be filled."""
    with torch.device("meta"):
        return Transformer(config)
