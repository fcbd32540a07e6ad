"""Altered pictures for training: what a picture shows stays what it is when it is mirrored, moved, partly hidden or mixed with another.

All of it works on a whole batch at once, with torch alone, where the batch is; and draws from torch's generator, whose state is part of a
checkpoint, so that a resumed run meets the same pictures.

Axes: B pictures, C channels, Y rows and X columns of pixels, L labels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Boxes(NamedTuple):
    """A rectangle in each picture, (B,) each: the rows top:bottom, the columns left:right. An empty one has no pixels."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor

    def mask(self, height: int, width: int) -> Tensor:
        """True inside, (B, 1, Y, X)."""
        rows = torch.arange(height, device=self.top.device)
        columns = torch.arange(width, device=self.top.device)
        in_rows_BY = (rows >= self.top[:, None]) & (rows < self.bottom[:, None])
        in_columns_BX = (columns >= self.left[:, None]) & (columns < self.right[:, None])
        return (in_rows_BY[:, :, None] & in_columns_BX[:, None])[:, None]


def scaled(pixels_BCYX: Tensor) -> Tensor:
    """Pixels of 0 to 255 → float32 around 0, with a spread of about 1: photographs' means are near a half, their deviations a quarter."""
    return pixels_BCYX.float() / 63.75 - 2.0


def flipped(pixels_BCYX: Tensor) -> Tensor:
    """Half of the pictures as a mirror shows them."""
    chosen_B = torch.rand(len(pixels_BCYX), device=pixels_BCYX.device) < 0.5
    return torch.where(chosen_B[:, None, None, None], pixels_BCYX.flip(-1), pixels_BCYX)


def cropped(pixels_BCYX: Tensor, margin: int) -> Tensor:
    """Each picture moved by up to `margin` pixels in either direction; what comes in at the border repeats its last pixels."""
    count, _, height, width = pixels_BCYX.shape
    device = pixels_BCYX.device
    down_B, across_B = torch.randint(-margin, margin + 1, (2, count), device=device)
    rows_BY = (torch.arange(height, device=device) + down_B[:, None]).clamp(0, height - 1)
    columns_BX = (torch.arange(width, device=device) + across_B[:, None]).clamp(0, width - 1)
    moved = pixels_BCYX.gather(2, rows_BY[:, None, :, None].expand(-1, pixels_BCYX.shape[1], -1, width))
    return moved.gather(3, columns_BX[:, None, None].expand_as(moved))


def erased(pixels_BCYX: Tensor, share: float) -> Tensor:
    """A rectangle of noise over this share of the pictures. Zhong et al. 2017, https://arxiv.org/abs/1708.04896.

    It takes between a fiftieth and a third of the picture, and is up to 3.3 times as high as wide, or as wide as high.
    """
    count, _, height, width = pixels_BCYX.shape
    device = pixels_BCYX.device
    area_B = torch.empty(count, device=device).uniform_(0.02, 1 / 3)
    stretch_B = torch.empty(count, device=device).uniform_(-1.2, 1.2).exp()  # ln 3.3 = 1.2
    tall_B, wide_B = (height * (area_B * stretch_B).sqrt()), (width * (area_B / stretch_B).sqrt())
    boxes = _boxes(tall_B.clamp(1, height).round(), wide_B.clamp(1, width).round(), height, width, inside=True)
    hidden_B = torch.rand(count, device=device) < share
    mask = boxes.mask(height, width) & hidden_B[:, None, None, None]
    noise = torch.randint(0, 256, pixels_BCYX.shape, device=device, dtype=torch.uint8).to(pixels_BCYX.dtype)
    return torch.where(mask, noise, pixels_BCYX)


def mixed_up(pixels_BCYX: Tensor, targets_BL: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Each picture and its labels averaged with another of the batch: λ of the one, 1 - λ of the other, λ from Beta(α, α) for each.

    Zhang et al. 2017, https://arxiv.org/abs/1710.09412.
    """
    others = torch.randperm(len(pixels_BCYX), device=pixels_BCYX.device)
    kept_B = _beta(alpha, len(pixels_BCYX), pixels_BCYX.device)
    kept = kept_B[:, None, None, None]
    return pixels_BCYX * kept + pixels_BCYX[others] * (1 - kept), _shared(targets_BL, others, kept_B)


def cut_and_mixed(pixels_BCYX: Tensor, targets_BL: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """A rectangle of each picture replaced by that part of another, and the labels shared by the areas. Yun et al. 2019,
    https://arxiv.org/abs/1905.04899.

    The rectangle has the share 1 - λ of the area, λ from Beta(α, α), and its middle anywhere; what lies outside of the picture is cut off,
    and the labels are shared by what is left of it.
    """
    count, _, height, width = pixels_BCYX.shape
    others = torch.randperm(count, device=pixels_BCYX.device)
    side_B = (1 - _beta(alpha, count, pixels_BCYX.device)).sqrt()
    mask = _boxes((side_B * height).round(), (side_B * width).round(), height, width, inside=False).mask(height, width)
    kept_B = 1 - mask.float().mean((1, 2, 3))
    return torch.where(mask, pixels_BCYX[others], pixels_BCYX), _shared(targets_BL, others, kept_B)


def smoothed(targets_BL: Tensor, smoothing: float) -> Tensor:
    """This share of each label given to all alike. Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, section 7."""
    return targets_BL * (1 - smoothing) + smoothing / targets_BL.shape[1]


def soft_cross_entropy(logits_BL: Tensor, targets_BL: Tensor) -> Tensor:
    """The summed cross-entropy with labels that are shared, in nats."""
    return -(targets_BL * F.log_softmax(logits_BL, dim=-1)).sum()


def _shared(targets_BL: Tensor, others_B: Tensor, kept_B: Tensor) -> Tensor:
    return targets_BL * kept_B[:, None] + targets_BL[others_B] * (1 - kept_B[:, None])


def _boxes(tall_B: Tensor, wide_B: Tensor, height: int, width: int, *, inside: bool) -> Boxes:
    """Rectangles of these sizes, wholly inside; or with their middles anywhere, and what lies outside cut off."""
    sides = []
    for size_B, room in ((tall_B.long(), height), (wide_B.long(), width)):
        draw_B = torch.rand(len(size_B), device=size_B.device)
        first_B = (draw_B * (room - size_B + 1)).long() if inside else (draw_B * room).long() - size_B // 2
        sides += [first_B.clamp(0, room), (first_B + size_B).clamp(0, room)]
    return Boxes(*sides)


def _beta(alpha: float, count: int, device: torch.device) -> Tensor:
    """Draws from Beta(α, α), as a share of two gammas."""
    gammas = torch._standard_gamma(torch.full((2, count), alpha, device=device))
    return gammas[0] / gammas.sum(0).clamp(min=1e-30)
