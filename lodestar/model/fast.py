"""Decoding one token a row by one compiled call: all layers, without Python or torch between them.

It runs where it knows every part of the model, on the CPU, with a C compiler at hand; elsewhere the modules run as they are. What it reads
are the modules' own weights, where they lie: nothing is copied, and a weight that is trained further is read as it is then.

Axes: B batch, T tokens, W model width, V vocabulary, A sources, S source tokens, G heads of keys and values, D width of a head.
"""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import native
from .attention import Attention
from .blocks import Block, Dropout, FeedForward, GatedFeedForward
from .cache import KVCache
from .linear import Linear
from .native import structures
from .norms import LayerNorm, RMSNorm
from .positions import Rotary
from .quantized import QuantizedLinear
from .transformer import Stack, Transformer

ACTIVATIONS = {
    "gelu": 0, "gelu-tanh": 1, "quick-gelu": 2, "relu": 3, "relu2": 4, "silu": 5, "swiglu": 5, "geglu": 0, "geglu-tanh": 1, "reglu": 3,
}  # fmt: skip
"""`Activation` of decode.h."""
NORM_PLACES = ("pre", "post", "sandwich", "output")
"""`NormPlace` of decode.h."""
KNOWN = {
    Transformer, Stack, Block, Attention, FeedForward, GatedFeedForward, Linear, QuantizedLinear, LayerNorm, RMSNorm, nn.Embedding,
    Rotary, nn.Identity, Dropout, nn.ModuleList,
}  # fmt: skip
"""Modules whose meaning is known here. A subclass may mean something else."""


def most_rows() -> int:
    """Above so many rows, the modules' products may be as fast. # assumed, but for AVX-512, where the compiled ones were at 512"""
    return 512 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else native.MOST_ROWS


def takes(model: nn.Module, batch: int) -> bool:
    """Whether `TokenDecoder` computes what the modules would: every part is known, and nothing listens to it."""
    if not isinstance(model, Transformer) or native.library() is None or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    config = model.config
    if model.decoder is None or config.experts or config.position == "relative" or (model.training and config.dropout):
        return False
    parts = [part for part in (model.embedding, model.token_types, model.decoder, model.output) if part is not None]
    known = all(_is_known(module) for part in parts for module in part.modules())
    plain = all(_is_plain(weight) for part in parts for weight in part.parameters())
    return known and plain and batch <= most_rows()


def _is_known(module: nn.Module) -> bool:
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    if isinstance(module, QuantizedLinear):
        return native.takes_group(module.in_features, module.group) and _is_on_cpu(module.codes)
    return type(module) in KNOWN


def _is_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.is_contiguous()


def _is_plain(x: Tensor) -> bool:
    return _is_on_cpu(x) and x.dtype in (torch.float32, torch.bfloat16)


def left_padding(attention_mask: Tensor) -> Tensor | None:
    """How many tokens each row of a mask (B, T) leaves out at its beginning, (B,); None where it leaves out others."""
    padding = (~attention_mask.bool()).sum(-1)
    from_left = torch.arange(attention_mask.shape[1], device=attention_mask.device) >= padding[:, None]
    return padding if torch.equal(from_left, attention_mask.bool()) else None


class Sources(NamedTuple):
    """What an encoder-decoder's decoder reads, ready to be attended to."""

    keys_values: tuple[tuple[Tensor, Tensor], ...]
    """Of each layer, (A, G, S, D), contiguous."""
    lengths: Tensor
    """(A) int64: tokens of each; those behind are padding."""

    @classmethod
    def of(cls, model: Transformer, memory_ASW: Tensor, source_mask_AS: Tensor | None) -> Sources | None:
        """Of the encoder's output; None where the padding does not stand at the end, or a source has no token."""
        assert model.decoder is not None
        sources, length = memory_ASW.shape[:2]
        lengths_A = torch.full((sources,), length)
        if source_mask_AS is not None:
            lengths_A = source_mask_AS.sum(-1)
            if not torch.equal(torch.arange(length) < lengths_A[:, None], source_mask_AS.bool()) or not bool(lengths_A.all()):
                return None
        layers = []
        for block in model.decoder.blocks:
            assert isinstance(block, Block)
            assert block.cross_attention is not None
            keys, values = block.cross_attention.keys_values(memory_ASW, None)
            layers.append((keys.contiguous(), values.contiguous()))
        return cls(tuple(layers), lengths_A)


