"""Where a token stands: rotary angles, sinusoids, relative distances. Learned positions are an ordinary embedding in the Transformer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from . import training_cpu
from .config import ModelConfig, RotaryScaling

READY = 4_096
"""Positions whose rotary angles are computed beforehand, where the context has as many; more are when they are met."""


def rotary_frequencies(width: int, base: float, scaling: RotaryScaling | None = None, length: int = 0) -> Tensor:
    """base^(-2i / width), the angle from one position to the next of each pair i, (width / 2,) float64; scaled to reach further.

    Su et al. 2021, https://arxiv.org/abs/2104.09864, equation 15.

    Args:
        length: tokens of the sequence so far, on which two of the scalings depend.
    """
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
    if scaling is not None and scaling.kind == "dynamic":
        base = _dynamic_base(width, base, scaling, length)
    frequencies = base**-exponents
    if scaling is None or scaling.kind == "dynamic":
        return frequencies
    if scaling.kind == "linear":  # Chen et al. 2023, https://arxiv.org/abs/2306.15595
        return frequencies / scaling.factor
    if scaling.kind == "llama3":
        return _llama3(frequencies, scaling)
    if scaling.kind == "yarn":
        return _yarn(frequencies, base, scaling)
    assert scaling.original_context is not None
    factors = scaling.long_factors if length > scaling.original_context else scaling.short_factors
    return frequencies / torch.tensor(factors, dtype=torch.float64)  # Ding et al. 2024, https://arxiv.org/abs/2402.13753


def _dynamic_base(width: int, base: float, scaling: RotaryScaling, length: int) -> float:
    """The base grows with what the sequence has past the original context, so that the slowest pair stays within its range of angles.

    Peng et al. 2023, https://arxiv.org/abs/2309.00071, section 3.3.
    """
    assert scaling.original_context is not None
    longer = max(length, scaling.original_context) / scaling.original_context
    return float(base * (scaling.factor * longer - (scaling.factor - 1)) ** (width / (width - 2)))


def _llama3(frequencies: Tensor, scaling: RotaryScaling) -> Tensor:
    """Fast pairs stay, slow ones are stretched, those between are mixed. Dubey et al. 2024, https://arxiv.org/abs/2407.21783."""
    assert scaling.original_context is not None
    turns = scaling.original_context * frequencies / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    fast = ((turns - low) / (high - low)).clamp(0, 1)
    return fast * frequencies + (1 - fast) * frequencies / scaling.factor


def _yarn(frequencies: Tensor, base: float, scaling: RotaryScaling) -> Tensor:
    """Peng et al. 2023, https://arxiv.org/abs/2309.00071, section 3.2: the mix is linear in the number of the pair."""
    assert scaling.original_context is not None
    pairs = len(frequencies)

    def pair(turns: float) -> float:
        """The pair that turns so many times within the original context."""
        return pairs * math.log(scaling.original_context / (turns * 2 * math.pi)) / math.log(base)  # type: ignore[operator]

    first, last = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * pairs - 1)
    slow = ((torch.arange(pairs, dtype=torch.float64) - first) / max(last - first, 0.001)).clamp(0, 1)
    return slow * frequencies / scaling.factor + (1 - slow) * frequencies


