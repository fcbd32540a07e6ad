"""softmax(QKᵀ/√d_k)·V, with the heads, the masks and the cache around it.

Axes: B batch, T query tokens, S key tokens, D width of a head, H query heads, G heads of keys and values, W model width.
"""

from __future__ import annotations

import math
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
    bias: Tensor | None = None
    """(1, H, T, S), added to the scores: relative positions."""

    def table(self, dtype: torch.dtype) -> Tensor | None:
        """What `scaled_dot_product_attention` is given: True where a query sees a key, or what is added to the scores."""
        if self.bias is None:
            return self.allowed
        allowed = self.allowed
        if allowed is None and self.causal:
            allowed = torch.ones(self.bias.shape[-2:], dtype=torch.bool, device=self.bias.device).tril()
        bias = self.bias.to(dtype)
        return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)


def attend(
    queries_BHTD: Tensor,
    keys_BGSD: Tensor,
    values_BGSD: Tensor,
    mask: Mask,
    *,
    scale: float | None = None,
    cap: float | None = None,
) -> Tensor:
    """softmax(QKᵀ/√d_k)·V over the keys that the mask allows: (B, H, T, D).

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 1. Each of the G heads of keys and values serves H / G heads of queries.

    Args:
        scale: in place of 1/√d_k.
        cap: scores s become cap · tanh(s / cap) (Gemma 2, https://arxiv.org/abs/2408.00118, section 2).
    """
    group = queries_BHTD.shape[1] // keys_BGSD.shape[1]
    if cap is not None:
        return _attend_capped(queries_BHTD, keys_BGSD, values_BGSD, mask, scale, cap)
    if mask.causal and mask.bias is None and training_cpu.attends(queries_BHTD, keys_BGSD, values_BGSD):
        if group > 1:
            keys_BGSD, values_BGSD = keys_BGSD.repeat_interleave(group, 1), values_BGSD.repeat_interleave(group, 1)
        if scale is not None:
            queries_BHTD = queries_BHTD * (scale * math.sqrt(queries_BHTD.shape[-1]))
        return training_cpu.CausalAttention.apply(queries_BHTD, keys_BGSD, values_BGSD, mask.allowed)
    causal = mask.causal and mask.allowed is None and mask.bias is None
    if queries_BHTD.dtype is torch.bfloat16 and training_cpu.takes(queries_BHTD, keys_BGSD, values_BGSD):
        # torch's fused attention is slower in bfloat16 than in float32 on a CPU, its gradient above all; autocast would choose it.
        with torch.autocast("cpu", enabled=False):
            table = None if causal else mask.table(torch.float32)
            return F.scaled_dot_product_attention(
                queries_BHTD.float(), keys_BGSD.float(), values_BGSD.float(), attn_mask=table, is_causal=causal, scale=scale,
                enable_gqa=group > 1,
            ).to(queries_BHTD.dtype)  # fmt: skip
    table = None if causal else mask.table(queries_BHTD.dtype)
    return F.scaled_dot_product_attention(
        queries_BHTD, keys_BGSD, values_BGSD, attn_mask=table, is_causal=causal, scale=scale, enable_gqa=group > 1
    )


def _attend_capped(queries_BHTD: Tensor, keys_BGSD: Tensor, values_BGSD: Tensor, mask: Mask, scale: float | None, cap: float) -> Tensor:
    """torch has no fused attention with a cap, so the table of scores is written out."""
    group = queries_BHTD.shape[1] // keys_BGSD.shape[1]
    keys_BHSD, values_BHSD = keys_BGSD.repeat_interleave(group, 1), values_BGSD.repeat_interleave(group, 1)
    scale = 1 / math.sqrt(queries_BHTD.shape[-1]) if scale is None else scale
    scores_BHTS = cap * torch.tanh(queries_BHTD @ keys_BHSD.mT * (scale / cap))
    if mask.bias is not None:
        scores_BHTS = scores_BHTS + mask.bias
    allowed = mask.allowed
    if allowed is None and mask.causal:
        allowed = torch.ones(scores_BHTS.shape[-2:], dtype=torch.bool, device=scores_BHTS.device).tril()
    if allowed is not None:
        scores_BHTS = scores_BHTS.masked_fill(~allowed, -torch.inf)
    return scores_BHTS.softmax(-1, dtype=torch.float32).to(values_BHSD.dtype) @ values_BHSD


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
        self.scale, self.cap = config.attention_scale, config.attention_cap
        queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
        self.query = Linear(config.width, queries, bias=config.has_bias("query"))
        self.key = Linear(config.width, keys, bias=config.has_bias("key"))
        self.value = Linear(config.width, keys, bias=config.has_bias("value"))
        self.output = Linear(queries, config.width, bias=config.has_bias("output"))
        self.norm_over_all = config.qk_norm_over == "all"
        norms = (queries, keys) if self.norm_over_all else (config.head_size, config.head_size)
        self.query_norm, self.key_norm = (RMSNorm(n, eps=config.norm_epsilon) if config.qk_norm else None for n in norms)

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
        queries = self.queries(x_BTW, rotary)
        if source_BSW is None:
            keys, values = self.keys_values(x_BTW, rotary)
            if cache is not None:
                keys, values = cache.extend(layer, keys, values)
        elif cache is not None and layer in cache.cross:
            keys, values = cache.cross[layer]
        else:
            keys, values = self.keys_values(source_BSW, None)
            if cache is not None:
                cache.cross[layer] = keys, values
        mixed_BHTD = attend(queries, keys, values, mask, scale=self.scale, cap=self.cap)
        return self.output(mixed_BHTD.transpose(1, 2).flatten(2))  # (B, H, T, D) → (B, T, H·D) → (B, T, W)

    def queries(self, x_BTW: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, T, W) → (B, H, T, D)."""
        queries = self._heads(self.query(x_BTW), self.heads, self.query_norm)
        return queries if rotary is None else rotate(queries, *rotary)

    def keys_values(self, x_BSW: Tensor, rotary: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """(B, S, W) → twice (B, G, S, D)."""
        keys = self._heads(self.key(x_BSW), self.kv_heads, self.key_norm)
        values = self._heads(self.value(x_BSW), self.kv_heads, None)
        return (keys if rotary is None else rotate(keys, *rotary)), values

    def _heads(self, x_BTE: Tensor, heads: int, norm: RMSNorm | None) -> Tensor:
        """(B, T, H·D) → (B, H, T, D), normed where there is a norm."""
        if norm is not None and self.norm_over_all:
            x_BTE = norm(x_BTE)
        x_BHTD = x_BTE.unflatten(-1, (heads, self.head_size)).transpose(1, 2)
        return x_BHTD if norm is None or self.norm_over_all else norm(x_BHTD)
