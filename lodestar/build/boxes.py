"""Boxes as numbers: how far two of them cover each other.

A box is its left, top, right and bottom edge, in pixels: x rightwards, y downwards, and the first pixel reaches from 0 to 1.

Axes: … any, N and M boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """(…, 4) → (…)."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """The part that both boxes cover, as a box, (…, 4); where there is none, its right edge is left of its left one, or its bottom above
    its top.
    """
    return torch.cat((torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])), -1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (…, 4) that broadcast, (…)."""
    shared = area(intersection(a, b))
    return shared / (area(a) + area(b) - shared).clamp(min=1e-9)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the share of the smallest box around both that neither covers, from -1 to 1: it has a slope where boxes do not meet.

    Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630.
    """
    shared = area(intersection(a, b))
    union = (area(a) + area(b) - shared).clamp(min=1e-9)
    around = torch.cat((torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])), -1)
    enclosing = area(around).clamp(min=1e-9)
    return shared / union - (enclosing - union) / enclosing