class TokenDecoder:
    """The model, its sources and the cache as decode.c reads them. Made for one piece of decoding: the weights must stay where they are
    meanwhile, and so must the cache's numbers.
    """

    def __init__(self, model: Transformer, cache: KVCache, sources: Sources | None = None) -> None:
        assert model.decoder is not None
        self.model, self.stack, self.cache, self.sources = model, model.decoder, cache, sources
        config = model.decoder.config
        layers = (structures.Layer * config.depth)(*(self._layer(number, block) for number, block in enumerate(self.stack.blocks)))
        head = _matrix(model.output, model.output_bias) if model.output is not None else _tied_head(model)
        self.vocabulary = head.rows
        self.described = structures.Model(
            layers, _norm(self.stack.norm), head, config.depth, config.width, config.heads, config.kv_heads, config.head_size,
            config.rotary_width, cache.capacity, 0 if sources is None else sources.keys_values[0][0].shape[2],
            config.attention_scale or 1 / math.sqrt(config.head_size), config.attention_cap or 0.0, config.output_scale,
            NORM_PLACES.index(config.norm_place), ACTIVATIONS[config.feed_forward], config.qk_norm_over == "all",
            structures.is_bf16(cache.keys_LBHSD),
        )  # fmt: skip

    def step(
        self,
        tokens_B1: Tensor,
        positions_B1: Tensor | None,
        padding_B: Tensor,
        *,
        slots_BT: Tensor | None = None,
        sources_B: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, V), float32, of the token after each row's; the cache is extended.

        Args:
            positions_B1: where a row's token does not stand at the cache's length.
            padding_B: int64, how many tokens at the beginning of each row are none.
            slots_BT: int32 (B, the cache's capacity), the row of the cache that holds each token of a row; its own where None.
            sources_B: int64, the source that each row reads; the one of the same number where None.
        """
        model, stack, length, batch = self.model, self.stack, self.cache.length, len(tokens_B1)
        if length >= self.cache.capacity:
            raise ValueError(f"the cache holds {self.cache.capacity} tokens, and one more is needed; make it longer")
        embedded_BW = stack.enter(model.embed(tokens_B1), positions_B1, length).float().contiguous()
        tables = [
            tuple(table.contiguous() for table in rotary(length, 1, positions_B1, length + 1))
            for rotary in (stack.rotary, stack.local_rotary) if rotary is not None
        ]  # fmt: skip
        cos, sin = ((ctypes.c_void_p * 2)(*(table[n].data_ptr() for table in tables)) for n in (0, 1))
        logits_BV = torch.empty(batch, self.vocabulary)
        lengths_A = None
        if self.sources is not None:
            lengths_A = self.sources.lengths
            sources_B = torch.arange(batch) if sources_B is None else sources_B
        step = structures.Step(
            embedded_BW.data_ptr(), logits_BV.data_ptr(), padding_B.data_ptr(), structures.pointer(slots_BT),
            structures.pointer(sources_B), structures.pointer(lengths_A), cos, sin, batch, length,
            0 if positions_B1 is None else model.config.rotary_width // 2,
        )  # fmt: skip
        native.decode(self.described, step)
        self.cache.advance(1)
        cap = model.config.logit_cap
        return logits_BV if cap is None else cap * torch.tanh(logits_BV / cap)

    def _layer(self, number: int, block: nn.Module) -> structures.Layer:
        assert isinstance(block, Block)
        attention, cross, feed_forward = block.attention, block.cross_attention, block.feed_forward
        norms = (block.attention_norm, block.attention_output_norm, block.feed_forward_norm, block.feed_forward_output_norm)
        cross_norms = (block.cross_norm, block.cross_output_norm, None if cross is None else cross.query_norm)
        gate = _matrix(feed_forward.gate) if isinstance(feed_forward, GatedFeedForward) else structures.Matrix()
        source: tuple[int | None, ...] = (None, None)
        if self.sources is not None:
            source = tuple(x.data_ptr() for x in self.sources.keys_values[number])
        window = self.stack.windows[number]
        local = window is not None and self.stack.local_rotary is not None
        return structures.Layer(
            *(_norm(norm) for norm in (*norms, attention.query_norm, attention.key_norm, *cross_norms)),
            *(_matrix(linear) for linear in (attention.query, attention.key, attention.value, attention.output)),
            *(_matrix(linear) for linear in (None if cross is None else cross.query, None if cross is None else cross.output)),
            gate, _matrix(feed_forward.up), _matrix(feed_forward.down),
            self.cache.keys_LBHSD[number].data_ptr(), self.cache.values_LBHSD[number].data_ptr(), *source, window or 0,
            -1 if self.stack.rotary is None else int(local),
        )  # fmt: skip


def _norm(norm: nn.Module | None) -> structures.Norm:
    if isinstance(norm, RMSNorm):
        return structures.Norm(norm.weight.data_ptr(), None, norm.eps, structures.RMS_NORM, structures.is_bf16(norm.weight))
    if isinstance(norm, LayerNorm):
        bias = structures.pointer(norm.bias)
        return structures.Norm(norm.weight.data_ptr(), bias, norm.eps, structures.LAYER_NORM, structures.is_bf16(norm.weight))
    return structures.Norm()


def _matrix(linear: Tensor | nn.Module | None, bias: Tensor | None = None) -> structures.Matrix:
    if linear is None:
        return structures.Matrix()
    if isinstance(linear, QuantizedLinear):
        return structures.Matrix.of_codes(
            linear.codes, linear.scales, linear.bias if bias is None else bias,
            columns=linear.in_features, group=linear.group, code=linear.code,
        )  # fmt: skip
    assert isinstance(linear, Linear)
    return structures.Matrix.of(linear.weight, linear.bias if bias is None else bias)


def _tied_head(model: Transformer) -> structures.Matrix:
    assert model.embedding is not None
    return structures.Matrix.of(model.embedding.weight, model.output_bias)
