"""The output projection and the cross-entropy in one, so that the logits of a whole batch never stand in memory.

Axes: N positions, W model width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import native
from .frozen import frozen_gradient, frozen_product, product_dtype

LOGITS_AT_ONCE, FEWEST_ROWS = 64 << 20, 256
"""Logits that are held at a time: 256 MB in float32, but no fewer rows than the products need for their speed."""
IN_CACHE = 1 << 19
"""Numbers that a softmax goes over again and again while they are near: 2 MB."""


class LinearCrossEntropy(torch.autograd.Function):
    """Σ −log softmax(hidden · weightᵀ)[target] in nats. The gradients are computed with the loss, while the logits are there.

    As Liger's (Hsu et al. 2024, https://arxiv.org/abs/2410.10989, section 3.2). measured 2026-11: bench/RESULTS.d/finetune.md.
    """

    @staticmethod
    def forward(ctx: Any, hidden_NW: Tensor, weight_VW: Tensor, targets_N: Tensor, wide: bool) -> Tensor:
        """(N, W), (V, W), (N,) → scalar float32. For `wide` see `frozen.product_dtype`."""
        kind = hidden_NW.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_NW.dtype
        dtype = product_dtype(dtype, wide)
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden_NW) if wants_hidden else None
        d_weight = torch.zeros_like(weight_VW, dtype=torch.float32) if wants_weight else None
        loss = torch.zeros((), dtype=torch.float64, device=hidden_NW.device)
        rows = max(FEWEST_ROWS, LOGITS_AT_ONCE // len(weight_VW))
        with torch.autocast(kind, enabled=False):
            for first in range(0, len(hidden_NW), rows):
                numbers = hidden_NW[first : first + rows].to(dtype)
                gradient = frozen_product(numbers, weight_VW.detach()).float()
                loss += _losses(gradient, targets_N[first : first + rows])
                gradient = gradient.to(dtype)
                if d_hidden is not None:
                    d_hidden[first : first + rows] = frozen_gradient(gradient, weight_VW.detach())
                if d_weight is not None:
                    d_weight += gradient.mT @ numbers
        ctx.save_for_backward(d_hidden, None if d_weight is None else d_weight.to(weight_VW.dtype))
        return loss.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of hidden and weight."""
        return *(None if d is None else d * gradient.to(d.dtype) for d in ctx.saved_tensors), None, None


def _losses(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """The summed cross-entropy; in place, the logits become its gradient, softmax − one at the target."""
    if logits_NV.device.type == "cpu" and native.library() is not None:
        return native.softmax_gradient(logits_NV, targets_N).sum(dtype=torch.float64)
    loss = torch.zeros((), dtype=torch.float64, device=logits_NV.device)
    rows = max(1, IN_CACHE // logits_NV.shape[1])
    for block_RV, targets_R in zip(logits_NV.split(rows), targets_N.split(rows), strict=True):
        target_R1 = targets_R[:, None]
        x_RV = block_RV.sub_(block_RV.amax(1, keepdim=True))
        chosen_R1 = x_RV.gather(1, target_R1)
        sums_R1 = x_RV.exp_().sum(1, keepdim=True)
        loss += (sums_R1.log() - chosen_R1).sum()
        x_RV.div_(sums_R1)
        x_RV.scatter_add_(1, target_R1, torch.full_like(chosen_R1, -1.0))
    return loss
