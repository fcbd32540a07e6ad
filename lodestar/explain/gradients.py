"""Integrated gradients: what each input adds to an output, from a baseline that says nothing to the input as it is.

Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365: (x - x') · ∫₀¹ ∂f(x' + α(x - x'))/∂x dα, whose sum is f(x) - f(x')
(completeness). The integral is Gauss and Legendre's sum, with as many points as completeness takes.

Axes: A points on the way, T tokens, W model width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .steps import Steps

TOLERANCE = 0.01
"""Of completeness, as a share of f(x) - f(x'); of what is smaller than a tenth of a nat, as a share of that."""
FEWEST, MOST = 32, 1024
"""Points on the way: from so many, doubled up to so many."""
PASS_TOKENS = 512
"""Tokens of one pass, whose activations are held for the way back: one step. # measured as that of `subject`"""


@dataclass(frozen=True)
class Attribution:
    """What each input token added."""

    values: Tensor
    """(T,), float64, signed, in the unit of f."""
    difference: float
    """f(x) - f(x')."""
    gap: float
    """The sum of the values less `difference`: 0 in exact arithmetic."""
    points: int

    @property
    def complete(self) -> bool:
        """Whether the values add up, to the tolerance."""
        return abs(self.gap) <= _allowed(self.difference)


def integrated_gradients(
    score: Callable[[Tensor], Tensor], inputs_TW: Tensor, baseline_TW: Tensor, *, fewest: int = FEWEST
) -> Steps[Attribution]:
    """Attribute `score` of `inputs_TW`, beside that of `baseline_TW`, to its tokens.

    Args:
        score: (A, T, W) → (A,), each row on its own.
        fewest: points to begin with. They are doubled until the values add up, or there are `MOST` of them: then `complete` is False.
    """
    # A server reads in inference mode, whose tensors take no part in a backward pass.
    with torch.inference_mode(False), torch.no_grad():
        inputs_TW, baseline_TW = inputs_TW.clone(), baseline_TW.clone()
        ends = score(torch.stack((baseline_TW, inputs_TW))).double()
    difference = float(ends[1] - ends[0])
    points = fewest
    while True:
        values_T = yield from _integral(score, inputs_TW, baseline_TW, points)
        gap = float(values_T.sum()) - difference
        if abs(gap) <= _allowed(difference) or 2 * points > MOST:
            return Attribution(values_T, difference, gap, points)
        points *= 2


def _allowed(difference: float) -> float:
    return TOLERANCE * max(abs(difference), 0.1)


def _integral(score: Callable[[Tensor], Tensor], inputs_TW: Tensor, baseline_TW: Tensor, points: int) -> Steps[Tensor]:
    places, shares = np.polynomial.legendre.leggauss(points)  # on [-1, 1]
    device = inputs_TW.device
    alphas_A = torch.tensor((places + 1) / 2, device=device)
    shares_A = torch.tensor(shares / 2, device=device)
    summed_TW = torch.zeros(inputs_TW.shape, dtype=torch.float64, device=device)
    rows = max(1, PASS_TOKENS // len(inputs_TW))
    for alpha, share in zip(alphas_A.split(rows), shares_A.split(rows), strict=True):
        with torch.inference_mode(False), torch.enable_grad():
            way_ATW = (baseline_TW.double() + alpha[:, None, None] * (inputs_TW.double() - baseline_TW.double())).to(inputs_TW.dtype)
            way_ATW = way_ATW.detach().requires_grad_()
            (gradient_ATW,) = torch.autograd.grad(score(way_ATW).sum(), way_ATW)
        summed_TW = summed_TW + torch.einsum("a,atw->tw", share, gradient_ATW.double())
        yield
    return ((inputs_TW.double() - baseline_TW.double()) * summed_TW).sum(-1).cpu()
