"""softmax(QKᵀ/√d_k)·V, with the heads, the masks and the cache around it.

Axes: B batch, T query tokens, S key tokens, D width of a head, H query heads, G heads of keys and values, W model width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import training_cpu
from .cache import KVCache
from .config import ModelConfig
from .linear import Linear
from .norms import RMSNorm
from .positions import rotate


class Mask(NamedTuple):
    """Which keys a query sees: all of them where neither is set."""

    causal: bool = False
    """None after it, and there are as many queries as keys. A table that is given, too, says so as well."""
    allowed: Tensor | None = None
    """(B or 1, 1, T, S), True where the query sees the key."""


def attend(queries_BHTD: Tensor, keys_BGSD: Tensor, values_BGSD: Tensor, mask: Mask) -> Tensor:
    """softmax(QKᵀ/√d_k)·V over the keys that the mask allows: (B, H, T, D).

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 1. Each of the G heads of keys and values serves H / G heads of queries.
    """
    grouped = queries_BHTD.shape[1] != keys_BGSD.shape[1]
    if mask.causal and training_cpu.takes(queries_BHTD, keys_BGSD, values_BGSD):
        if grouped:
            group = queries_BHTD.shape[1] // keys_BGSD.shape[1]
            keys_BGSD, values_BGSD = keys_BGSD.repeat_interleave(group, 1), values_BGSD.repeat_interleave(group, 1)
        return training_cpu.CausalAttention.apply(queries_BHTD, keys_BGSD, values_BGSD, mask.allowed)
    causal = mask.causal and mask.allowed is None
    return F.scaled_dot_product_attention(
        queries_BHTD, keys_BGSD, values_BGSD, attn_mask=mask.allowed, is_causal=causal, enable_gqa=grouped
    )


def make_mask(
    queries: int,
    keys: int,
    *,
    causal: bool,
    window: int | None = None,
    document_ids_BT: Tensor | None = None,
    attention_mask_BS: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Mask:
    """The mask for the last `queries` of `keys` tokens.

    A query sees itself, whatever the other rules say: a padded row's output is then some number that nobody reads, not a NaN that
    spreads through the next layer's products.

    Args:
        causal: a token sees none after it.
        window: it sees at most window - 1 before it (and, unless causal, after it).
        document_ids_BT: tokens see those of the same document only; needs queries == keys.
        attention_mask_BS: True on the keys that are real tokens.
    """
    if window is not None and window >= keys:
        window = None
    if window is None and document_ids_BT is None and attention_mask_BS is None:
        if not causal or queries == 1:
            return Mask()
        if queries == keys:
            return Mask(causal=True)
    key_T = torch.arange(keys, device=device)
    distance_TS = key_T[keys - queries :, None] - key_T[None, :]
    allowed = torch.ones_like(distance_TS, dtype=torch.bool)
    if causal:
        allowed = distance_TS >= 0
    if window is not None:
        allowed = allowed & (distance_TS.abs() < window)
    allowed = allowed[None, None]
    if document_ids_BT is not None:
        allowed = allowed & (document_ids_BT[:, None, :, None] == document_ids_BT[:, None, None, :])
    if attention_mask_BS is not None:
        allowed = allowed & attention_mask_BS[:, None, None, :].bool()
    return Mask(causal and queries == keys, allowed | (distance_TS == 0))


class Attention(nn.Module):
    """Multi-head attention: self-attention, or cross-attention to a `source`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.query = Linear(config.width, config.heads * config.head_size, bias=config.bias)
        self.key = Linear(config.width, config.kv_heads * config.head_size, bias=config.bias)
        self.value = Linear(config.width, config.kv_heads * config.head_size, bias=config.bias)
        self.output = Linear(config.heads * config.head_size, config.width, bias=config.bias)
        self.query_norm = RMSNorm(config.head_size, eps=config.norm_epsilon) if config.qk_norm else None
        self.key_norm = RMSNorm(config.head_size, eps=config.norm_epsilon) if config.qk_norm else None

    def forward(
        self,
        x_BTW: Tensor,
        mask: Mask,
        *,
        rotary: tuple[Tensor, Tensor] | None = None,
        source_BSW: Tensor | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """(B, T, W) → (B, T, W).

        Args:
            rotary: cos and sin for the tokens of `x_BTW`, see `positions.rotate`.
            source_BSW: the encoder's output, in cross-attention; keys and values come from it.
            cache: where this layer's keys and values are kept.
        """
        queries = self._queries(x_BTW, rotary)
        if source_BSW is None:
            keys, values = self._keys_values(x_BTW, rotary)
            if cache is not None:
                keys, values = cache.extend(layer, keys, values)
        elif cache is not None and layer in cache.cross:
            keys, values = cache.cross[layer]
        else:
            keys, values = self._keys_values(source_BSW, None)
            if cache is not None:
                cache.cross[layer] = keys, values
        mixed_BHTD = attend(queries, keys, values, mask)
        return self.output(mixed_BHTD.transpose(1, 2).flatten(2))  # (B, H, T, D) → (B, T, H·D) → (B, T, W)

    def _queries(self, x_BTW: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        queries = self.query(x_BTW).unflatten(-1, (self.heads, self.head_size)).transpose(1, 2)  # (B, T, H·D) → (B, H, T, D)
        if self.query_norm is not None:
            queries = self.query_norm(queries)
        return queries if rotary is None else rotate(queries, *rotary)

    def _keys_values(self, x_BSW: Tensor, rotary: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        keys = self.key(x_BSW).unflatten(-1, (self.kv_heads, self.head_size)).transpose(1, 2)  # (B, S, G·D) → (B, G, S, D)
        values = self.value(x_BSW).unflatten(-1, (self.kv_heads, self.head_size)).transpose(1, 2)
        if self.key_norm is not None:
            keys = self.key_norm(keys)
        return (keys if rotary is None else rotate(keys, *rotary)), values
