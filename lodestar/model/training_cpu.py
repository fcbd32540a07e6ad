"""Steps of training on a CPU by compiled functions: the same numbers in fewer passes over memory, with the gradients written by hand.

Everywhere else (inference, a GPU, torch.compile, no C compiler) the plain formulas run: `takes` decides.
measured 2026-11: bench/RESULTS.d/speed.md.

Axes: B batch, T tokens, D width of a head, H heads, W model width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import native

LONG = 128
"""Tokens from which on a prompt's attention gains. measured 2026-11: bench/RESULTS.d/speed.md."""


def takes(*tensors: Tensor) -> bool:
    """Whether a gradient will be asked of eager operations on these, and they fit the compiled functions."""
    return (
        tensors[0].device.type == "cpu"
        and torch.is_grad_enabled()
        and any(x.requires_grad for x in tensors)
        and not torch.compiler.is_compiling()
        and native.takes(*tensors)
    )


def attends(*tensors: Tensor) -> bool:
    """Whether `CausalAttention` is the faster way: in training, and for a prompt in bfloat16, where it takes half of torch's time."""
    prompt = tensors[0].dtype is torch.bfloat16 and not torch.is_grad_enabled() and tensors[0].shape[2] >= LONG
    return takes(*tensors) or (prompt and not torch.compiler.is_compiling() and native.takes(*tensors))


class CausalAttention(torch.autograd.Function):
    """softmax(QKᵀ/√d_k)·V under a causal mask.

    torch's fused attention takes 1.8 times as long in float32 and 4 times in bfloat16, its backward pass above all.
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
    """`positions.rotate` in one pass."""

    @staticmethod
    def forward(ctx: Any, x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """See `positions.rotate`."""
        cos, sin = cos.contiguous(), sin.contiguous()
        ctx.save_for_backward(cos, sin)
        return native.rotate(x_BHTD if x_BHTD.stride(-1) == 1 else x_BHTD.contiguous(), cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BHTD: Tensor) -> tuple[Tensor, None, None]:
        """The inverse of a rotation is its transpose."""
        cos, sin = ctx.saved_tensors
        gradient_BHTD = gradient_BHTD if gradient_BHTD.stride(-1) == 1 else gradient_BHTD.contiguous()
        return native.rotate(gradient_BHTD, cos, sin, back=True), None, None


class RMSNorm(torch.autograd.Function):
    """x / √(mean(x²) + ε) · weight. torch composes it of ten operations on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """(…, W), (W) → (…, W), of the type of x."""
        x = x.contiguous()
        y, inverses = native.rms_norm_forward(x, weight.float(), epsilon)
        ctx.save_for_backward(x, weight, inverses)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """See `native.rms_norm_backward`."""
        x, weight, inverses = ctx.saved_tensors
        d_x, d_weight = native.rms_norm_backward(x, weight.float(), inverses, gradient.contiguous())
        return d_x, d_weight.to(weight.dtype), None


class Dropout(torch.autograd.Function):
    """x / (1 − p) with numbers set to 0 at the probability p: which ones, a seed from torch's generator says, in the gradient again.

    torch draws one number after the other on a CPU, which took a seventh of a small translator's step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        """Of any shape; 0 < p < 1."""
        ctx.p, ctx.seed = p, int(torch.randint(2**63 - 1, ()))
        return native.dropout(x.contiguous(), p, ctx.seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The same of the gradient."""
        return native.dropout(gradient.contiguous(), ctx.p, ctx.seed), None


class Relu2(torch.autograd.Function):
    """relu(x)²; torch makes two passes, four in the gradient, and keeps two tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Of any shape."""
        x = x.contiguous()
        ctx.save_for_backward(x)
        return native.relu2(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """2 · relu(x) · g."""
        (x,) = ctx.saved_tensors
        return native.relu2(x, gradient.contiguous())


class GeluTanh(torch.autograd.Function):
    """x · σ(2√(2/π)·(x + 0.044715·x³)); torch's gradient takes three times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Of any shape."""
        x = x.contiguous()
        ctx.save_for_backward(x)
        return native.gelu_tanh(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """See native/rows.c."""
        (x,) = ctx.saved_tensors
        return native.gelu_tanh(x, gradient.contiguous())


class SwiGLU(torch.autograd.Function):
    """silu(gate) · up; torch makes two passes, three in the gradient, and keeps three tensors."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """Two of one shape → one of it."""
        gate, up = gate.contiguous(), up.contiguous()
        ctx.save_for_backward(gate, up)
        return native.swiglu_forward(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """See `native.swiglu_backward`."""
        gate, up = ctx.saved_tensors
        return native.swiglu_backward(gate, up, gradient.contiguous())
