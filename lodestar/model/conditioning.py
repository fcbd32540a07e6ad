"""Conditioning by adaptive norms: a vector a row, of the time and of what is asked for, decides what each layer does.

Axes: B batch, T tokens, W model width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .config import ModelConfig
from .linear import Linear


class Modulation(nn.Module):
    """`count` vectors from the condition: linear(silu(condition)).

    It begins at zero, so that at first no sublayer adds anything and the stack passes on what it is given (adaLN-Zero: Peebles and Xie
    2023, https://arxiv.org/abs/2212.09748, section 3.2).
    """

    def __init__(self, config: ModelConfig, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = Linear(config.width, count * config.width)
        self.initialise()

    def initialise(self) -> None:
        """Begin anew, at zero."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition_BW: Tensor) -> tuple[Tensor, ...]:
        """(B, W) → `count` times (B, 1, W)."""
        return self.linear(F.silu(condition_BW))[:, None].chunk(self.count, dim=-1)


def modulate(x_BTW: Tensor, shift_B1W: Tensor, scale_B1W: Tensor) -> Tensor:
    """x · (1 + scale) + shift."""
    return x_BTW * (1 + scale_B1W) + shift_B1W
