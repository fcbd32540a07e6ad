"""Products with weights that get no gradient: nothing of a weight is kept for the backward pass, whatever form it is held in.

Axes: I input width, O output width, R rank of an adapter, N rows of all leading axes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .quantized import QuantizedLinear

Base = nn.Linear | QuantizedLinear
"""A linear layer that is frozen."""

CONVERTED_AT_ONCE = 8 << 20
"""So many numbers of a weight, at most, are held in another type at a time: 32 MB in float32."""


def weight_of(base: Base, dtype: torch.dtype | None = None) -> Tensor:
    """The weights (O, I); those of codes in float32 where no type is named."""
    if isinstance(base, QuantizedLinear):
        return base.dequantized(dtype or torch.float32)
    return base.weight.detach().to(dtype or base.weight.dtype)


def _numbers(base: Base, dtype: torch.dtype) -> Tensor:
    """The weights as they are held, or of codes what they mean, in `dtype`."""
    return base.dequantized(dtype) if isinstance(base, QuantizedLinear) else base.weight.detach()


def _blocks(weight_OI: Tensor, dtype: torch.dtype) -> list[tuple[int, int, Tensor]]:
    """(first row, end, weight of these rows): one block, unless a copy in `dtype` would be large."""
    length = len(weight_OI)
    rows = length if weight_OI.dtype == dtype else max(1, CONVERTED_AT_ONCE // weight_OI.shape[1])
    return [(first, min(first + rows, length), weight_OI[first : first + rows]) for first in range(0, length, rows)]


def frozen_product(x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """x · weightᵀ + bias, (N, O), computed in the type of x."""
    blocks = _blocks(weight_OI, x_NI.dtype)
    if len(blocks) == 1:
        return F.linear(x_NI, weight_OI.to(x_NI.dtype), None if bias_O is None else bias_O.to(x_NI.dtype))
    y_NO = x_NI.new_empty(len(x_NI), len(weight_OI))
    for first, end, weight in blocks:
        y_NO[:, first:end] = x_NI @ weight.to(x_NI.dtype).mT
    return y_NO if bias_O is None else y_NO.add_(bias_O)


def frozen_gradient(gradient_NO: Tensor, weight_OI: Tensor) -> Tensor:
    """gradient · weight, (N, I): of the input, from that of the product."""
    blocks = _blocks(weight_OI, gradient_NO.dtype)
    first, end, weight = blocks[0]
    d_NI = gradient_NO[:, first:end] @ weight.to(gradient_NO.dtype)
    for first, end, weight in blocks[1:]:
        d_NI.addmm_(gradient_NO[:, first:end], weight.to(gradient_NO.dtype))
    return d_NI


class Product(torch.autograd.Function):
    """x · (weight + scale · up · down)ᵀ + bias, with gradients of x, down and up.

    The sums run inside the products, so that no pass over the rows is made for them; nothing but x and x · downᵀ is kept.
    measured 2026-11: bench/RESULTS.d/finetune.md.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, down_RI: Tensor | None, up_OR: Tensor | None, base: Base, scale: float, wide: bool, bias: bool
    ) -> Tensor:
        """(…, I) → (…, O), of the type of x, or autocast's; see `product_dtype` for `wide`."""
        kind = x.device.type
        result = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        with torch.autocast(kind, enabled=False):
            x_NI = x.flatten(0, -2)
            numbers_NI = x_NI.to(product_dtype(result, wide))
            y_NO = frozen_product(numbers_NI, _numbers(base, numbers_NI.dtype), base.bias if bias else None)
            inner_NR = None
            if down_RI is not None and up_OR is not None:
                inner_NR = numbers_NI @ down_RI.to(numbers_NI.dtype).mT
                y_NO.addmm_(inner_NR, up_OR.to(numbers_NI.dtype).mT, alpha=scale)
        ctx.save_for_backward(x_NI if down_RI is not None else None, inner_NR, down_RI, up_OR)
        ctx.base, ctx.scale, ctx.wide, ctx.type = base, scale, wide, x.dtype
        return y_NO.to(result).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of x, down and up."""
        x_NI, inner_NR, down_RI, up_OR = ctx.saved_tensors
        g_NO = gradient.flatten(0, -2).to(product_dtype(gradient.dtype, ctx.wide))
        d_x = frozen_gradient(g_NO, _numbers(ctx.base, g_NO.dtype)) if ctx.needs_input_grad[0] else None
        d_down = d_up = None
        if inner_NR is not None:
            scaled_NR = (g_NO @ up_OR.to(g_NO.dtype)).mul_(ctx.scale)
            d_down = (scaled_NR.mT @ x_NI.to(g_NO.dtype)).to(down_RI.dtype)
            # In this order the product is twice as fast as its transpose.
            d_up = (inner_NR.mT @ g_NO).mul_(ctx.scale).mT.to(up_OR.dtype)
            if d_x is not None:
                d_x.addmm_(scaled_NR, down_RI.to(g_NO.dtype))
        if d_x is not None:
            d_x = d_x.to(ctx.type).view(*gradient.shape[:-1], -1)
        return d_x, d_down, d_up, None, None, None, None


def product_dtype(numbers: torch.dtype, wide: bool) -> torch.dtype:
    """What a product of `numbers` is computed in: where `wide`, bfloat16 is taken to float32.

    Some CPUs multiply float32 at twice the speed of bfloat16 (see build/arithmetic.py). The copies of a weight come and go block by block.
    """
    return torch.float32 if wide and numbers is torch.bfloat16 else numbers
