"""A linear layer whose frozen weights are codes of 4 or 8 bits with one scale a group: less to read from memory, less to hold.

What makes the codes is build/quantize.py; here stands what they mean, as the formula that every faster product is held against.

Axes: I input width, O output width, C codes of a row as they are packed (I, or I / 2 of 4 bits), N groups of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from . import native

Code = Literal["int8", "int4", "nf4"]

BITS: dict[str, int] = {"int8": 8, "int4": 4, "nf4": 4}
"""Of each code."""

NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""Quantiles of a normal distribution, with a zero. Dettmers et al. 2023, https://arxiv.org/abs/2305.14314, appendix E."""


class QuantizedLinear(nn.Module):
    """x · weightᵀ + bias with weight[o, i] = level[codes[o, i]] · scales[o, i // group].

    The level of a code q is q for int8 (-127 … 127), q - 8 for int4 (0 … 15), `NF4_LEVELS[q]` for nf4.

    Attributes:
        codes: int8 (O, I); or of 4 bits, uint8 (O, I / 2): the number at column 2c in the low half of byte c, that at 2c + 1 in the high.
        scales: bfloat16 (O, I / group); may be negative.
        bias: (O,), or None.
    """

    codes: Tensor
    scales: Tensor
    bias: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, *, code: Code, group: int, bias: bool = True) -> None:
        super().__init__()
        if in_features % group or group % 2:
            raise ValueError(f"groups of {group} do not divide {in_features} columns; choose an even divisor")
        self.in_features, self.out_features, self.code, self.group = in_features, out_features, code, group
        packed = torch.empty(out_features, in_features, dtype=torch.int8)
        if BITS[code] == 4:
            packed = torch.empty(out_features, in_features // 2, dtype=torch.uint8)
        self.register_buffer("codes", packed)
        self.register_buffer("scales", torch.empty(out_features, in_features // group, dtype=torch.bfloat16))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_features)) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) → (…, O), of the type of x."""
        if torch.is_grad_enabled() and x.requires_grad:
            return _Product.apply(x, self, self.bias)
        product = self._compiled(x)
        if product is not None:
            return product
        return F.linear(x, self.dequantized(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

    def _compiled(self, x: Tensor) -> Tensor | None:
        """The product by compiled code, which reads the codes as they are, on a CPU; else None."""
        plain = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and not torch.compiler.is_compiling()
        if not plain or torch.is_grad_enabled():
            return None
        return native.linear_codes(
            x, self.codes, self.scales, self.bias, columns=self.in_features, group=self.group, code=self.code
        )  # fmt: skip

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weights, (O, I): computed in float32, then rounded to `dtype`."""
        codes_OI = self.codes if BITS[self.code] == 8 else unpack(self.codes)
        if self.code == "nf4":
            levels_OI = torch.tensor(NF4_LEVELS, device=codes_OI.device)[codes_OI.int()]
        else:
            levels_OI = codes_OI.float() if self.code == "int8" else codes_OI.float() - 8
        return levels_OI.unflatten(1, (-1, self.group)).mul_(self.scales.float()[..., None]).flatten(1).to(dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Scales stay bfloat16 when a model is converted: they are part of the code, and the fast products read them so."""
        super()._apply(fn, recurse)
        self.scales = self.scales.bfloat16()
        return self

    def memory_bytes(self) -> int:
        """What codes, scales and bias take."""
        tensors = [self.codes, self.scales, *([] if self.bias is None else [self.bias])]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, code={self.code}, group={self.group}, bias={self.bias is not None}"


def pack(codes_OI: Tensor) -> Tensor:
    """Codes from 0 to 15, uint8 (O, I) → (O, I / 2): even columns in the low halves."""
    return codes_OI[:, 0::2] | (codes_OI[:, 1::2] << 4)


def unpack(packed_OC: Tensor) -> Tensor:
    """The inverse of `pack`."""
    return torch.stack((packed_OC & 15, packed_OC >> 4), -1).flatten(1)


class _Product(torch.autograd.Function):
    """The product with weights that get no gradient; they are computed again for that of x, not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear, bias: Tensor | None) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.dequantized(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor | None]:
        d_bias = gradient.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None
        return gradient @ ctx.layer.dequantized(gradient.dtype), None, d_bias
