"""Convolutions over a sequence that padding does not reach into.

Axes: B batch, T places of the sequence, W width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 7


class ConvBlock(nn.Module):
    """x + down(gelu(up(norm(depthwise(x))))): ConvNeXt's block over time.

    Liu et al. 2022, https://arxiv.org/abs/2201.03545; over time as in Vocos (Siuzdak 2023, https://arxiv.org/abs/2306.00814).
    """

    def __init__(self, width: int, *, factor: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, factor * width)
        self.down = nn.Linear(factor * width, width)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)

    def forward(self, x_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, W) → (B, T, W); the mask is True on what is no padding."""
        mixed_BTW = self.depthwise((x_BTW * mask_BT[..., None]).mT).mT
        return x_BTW + self.down(F.gelu(self.up(self.norm(mixed_BTW))))


class ConvStack(nn.Module):
    """Several of them, one after another."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(width) for _ in range(depth))

    def forward(self, x_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, W) → (B, T, W)."""
        for block in self.blocks:
            x_BTW = block(x_BTW, mask_BT)
        return x_BTW
