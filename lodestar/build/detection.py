"""What a detector learns from pictures with boxes, and what it finds in pictures.

Axes: B pictures, C channels, Y rows and X columns of pixels, P proposals, M objects of a picture, N detections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.task import Batch, device_of
from .augment import scaled
from .box_augment import BoxAlterations, altered
from .detector import Detector, Proposals
from .matching import Objects, matched_loss, one_to_many, one_to_one, qualities
from .measuring import BATCH_TOKENS, evaluating

MOST_DETECTIONS = 100
"""In one picture: COCO's measure looks at no more."""
LEFT, TOP, RIGHT, BOTTOM, LABEL, IGNORED = range(6)
"""The columns of what a row says of an object."""


class Detections(NamedTuple):
    """What was found in one picture, in the order of the cells."""

    boxes: np.ndarray
    """Left, top, right, bottom in pixels of what the model reads (N, 4), float64."""
    labels: np.ndarray
    """(N,), int64."""
    scores: np.ndarray
    """From 0 to 1 (N,), float64."""
    cells: np.ndarray
    """Which cell proposed it (N,), int64."""


def objects_of(batch: Batch) -> Objects:
    """What a batch's rows say: `objects` (B, M, 6) and `objects_mask` (B, M)."""
    rows = batch["objects"].float()
    return Objects(rows[..., :LABEL], rows[..., LABEL].long(), batch["objects_mask"].bool(), rows[..., IGNORED] > 0)


def detection_loss(model: nn.Module, batch: Batch, how: BoxAlterations) -> tuple[Tensor, Tensor]:
    """The summed loss, and the number of objects (a picture without any counts as one).

    In training it is of altered pictures, and of both of the model's heads; else of the one that is asked.
    """
    assert isinstance(model, Detector)
    pixels, objects = batch["pixels"], objects_of(batch)
    if model.training:
        pixels, objects = altered(pixels, objects, how)
    cells = model.spread_out(model.hidden(scaled(pixels)))
    loss = _loss(model, model.one(cells), objects, balanced=False)
    if model.training:
        loss = loss + _loss(model, model.many(cells), objects, balanced=True)
    return loss, (objects.real & ~objects.ignored).sum(1).clamp(min=1).sum()


def _loss(model: Detector, found: Proposals, objects: Objects, *, balanced: bool) -> Tensor:
    middles_P2 = model.one.middles
    match = (one_to_many if balanced else one_to_one)(*qualities(found, objects, middles_P2, model.cell), objects)
    return matched_loss(found, objects, match, middles_P2, balanced=balanced).sum()


def detect(model: nn.Module, pictures: Iterable[np.ndarray]) -> Iterator[Detections]:
    """The likeliest detections in each picture (C, Y, X) of 0 to 255, in the order given. Pictures are taken as they are needed."""
    assert isinstance(model, Detector)
    rows = max(1, BATCH_TOKENS // model.config.context)
    device = device_of(model)
    for batch in _parts(iter(pictures), rows):
        with evaluating(model):
            found = model(scaled(torch.from_numpy(np.stack(batch)).to(device)))
        for logits_PL, boxes_P4 in zip(found.logits.cpu(), found.boxes.cpu(), strict=True):
            score_P, label_P = logits_PL.sigmoid().max(-1)
            best = score_P.topk(min(MOST_DETECTIONS, len(score_P))).indices.sort().values
            yield Detections(
                boxes_P4[best].double().numpy(), label_P[best].numpy(), score_P[best].double().numpy(), best.numpy()
            )  # fmt: skip


def _parts(pictures: Iterator[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    while part := list(islice(pictures, size)):
        yield part
