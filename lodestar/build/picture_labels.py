"""What a picture classifier says of pictures, and how it learns from altered ones.

Axes: B pictures, C channels, Y rows and X columns of pixels, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.config import Config
from ..contracts.task import device_of
from .augment import cropped, cut_and_mixed, erased, flipped, mixed_up, scaled, smoothed, soft_cross_entropy
from .measuring import BATCH_TOKENS, evaluating
from .towers import PictureClassifier


class Alterations(Config):
    """How pictures are altered in training; as it is, not at all."""

    flip: bool = False
    crop: int = 0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0


def altered(pixels_BCYX: Tensor, labels_B: Tensor, labels: int, how: Alterations) -> tuple[Tensor, Tensor]:
    """Pictures (B, C, Y, X) of 0 to 255, altered and scaled, and the shares of their labels (B, L).

    Where they are mixed in both ways, each batch is in one of them, by a coin.
    """
    if how.flip:
        pixels_BCYX = flipped(pixels_BCYX)
    if how.crop:
        pixels_BCYX = cropped(pixels_BCYX, how.crop)
    if how.erase:
        pixels_BCYX = erased(pixels_BCYX, how.erase)
    pixels, targets_BL = scaled(pixels_BCYX), F.one_hot(labels_B, labels).float()
    cuts = how.cutmix and not (how.mixup and bool(torch.rand(()) < 0.5))
    if cuts:
        pixels, targets_BL = cut_and_mixed(pixels, targets_BL, how.cutmix)
    elif how.mixup:
        pixels, targets_BL = mixed_up(pixels, targets_BL, how.mixup)
    return pixels, smoothed(targets_BL, how.label_smoothing)


def picture_loss(model: nn.Module, pixels_BCYX: Tensor, labels_B: Tensor, how: Alterations) -> Tensor:
    """The summed cross-entropy, in nats: in training of altered pictures, else of the pictures as they are."""
    assert isinstance(model, PictureClassifier)
    if not model.training:
        return F.cross_entropy(model(scaled(pixels_BCYX)).float(), labels_B, reduction="sum")
    pixels, targets_BL = altered(pixels_BCYX, labels_B, model.labels, how)
    return soft_cross_entropy(model(pixels).float(), targets_BL)


def picture_logits(model: nn.Module, pictures: Iterable[np.ndarray]) -> np.ndarray:
    """The logit of each label for each picture (C, Y, X) of 0 to 255: (pictures, L), in the order given. Pictures are taken as they are
    needed, some hundred at a time.
    """
    assert isinstance(model, PictureClassifier)
    rows = max(1, BATCH_TOKENS // model.config.context)
    device = device_of(model)
    with evaluating(model):
        parts = [
            model(scaled(torch.from_numpy(np.stack(batch)).to(device))).double().cpu().numpy() for batch in _parts(iter(pictures), rows)
        ]
    return np.concatenate(parts) if parts else np.empty((0, model.labels))


def _parts(pictures: Iterator[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    while part := list(islice(pictures, size)):
        yield part
