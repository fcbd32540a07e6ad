"""Altered pictures for training whose boxes change with them: mirrored, nearer or farther, in other light, put together of several.

All of it works on a whole batch at once, where the batch is, and draws from torch's generator, as in `augment`.

Axes: B pictures, C channels, Y rows and X columns of pixels, M objects of a picture.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts.config import Config
from .boxes import area
from .matching import Objects

GREY = 128.0
"""What is seen beside a picture that is farther."""
LEAST_SEEN, LEAST_SIDE = 0.3, 2.0
"""The share of an object that must be left for it to be looked for, and its shorter side in pixels. # assumed"""


class BoxAlterations(Config):
    """How pictures are altered in training; as it is, not at all."""

    flip: Literal["no", "horizontal", "both"] = "no"
    zoom: float = 1.0
    colour: float = 0.0
    mosaic: float = 0.0


def altered(pixels_BCYX: Tensor, objects: Objects, how: BoxAlterations) -> tuple[Tensor, Objects]:
    """Pictures of 0 to 255, altered, in float32, and what is in them then."""
    pixels = pixels_BCYX.float()
    if how.flip != "no":
        pixels, objects = flipped(pixels, objects, vertically=False)
    if how.flip == "both":
        pixels, objects = flipped(pixels, objects, vertically=True)
    if how.zoom > 1:
        pixels, objects = zoomed(pixels, objects, how.zoom)
    if how.colour:
        pixels = recoloured(pixels, how.colour)
    if how.mosaic:
        pixels, objects = pieced_together(pixels, objects, how.mosaic)
    return pixels, objects


def flipped(pixels_BCYX: Tensor, objects: Objects, *, vertically: bool) -> tuple[Tensor, Objects]:
    """Half of the pictures as a mirror beside them shows them, or one below."""
    axis, low, high = (-2, 1, 3) if vertically else (-1, 0, 2)
    chosen_B = torch.rand(len(pixels_BCYX), device=pixels_BCYX.device) < 0.5
    mirrored = objects.boxes.clone()
    mirrored[..., low] = pixels_BCYX.shape[axis] - objects.boxes[..., high]
    mirrored[..., high] = pixels_BCYX.shape[axis] - objects.boxes[..., low]
    pixels = torch.where(chosen_B[:, None, None, None], pixels_BCYX.flip(axis), pixels_BCYX)
    return pixels, objects._replace(boxes=torch.where(chosen_B[:, None, None], mirrored, objects.boxes))


def zoomed(pixels_BCYX: Tensor, objects: Objects, most: float) -> tuple[Tensor, Objects]:
    """Each picture up to `most` times nearer, a part of it, or farther, with grey beside it; where, is drawn, too."""
    count, _, height, width = pixels_BCYX.shape
    device = pixels_BCYX.device
    times_B = (torch.empty(count, device=device).uniform_(-1, 1) * torch.tensor(most).log()).exp()
    size_2 = torch.tensor([width, height], dtype=torch.float32, device=device)
    # What is in the picture's corner goes to `first`, in pixels: between 0 and what is left of the size, which is negative when nearer.
    first_B2 = torch.rand(count, 2, device=device) * (size_2 * (1 - times_B[:, None]))
    # affine_grid's coordinates go from -1 to 1, and lead from what is made to what it is made of.
    offset_B2 = (size_2 - 2 * first_B2) / (times_B[:, None] * size_2) - 1
    scale_B22 = torch.eye(2, device=device) / times_B[:, None, None]
    grid = F.affine_grid(torch.cat((scale_B22, offset_B2[..., None]), -1), list(pixels_BCYX.shape), align_corners=False)
    pixels = F.grid_sample(pixels_BCYX - GREY, grid, align_corners=False) + GREY
    boxes = objects.boxes * times_B[:, None, None] + first_B2.repeat(1, 2)[:, None]
    return pixels, clipped(objects._replace(boxes=boxes), boxes.new_tensor([0, 0, width, height]))


def recoloured(pixels_BCYX: Tensor, strength: float) -> Tensor:
    """Each picture brighter or darker, with more or less contrast and colour, its channels shifted against each other; by up to so much."""
    draw = torch.empty(len(pixels_BCYX), 6, 1, 1, device=pixels_BCYX.device).uniform_(-strength, strength)
    grey = pixels_BCYX.mean(1, keepdim=True)
    coloured = grey + (pixels_BCYX - grey) * (1 + draw[:, 0:1])
    middle = coloured.mean((2, 3), keepdim=True)
    contrasted = middle + (coloured - middle) * (1 + draw[:, 1:2])
    return (contrasted * (1 + draw[:, 2:3]) + GREY / 2 * draw[:, 3:6]).clamp(0, 255)


def pieced_together(pixels_BCYX: Tensor, objects: Objects, share: float) -> tuple[Tensor, Objects]:
    """This share of the pictures made of four: around a point, each corner is that of another picture of the batch, at its own size.

    As Bochkovskiy et al. 2020 (https://arxiv.org/abs/2004.10934, figure 3), without making the four smaller.
    """
    count, _, height, width = pixels_BCYX.shape
    device = pixels_BCYX.device
    made_B = torch.rand(count, device=device) < share
    cut_B2 = torch.empty(count, 2, device=device).uniform_(0.25, 0.75) * torch.tensor([width, height], device=device)
    cut_B2 = torch.where(made_B[:, None], cut_B2.round(), cut_B2.new_tensor([width, height]))  # all of it is the first corner
    right_BX = torch.arange(width, device=device) >= cut_B2[:, :1]
    below_BY = torch.arange(height, device=device) >= cut_B2[:, 1:]
    zero_B, wide_B, high_B = torch.zeros_like(cut_B2[:, 0]), torch.full_like(cut_B2[:, 0], width), torch.full_like(cut_B2[:, 0], height)
    pieces, pixels = [], pixels_BCYX
    for right, below in ((False, False), (True, False), (False, True), (True, True)):
        other_B = torch.arange(count, device=device) if not (right or below) else torch.randperm(count, device=device)
        mask = (below_BY == below)[:, None, :, None] & (right_BX == right)[:, None, None]
        pixels = torch.where(mask, pixels_BCYX[other_B], pixels)
        corner_B4 = torch.stack((
            cut_B2[:, 0] if right else zero_B, cut_B2[:, 1] if below else zero_B,
            wide_B if right else cut_B2[:, 0], high_B if below else cut_B2[:, 1],
        ), -1)  # fmt: skip
        pieces.append(clipped(Objects(*(each[other_B] for each in objects)), corner_B4[:, None]))
    return pixels, Objects(*(torch.cat(each, 1) for each in zip(*pieces, strict=True)))


def clipped(objects: Objects, view: Tensor) -> Objects:
    """What is seen of the objects through a view (…, 4): one that is mostly outside is ignored, one that is outside is gone."""
    boxes = torch.cat((torch.maximum(objects.boxes[..., :2], view[..., :2]), torch.minimum(objects.boxes[..., 2:], view[..., 2:])), -1)
    seen = area(boxes)
    enough = (seen >= LEAST_SEEN * area(objects.boxes)) & ((boxes[..., 2:] - boxes[..., :2]).amin(-1) >= LEAST_SIDE)
    return Objects(boxes, objects.labels, objects.real & (seen > 0), objects.ignored | ~enough)
