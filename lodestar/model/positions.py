"""Where a token stands: rotary angles and sinusoids. Learned positions are an ordinary embedding in the Transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from . import training_cpu


def rotary_tables(length: int, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and sin of position × base^(-2i / head_width), each (length, head_width / 2), float32.

    Su et al. 2021, https://arxiv.org/abs/2104.09864, equation 15.
    """
    frequencies = base ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float(), angles.sin().float()


def rotate(x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + D/2}) of a head by its position's angle.

    The two halves make the pairs, as in the open Llama-like checkpoints; Su et al. pair neighbours, which is a permutation of it.

    Args:
        x_BHTD: queries or keys.
        cos, sin: (T, D/2), or (B, 1, T, D/2) where rows have positions of their own.
    """
    if training_cpu.takes(x_BHTD):
        return training_cpu.Rotate.apply(x_BHTD, cos, sin)
    first, second = x_BHTD.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x_BHTD.dtype)


def sinusoids(length: int, width: int) -> Tensor:
    """Sinusoidal positions (length, width): sines in the even columns, cosines in the odd ones.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.
    """
    cos, sin = rotary_tables(length, width, base=10_000.0)
    return torch.stack((sin, cos), dim=-1).reshape(length, width)
