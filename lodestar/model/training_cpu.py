"""Steps of training that eager torch is slow at on a CPU, with gradients written by hand. The same numbers, in fewer passes over memory.

Everywhere else (inference, a GPU, torch.compile) the plain formulas run: `trains_on_cpu` decides. measured: bench/lm_speed 2026-11.

Axes: B batch, T tokens, D width of a head, H heads, W model width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import native


def trains_on_cpu(x: Tensor) -> bool:
    """Whether a gradient will be asked of eager operations on the CPU."""
    return x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling()


class CausalAttention(torch.autograd.Function):
    """softmax(QKᵀ/√d_k)·V under a causal mask, by the compiled functions.

    torch's fused attention takes 2 times as long in float32 and 4 times in bfloat16, its backward pass above all.
    """

    @staticmethod
    def forward(ctx: Any, queries_BHTD: Tensor, keys_BHTD: Tensor, values_BHTD: Tensor, allowed: Tensor | None) -> Tensor:
        """See `native.attention_forward`."""
        queries, keys, values = (x if x.stride(-1) == 1 else x.contiguous() for x in (queries_BHTD, keys_BHTD, values_BHTD))
        mixed_BHTD, log_sums_BHT = native.attention_forward(queries, keys, values, allowed)
        ctx.save_for_backward(queries, keys, values, allowed, mixed_BHTD, log_sums_BHT)
        return mixed_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """See `native.attention_backward`."""
        queries, keys, values, allowed, mixed_BHTD, log_sums_BHT = ctx.saved_tensors
        return *native.attention_backward(queries, keys, values, allowed, mixed_BHTD, log_sums_BHT, gradient_BHTD), None


class Rotate(torch.autograd.Function):
    """`positions.rotate`: four passes into one result, where the plain formula makes eight temporaries. Its gradient turns back."""

    @staticmethod
    def forward(ctx: Any, x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """See `positions.rotate`."""
        ctx.save_for_backward(cos, sin)
        return _turn(x_BHTD, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BHTD: Tensor) -> tuple[Tensor, None, None]:
        """The inverse of a rotation is its transpose."""
        cos, sin = ctx.saved_tensors
        return _turn(gradient_BHTD, cos, -sin), None, None


def _turn(x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.to(x_BHTD.dtype), sin.to(x_BHTD.dtype)
    turned = torch.empty(x_BHTD.shape, dtype=x_BHTD.dtype)
    (first, second), (turned_first, turned_second) = x_BHTD.chunk(2, -1), turned.chunk(2, -1)
    torch.mul(first, cos, out=turned_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=turned_second).addcmul_(first, sin)
    return turned


class RMSNorm(torch.autograd.Function):
    """x / √(mean(x²) + ε) · weight. torch has no fused kernel for it on a CPU, and composes it of ten operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """(…, W), (W) → (…, W), of the type of x."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        inverse = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_().to(x.dtype)
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """With r = 1/rms(x) and W its width: dx = r·w·g − x·r³/W·Σ(w·g·x); dw = Σ over rows of g·x·r. Both sums are products of g·x."""
        x, weight, inverse = ctx.saved_tensors
        width = x.shape[-1]
        product = (gradient * x).view(-1, width)
        along = (product @ weight.to(x.dtype)).view_as(inverse)
        d_weight = (inverse.view(1, -1) @ product).view(width)
        d_x = (gradient * weight.to(x.dtype)).mul_(inverse).addcmul_(x, along * inverse**3, value=-1 / width)
        return d_x, d_weight.to(weight.dtype), None


class Relu2(torch.autograd.Function):
    """relu(x)², keeping relu(x) alone: autograd keeps two tensors and makes three passes more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Of any shape."""
        positive = x.clamp_min(0)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """2 · relu(x) · g."""
        (positive,) = ctx.saved_tensors
        return (gradient * positive).mul_(2)
