"""The Transformer: decoder-only, encoder-only and encoder-decoder, from one config.

Axes: B batch, T tokens, S source tokens, W model width, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .attention import Attention, Mask, make_mask
from .blocks import Block, Dropout, FeedForward, GatedFeedForward
from .cache import KVCache
from .conditioning import Modulation, modulate
from .config import ModelConfig
from .linear import Linear, linear
from .meta import without_storage
from .norms import make_norm
from .positions import Rotary, relative_buckets, sinusoids


class Stack(nn.Module):
    """Positions, layers and the last norm: an encoder, or a decoder."""

    sinusoids: Tensor

    def __init__(self, config: ModelConfig, *, causal: bool, cross: bool) -> None:
        super().__init__()
        self.config, self.causal = config, causal
        rows = config.position_offset + config.context
        self.learned = nn.Embedding(rows, config.width) if config.position == "learned" else None
        self.relative = nn.Embedding(config.relative_buckets, config.heads) if config.position == "relative" else None
        self.make_buffers()
        self.windows = tuple(config.window_of(layer) for layer in range(config.depth))
        self.rotary, self.local_rotary = self._make_rotary()
        self.embedding_norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.blocks = nn.ModuleList(Block(config, layer, cross=cross) for layer in range(config.depth))
        self.norm = nn.Identity() if config.norm_place == "post" else make_norm(config)
        self.modulation = Modulation(config, 2) if config.conditioning == "adaptive" else None
        """Of the last norm: a shift and a scale."""
        self.dropout = Dropout(config.dropout)

    def _make_rotary(self) -> tuple[Rotary | None, Rotary | None]:
        """The angles of all layers, and those of the layers that have a window where theirs are others."""
        if self.config.position != "rotary":
            return None, None
        local = self.config.local_rotary_base
        everywhere = Rotary(self.config, self.config.rotary_base, self.config.rotary_scaling)
        return everywhere, None if local is None else Rotary(self.config, local, None)

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute the table of sinusoids, which follows from the config and so is not part of the state."""
        if self.config.position.startswith("sinusoidal"):
            table = sinusoids(self.config.position_offset + self.config.context, self.config.width, self.config.position)
            self.register_buffer("sinusoids", table.to(device), persistent=False)

    def forward(
        self,
        x_BTW: Tensor,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        source_BSW: Tensor | None = None,
        source_mask: Tensor | None = None,
        condition: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Embedded tokens (B, T, W) → normed hidden states (B, T, W)."""
        self._check_condition(condition)
        start = 0 if cache is None else cache.length
        length = x_BTW.shape[1]
        if start + length > self.config.context:
            raise ValueError(f"{start + length} tokens exceed the context of {self.config.context}; shorten the input")
        x_BTW = self.enter(x_BTW, positions, start)
        rotary, local_rotary = (
            None if table is None else table(start, length, positions, start + length) for table in (self.rotary, self.local_rotary)
        )
        bias = self._relative_bias(length, start + length)
        masks = {
            window: make_mask(
                length, start + length, causal=self.causal, window=window,
                document_ids_BT=document_ids, attention_mask_BS=attention_mask, device=x_BTW.device,
            )._replace(bias=bias)
            for window in set(self.windows)
        }  # fmt: skip
        seen = None if source_mask is None else Mask(allowed=source_mask[:, None, None, :].bool())
        for layer, (block, window) in enumerate(zip(self.blocks, self.windows, strict=True)):
            angles = rotary if window is None or local_rotary is None else local_rotary
            x_BTW = block(
                x_BTW, masks[window], rotary=angles, source_BSW=source_BSW, source_mask=seen, condition_BW=condition, cache=cache,
                layer=layer,
            )  # fmt: skip
        if cache is not None:
            cache.advance(length)
        x_BTW = self.norm(x_BTW)
        return x_BTW if self.modulation is None else modulate(x_BTW, *self.modulation(condition))

    def _check_condition(self, condition: Tensor | None) -> None:
        if (condition is None) == (self.modulation is None):
            return
        if condition is None:
            raise ValueError("the model is conditioned, and no condition is given; give one vector a row")
        raise ValueError("a condition is given, and the model has none; set conditioning to adaptive")

    def enter(self, x_BTW: Tensor, positions: Tensor | None, start: int) -> Tensor:
        """What the first layer is given: embedded tokens (B, T, W) and where they stand, normed where the config says so."""
        return _as_products(self.dropout(self.embedding_norm(self._add_positions(x_BTW, positions, start))))

    def _add_positions(self, x_BTW: Tensor, positions: Tensor | None, start: int) -> Tensor:
        if self.learned is not None:
            table = self.learned.weight
        elif self.config.position.startswith("sinusoidal"):
            table = self.sinusoids.to(x_BTW.dtype)
        else:
            return x_BTW
        start += self.config.position_offset
        return x_BTW + (table[start : start + x_BTW.shape[1]] if positions is None else table[positions + self.config.position_offset])

    def _relative_bias(self, queries: int, keys: int) -> Tensor | None:
        """What relative positions add to the scores, (1, H, T, S)."""
        if self.relative is None:
            return None
        buckets_TS = relative_buckets(
            queries, keys, causal=self.causal, buckets=self.config.relative_buckets, furthest=self.config.relative_distance,
            device=self.relative.weight.device,
        )  # fmt: skip
        return self.relative(buckets_TS).permute(2, 0, 1)[None]


def _as_products(x_BTW: Tensor) -> Tensor:
    """Under autocast the residual stream is in the type of the products, too: sums and norms move half the bytes, and nothing is cast."""
    kind = x_BTW.device.type
    return x_BTW.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x_BTW


class Transformer(nn.Module):
    """Token ids to logits (or, for an encoder, to hidden states)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.width) if config.vocabulary_size else None
        apart = config.source_vocabulary_size
        self.source_embedding = nn.Embedding(apart, config.width) if apart is not None else None
        """Of the tokens that the encoder reads, where they are of another vocabulary than the decoder's."""
        self.token_types = nn.Embedding(config.token_types, config.width) if config.token_types else None
        cross = config.architecture == "encoder-decoder"
        self.encoder = Stack(config.of_encoder(), causal=False, cross=False) if config.encoder_layers else None
        self.decoder = Stack(config.of_decoder(), causal=config.decoder_causal, cross=cross) if config.decoder_layers else None
        writes = config.architecture != "encoder"
        self.output = Linear(config.width, config.vocabulary_size, bias=False) if writes and not config.tied_embeddings else None
        self.output_bias = nn.Parameter(torch.zeros(config.vocabulary_size)) if writes and config.output_bias else None
        self._initialise()

    def forward(
        self,
        tokens: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        token_types: Tensor | None = None,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        source_tokens: Tensor | None = None,
        source_embeddings: Tensor | None = None,
        source_mask: Tensor | None = None,
        memory: Tensor | None = None,
        condition: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits (B, T, V) for the token after each of `tokens`; for an encoder, its hidden states (B, T, W).

        Args:
            tokens: ids (B, T); or
            embeddings: what another front end made of its input, (B, T, W).
            token_types: (B, T), where the config has `token_types`; all 0 where None.
            positions: (B, T) where a row's tokens do not count from the cache's length upwards.
            document_ids: (B, T); tokens attend within their own document only.
            attention_mask: True on real tokens: (B, T), or with a cache (B, length + T).
            source_tokens: what an encoder-decoder reads, (B, S); or
            source_embeddings: the same from another front end, (B, S, W); or
            memory: what `encode` made of it, (B, S, W).
            source_mask: True on real source tokens, (B, S).
            condition: where the config is conditioned, what decides on shifts, scales and gates, (B, W).
            cache: keys and values of the tokens before these; extended in place.

        Raises:
            ValueError: when the tokens exceed the context, or a condition is missing.
        """
        hidden = self.hidden(
            tokens, embeddings=embeddings, token_types=token_types, positions=positions, document_ids=document_ids,
            attention_mask=attention_mask, source_tokens=source_tokens, source_embeddings=source_embeddings, source_mask=source_mask,
            memory=memory, condition=condition, cache=cache,
        )  # fmt: skip
        return hidden if self.decoder is None else self.logits(hidden)

    def hidden(
        self,
        tokens: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        token_types: Tensor | None = None,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        source_tokens: Tensor | None = None,
        source_embeddings: Tensor | None = None,
        source_mask: Tensor | None = None,
        memory: Tensor | None = None,
        condition: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """As `forward`, but the normed hidden states (B, T, W) that the logits are made of."""
        x_BTW = self.embed(tokens, embeddings, token_types)
        if self.decoder is None:
            assert self.encoder is not None
            return self.encoder(
                x_BTW, positions=positions, document_ids=document_ids, attention_mask=attention_mask, condition=condition
            )  # fmt: skip
        if self.encoder is not None and memory is None:
            if source_tokens is None and source_embeddings is None:
                raise ValueError("an encoder-decoder needs source_tokens or memory; give what it is to read")
            memory = self.encode(source_tokens, source_mask, embeddings=source_embeddings)
        return self.decoder(
            x_BTW, positions=positions, document_ids=document_ids, attention_mask=attention_mask,
            source_BSW=memory, source_mask=source_mask, condition=condition, cache=cache,
        )  # fmt: skip

    def encode(self, tokens: Tensor | None, attention_mask: Tensor | None = None, *, embeddings: Tensor | None = None) -> Tensor:
        """The encoder's hidden states (B, T, W) of token ids (B, T), or of embeddings (B, T, W)."""
        if self.encoder is None:
            raise ValueError("a decoder-only model has no encoder; use hidden")
        table = self.reading_embedding
        if embeddings is None and tokens is not None and table is not None:
            embeddings = self._scaled(table(tokens))
        return self.encoder(self.embed(tokens, embeddings), attention_mask=attention_mask)

    def embed(self, tokens: Tensor | None, embeddings: Tensor | None = None, token_types: Tensor | None = None) -> Tensor:
        """Token embeddings (B, T, W), scaled where the config says so, or the `embeddings` given; with those of the token types."""
        if embeddings is None:
            if tokens is None or self.embedding is None:
                raise ValueError("the model reads tokens or embeddings; give one that it has a front end for")
            embeddings = self._scaled(self.embedding(tokens))
        if self.token_types is None:
            return embeddings
        return embeddings + (self.token_types.weight[0] if token_types is None else self.token_types(token_types))

    def _scaled(self, embedded: Tensor) -> Tensor:
        return embedded * math.sqrt(self.config.width) if self.config.scaled_embeddings else embedded

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (…, W) → logits (…, V)."""
        if self.config.output_scale != 1.0:
            hidden = hidden * self.config.output_scale
        if self.output is not None:
            logits = self.output(hidden)
        else:
            assert self.embedding is not None
            logits = linear(hidden, self.embedding.weight)
        if self.output_bias is not None:
            logits = logits + self.output_bias
        cap = self.config.logit_cap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    @property
    def reading_embedding(self) -> nn.Embedding | None:
        """Of the tokens that the first stack reads: an encoder's own, where its vocabulary is another than the decoder's."""
        return self.embedding if self.source_embedding is None else self.source_embedding

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, and so of the cache."""
        return next(self.parameters()).dtype

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
                    elif isinstance(module, FeedForward | GatedFeedForward):
                        nn.init.normal_(module.down.weight, std=depth_scaled)
            for module in stack.modules():
                if isinstance(module, Modulation):
                    module.initialise()


def meta_transformer(config: ModelConfig) -> Transformer:
    """A Transformer without storage, to count or to be filled."""
    with without_storage():
        return Transformer(config)
