"""The linear layer: `nn.Linear`, with a faster way where a few tokens meet a bfloat16 matrix on the CPU, as in decoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import native


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · weightᵀ + bias: (…, I), (O, I), (O) → (…, O).

    A product with one row reads the whole matrix for two operations a number, so the memory sets its pace. oneDNN reaches half of that
    pace in bfloat16, the compiled product 80% (measured 2026-11: bench/RESULTS.d/speed.md).
    """
    if (
        weight.dtype is torch.bfloat16
        and x.dtype is torch.bfloat16
        and x.numel() <= native.MOST_ROWS * weight.shape[1]
        and weight.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    ):
        product = native.linear(x, weight, bias)
        if product is not None:
            return product
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear` by way of `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, I) → (…, O)."""
        return linear(input, self.weight, self.bias)
