"""More front ends of pictures: overlapping convolutions in the place of patches, and where a patch stands in two directions.

Axes: B batch, C channels, Y rows and X columns of pixels, P tokens before the patches, T embeddings, W model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stems import PatchShape


class ConvolutionStem(nn.Module):
    """A picture as one embedding for each patch, made by small convolutions that overlap, behind the prefix.

    Xiao et al. 2021, https://arxiv.org/abs/2106.14881: early convolutions instead of one large patch make a Transformer learn faster, and
    from fewer pictures. The first convolution is at full size, each further one at half of the size before, and the last is of single
    patches. Norms are over each picture by itself, so that no answer depends on what else is in the batch.
    """

    def __init__(self, shape: PatchShape, width: int, *, initial_std: float = 0.02) -> None:
        super().__init__()
        halvings = shape.patch_height.bit_length() - 1
        if not shape.patch_height == shape.patch_width == 1 << halvings:
            patch = f"{shape.patch_height}×{shape.patch_width}"
            raise ValueError(f"convolutions that halve a picture give patches of 2, 4, 8, 16 … pixels, not {patch}; choose one of these")
        self.shape = shape
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        before = shape.channels
        for stage in range(halvings + 1):
            channels = max(16, width >> (halvings - stage))
            self.convolutions.append(nn.Conv2d(before, channels, 3, stride=1 if stage == 0 else 2, padding=1, bias=False))
            self.norms.append(nn.GroupNorm(1, channels))
            before = channels
        self.projection = nn.Conv2d(before, width, 1)
        self.prefix = nn.Parameter(torch.empty(shape.prefix, width))
        self._initialise(initial_std)

    def _initialise(self, std: float) -> None:
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # type: ignore[arg-type] # the modules made above
        nn.init.kaiming_normal_(self.projection.weight, nonlinearity="linear")
        assert self.projection.bias is not None
        nn.init.zeros_(self.projection.bias)
        nn.init.normal_(self.prefix, std=std)

    def forward(self, pixels_BCYX: Tensor) -> Tensor:
        """(B, C, Y, X) → (B, P + patches, W), row by row.

        Raises:
            ValueError: the pictures are not of the shape that the stem was made for.
        """
        self.shape.check(pixels_BCYX)
        x = pixels_BCYX
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.gelu(norm(convolution(x)))
        patches_BTW = self.projection(x).flatten(2).mT
        return torch.cat((self.prefix.to(patches_BTW.dtype).expand(len(x), -1, -1), patches_BTW), dim=1)


class GridPositions(nn.Module):
    """Adds to each patch where it stands: sinusoids of its row in one half of the numbers, of its column in the other.

    Vaswani et al. 2017 in two directions, which Beyer et al. 2022, https://arxiv.org/abs/2205.01580, found to serve pictures no worse than
    learned positions. What stands before the patches has none.
    """

    table: Tensor

    def __init__(self, shape: PatchShape, width: int) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"positions in two directions need a width that 4 divides, and it is {width}; change width")
        self.shape, self.width = shape, width
        self.make_buffers()

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute the table (T, W), which follows from the shape and so is not part of the state."""
        rows, columns = self.shape.grid
        quarter = self.width // 4
        frequencies = 10_000 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
        angles_YF = torch.arange(rows, dtype=torch.float64)[:, None] * frequencies
        angles_XF = torch.arange(columns, dtype=torch.float64)[:, None] * frequencies
        parts = [
            half.float()
            for angles in (angles_YF[:, None].expand(-1, columns, -1), angles_XF[None].expand(rows, -1, -1))
            for half in (angles.sin(), angles.cos())
        ]
        patches_TW = torch.cat(parts, dim=-1).flatten(0, 1)
        table = torch.cat((torch.zeros(self.shape.prefix, self.width), patches_TW))
        self.register_buffer("table", table.to(device), persistent=False)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """(B, T, W) → (B, T, W)."""
        return x_BTW + self.table.to(x_BTW.dtype)
