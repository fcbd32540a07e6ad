"""A picture's encoder whose patches each propose a few objects: a set of boxes in one pass, with nothing to prune afterwards.

Axes: B pictures, C channels, Y rows and X columns of pixels, T patches, W model width, R rows and K columns of cells, P = R · K proposals,
D numbers a cell, L labels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.config import ModelConfig
from .stems import PatchShape
from .towers import PictureEncoder, PictureStem

RARE = 0.01
"""The score that every proposal begins with: nearly all of them are of nothing (Lin et al. 2017, https://arxiv.org/abs/1708.02002)."""
MOST_LOG = 4.0
"""How far a side may be from the usual one, as a logarithm: 55 times."""


class Proposals(NamedTuple):
    """One for each cell, row by row."""

    logits: Tensor
    """Of each label, by itself (B, P, L)."""
    boxes: Tensor
    """Left, top, right, bottom in pixels of what the model reads (B, P, 4)."""


class ProposalHead(nn.Module):
    """Cells → proposals: each looks at its neighbours, so that one of them can leave an object to another.

    Args:
        usual: width and height of the usual object, in pixels: what a cell proposes before it has learnt anything.
        cells: of a patch, in each direction.
    """

    middles: Tensor

    def __init__(self, width: int, labels: int, usual: tuple[float, float], shape: PatchShape, cells: int) -> None:
        super().__init__()
        self.usual, self.shape, self.cells = usual, shape, cells
        self.convolution = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(1, width)
        self.label, self.box = nn.Conv2d(width, labels, 1), nn.Conv2d(width, 4, 1)
        self.make_buffers()
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        for layer, bias in ((self.label, -math.log(1 / RARE - 1)), (self.box, 0.0)):
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, bias)

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute x and y of each cell's middle (P, 2), which follow from the shape and so are not part of the state."""
        rows, columns = (size * self.cells for size in self.shape.grid)
        high, wide = self.shape.patch_height / self.cells, self.shape.patch_width / self.cells
        y_RK, x_RK = torch.meshgrid((torch.arange(rows) + 0.5) * high, (torch.arange(columns) + 0.5) * wide, indexing="ij")
        self.register_buffer("middles", torch.stack((x_RK, y_RK), -1).flatten(0, 1).to(device), persistent=False)

    def forward(self, cells_BDRK: Tensor) -> Proposals:
        """(B, D, R, K) → proposals, in float32."""
        hidden = F.gelu(self.norm(self.convolution(cells_BDRK)))
        logits_BPL = self.label(hidden).flatten(2).mT.float()
        shift_BP2, growth_BP2 = self.box(hidden).flatten(2).mT.float().split(2, -1)
        usual = shift_BP2.new_tensor(self.usual)
        middle_BP2 = self.middles + shift_BP2 * usual
        half_BP2 = usual * growth_BP2.clamp(-MOST_LOG, MOST_LOG).exp() / 2
        return Proposals(logits_BPL, torch.cat((middle_BP2 - half_BP2, middle_BP2 + half_BP2), -1))


class Detector(PictureEncoder):
    """Objects in a picture, at most one for each cell; a patch has `cells` × `cells` of them.

    Two heads read the same states. One is trained to give each object exactly one proposal, and is what is asked; the other, which gives
    each several, is there while training alone: the many examples that it learns from teach the encoder what an object looks like (Wang et
    al. 2021, https://arxiv.org/abs/2012.03544; Wang et al. 2024, https://arxiv.org/abs/2405.14458).

    Args:
        usual: width and height of the usual object, in pixels.
        stem, grid: see `PictureEncoder`.
    """

    def __init__(
        self, config: ModelConfig, shape: PatchShape, labels: int, *, cells: int, usual: tuple[float, float],
        stem: PictureStem = "convolutions", grid: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(config, shape, stem=stem, grid=grid)
        if shape.prefix:
            raise ValueError(
                f"a detector's patches stand for themselves, and {shape.prefix} tokens before them for nothing; set prefix to 0"
            )
        self.labels, self.cells = labels, cells
        self.spread = nn.Linear(config.width, cells * cells * (width := max(32, config.width // 2)))
        nn.init.normal_(self.spread.weight, std=config.width**-0.5)
        nn.init.zeros_(self.spread.bias)
        self.one, self.many = (ProposalHead(width, labels, usual, shape, cells) for _ in range(2))

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell, in pixels."""
        return self.stem.shape.patch_width / self.cells, self.stem.shape.patch_height / self.cells

    def forward(self, pixels: Tensor) -> Proposals:  # type: ignore[override] # a set in the place of states
        """(B, C, Y, X) → what the model proposes, of one object once."""
        return self.one(self.spread_out(self.hidden(pixels)))

    def patch_of(self, cell: int) -> int:
        """The patch whose state proposes what this cell does."""
        _, columns = self.stem.shape.grid
        down, across = divmod(cell, columns * self.cells)
        return down // self.cells * columns + across // self.cells

    def spread_out(self, hidden_BTW: Tensor) -> Tensor:
        """The patches' states → cells (B, D, R, K)."""
        rows, columns = self.stem.shape.grid
        cells = self.spread(hidden_BTW).unflatten(1, (rows, columns)).unflatten(-1, (self.cells, self.cells, -1))
        # (B, rows, columns, down, across, D) → (B, D, rows, down, columns, across)
        return cells.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