def rotary_tables(positions: Tensor, frequencies: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """cos and sin of position × frequency, times `factor`: (…) and (F,) → two of (…, F), float32."""
    angles = positions[..., None].double() * frequencies.to(positions.device)
    return (angles.cos() * factor).float(), (angles.sin() * factor).float()


class Rotary(nn.Module):
    """The rotary angles of a stack's layers. They follow from the config, so they are not part of the state."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, base: float, scaling: RotaryScaling | None) -> None:
        super().__init__()
        self.width, self.base, self.scaling = config.rotary_width, base, scaling
        self.factor = scaling.attention_factor if scaling is not None else 1.0
        self.original = scaling.original_context if scaling is not None and scaling.kind in ("dynamic", "longrope") else None
        """Past so many tokens the angles depend on the number of tokens."""
        self.ready = min(config.context, READY)
        self.make_buffers()

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute the angles of the first positions."""
        device = torch.device(device or torch.get_default_device())
        if device.type == "meta":  # computing on it would import torch's compiler, which takes a second
            cos = sin = torch.empty(self.ready, self.width // 2, device=device)
        else:
            cos, sin = rotary_tables(torch.arange(self.ready, device=device), self._frequencies(0), self.factor)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """The angles stay float32 when a model is converted: bfloat16 tells neighbouring positions apart up to 256 alone."""
        super()._apply(fn, recurse)
        if self.cos.dtype != torch.float32:
            self.make_buffers(self.cos.device)
        return self

    def _frequencies(self, length: int) -> Tensor:
        with torch.device("cpu"):
            return rotary_frequencies(self.width, self.base, self.scaling, length)

    def forward(self, start: int, length: int, positions: Tensor | None, longest: int) -> tuple[Tensor, Tensor]:
        """cos and sin for `rotate`: of `length` positions from `start`, or of `positions` (B, T).

        Args:
            longest: tokens of the sequence so far, these included.
        """
        if self.original is not None and longest > self.original:
            at = torch.arange(start, start + length, device=self.cos.device) if positions is None else positions
            cos, sin = rotary_tables(at, self._frequencies(longest), self.factor)
        else:
            if longest > self.ready:
                self.ready = 2 * longest
                self.make_buffers(self.cos.device)
            at_slice = slice(start, start + length) if positions is None else positions
            cos, sin = self.cos[at_slice], self.sin[at_slice]
        return (cos, sin) if positions is None else (cos[:, None], sin[:, None])  # (B, 1, T, F): the same in every head


def rotate(x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + R/2}) of a head by its position's angle; numbers from R on stay as they are.

    The two halves make the pairs, as in the open Llama-like checkpoints; Su et al. pair neighbours, which is a permutation of it.

    Args:
        x_BHTD: queries or keys.
        cos, sin: (T, R/2), or (B, 1, T, R/2) where rows have positions of their own.
    """
    turned = 2 * cos.shape[-1]
    if turned < x_BHTD.shape[-1]:
        return torch.cat((rotate(x_BHTD[..., :turned], cos, sin), x_BHTD[..., turned:]), dim=-1)
    if training_cpu.takes(x_BHTD):
        return training_cpu.Rotate.apply(x_BHTD, cos, sin)
    first, second = x_BHTD.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x_BHTD.dtype)


def sinusoids(length: int, width: int, kind: str = "sinusoidal") -> Tensor:
    """Sinusoidal positions (length, width), float32.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5: sines in the even columns, cosines in the odd ones.
    `sinusoidal-halves`: all sines, then all cosines. `sinusoidal-fairseq`: so, too, with base^(-i / (width/2 - 1)) for the frequencies.
    """
    half = width // 2
    if torch.get_default_device().type == "meta":
        return torch.empty(length, width)
    if kind == "sinusoidal-fairseq":
        frequencies = 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / max(half - 1, 1))
    else:
        frequencies = rotary_frequencies(width, 10_000.0)
    cos, sin = rotary_tables(torch.arange(length), frequencies)
    return torch.stack((sin, cos), dim=-1).reshape(length, width) if kind == "sinusoidal" else torch.cat((sin, cos), dim=-1)


def relative_buckets(queries: int, keys: int, *, causal: bool, buckets: int, furthest: int, device: torch.device | str = "cpu") -> Tensor:
    """The bucket of the distance from each of the last `queries` of `keys` tokens to each key, (T, S).

    Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.1: the first half of the buckets hold one distance each, the others
    distances that grow by a constant factor up to `furthest`. Without `causal`, half of all buckets are for keys after the query.
    """
    key_T = torch.arange(keys, device=device)
    before_TS = key_T[keys - queries :, None] - key_T[None, :]  # how far the key stands before the query
    offset_TS = torch.zeros_like(before_TS)
    if not causal:
        buckets //= 2
        offset_TS = (before_TS < 0).long() * buckets
        before_TS = before_TS.abs()
    before_TS = before_TS.clamp(min=0)
    exact = buckets // 2
    growing = torch.log(before_TS.clamp(min=1).float() / exact) / math.log(furthest / exact) * (buckets - exact)
    return offset_TS + torch.where(before_TS < exact, before_TS, (exact + growing.long()).clamp(max=buckets - 1))
