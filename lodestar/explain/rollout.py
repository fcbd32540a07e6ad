"""Attention roll-out: how much of each input token reaches each state, if all that flows is attention and the residual stream.

Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928, section 3. A layer mixes a token's state with what it attends to; half of it is
taken to come from either, heads count alike, and layers multiply.

Axes: H heads, T tokens of the decoder (or of the only stack), S tokens of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rollout(layers: Sequence[Tensor]) -> Tensor:
    """Of self-attention weights (H, T, T), first layer first: the share of each input token in each final state, (T, T).

    Rows sum to one.
    """
    flow_TT = torch.eye(layers[0].shape[-1], dtype=torch.float64)
    for weights_HTT in layers:
        flow_TT = _half(weights_HTT) @ flow_TT
    return flow_TT


def rollout_across(encoder: Sequence[Tensor], decoder: Sequence[Tensor], cross: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Of an encoder-decoder's weights (H, S, S), (H, T, T) and (H, T, S): the share of each source token, (T, S), and of each token that
    the decoder read, (T, T), in each final state of the decoder. A row of the two sums to one.

    The roll-out of the paper, where cross-attention is one more residual step, over what has reached the encoder's states.
    """
    memory_SS = rollout(encoder)
    own_TT = torch.eye(decoder[0].shape[-1], dtype=torch.float64)
    source_TS = torch.zeros(decoder[0].shape[-1], memory_SS.shape[-1], dtype=torch.float64)
    for self_HTT, cross_HTS in zip(decoder, cross, strict=True):
        mixed_TT = _half(self_HTT)
        own_TT, source_TS = mixed_TT @ own_TT, mixed_TT @ source_TS
        own_TT, source_TS = own_TT / 2, source_TS / 2 + cross_HTS.double().mean(0) @ memory_SS / 2
    return source_TS, own_TT


def _half(weights_HTT: Tensor) -> Tensor:
    """½ (mean over heads) + ½ identity."""
    mean_TT = weights_HTT.double().mean(0)
    return mean_TT / 2 + torch.eye(len(mean_TT), dtype=torch.float64) / 2
