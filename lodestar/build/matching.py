"""Which proposal answers for which object, and what is learnt from that.

Axes: B pictures, P proposals, M objects of a picture (padded), L labels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from .boxes import generalised_iou, iou
from .detector import Proposals

PLACE = 0.8
"""How much the box counts in a proposal's quality, beside its score (Wang et al. 2021, table 4)."""
SEVERAL = 9
"""Proposals for each object where it may have several (Wang et al. 2021, section 3.3)."""
BOX_WEIGHT = 2.0
"""Of the boxes' loss beside the labels' (as in DETR)."""


class Objects(NamedTuple):
    """What is in the pictures."""

    boxes: Tensor
    """Left, top, right, bottom in pixels (B, M, 4)."""
    labels: Tensor
    """(B, M), int64."""
    real: Tensor
    """False on padding (B, M)."""
    ignored: Tensor
    """True on those that are to be neither found nor missed (B, M)."""


class Match(NamedTuple):
    """For each proposal, the object that it answers for."""

    object: Tensor
    """(B, P), int64; -1 where there is none."""
    target: Tensor
    """The score that it is to have, 0 where there is none (B, P)."""


def qualities(found: Proposals, objects: Objects, middles_P2: Tensor, cell: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """How well each proposal would answer for each object, and their IoU, (B, P, M) each; -1 where it must not.

    score^(1 - α) · IoU^α, for proposals whose cell's middle lies in the object's box (Wang et al. 2021, equation 2), or, of an object
    smaller than a cell, within half a cell of its middle.
    """
    overlap_BPM = iou(found.boxes[:, :, None], objects.boxes[:, None])
    labels_BPM = objects.labels[:, None].expand(-1, overlap_BPM.shape[1], -1)
    score_BPM = found.logits.sigmoid().gather(2, labels_BPM)
    corners_B1M2, ends_B1M2 = objects.boxes[:, None].split(2, -1)
    reach_B1M2 = torch.maximum((ends_B1M2 - corners_B1M2) / 2, middles_P2.new_tensor(cell) / 2 + 1e-3)
    inside_BPM = ((middles_P2[:, None] - (corners_B1M2 + ends_B1M2) / 2).abs() <= reach_B1M2).all(-1)
    allowed_BPM = inside_BPM & (objects.real & ~objects.ignored)[:, None]
    quality_BPM = score_BPM ** (1 - PLACE) * overlap_BPM**PLACE
    return quality_BPM.masked_fill(~allowed_BPM, -1.0), overlap_BPM


@torch.no_grad()
def one_to_one(quality_BPM: Tensor, overlap_BPM: Tensor, objects: Objects) -> Match:
    """Each object gets one proposal, so that the sum of qualities is the largest (Kuhn 1955); its target is their IoU."""
    target_BP = quality_BPM.new_zeros(quality_BPM.shape[:2])
    match_BP = torch.full_like(target_BP, -1, dtype=torch.int64)
    wanted_BM = (objects.real & ~objects.ignored).cpu()
    for row, quality_PM in enumerate(quality_BPM.cpu()):
        which = wanted_BM[row].nonzero()[:, 0]
        if len(which):
            places, order = linear_sum_assignment(quality_PM[:, which].numpy(), maximize=True)
            proposals = torch.from_numpy(places).to(match_BP.device)
            chosen = which[torch.from_numpy(order)].to(match_BP.device)
            match_BP[row, proposals] = chosen
            target_BP[row, proposals] = overlap_BPM[row, proposals, chosen]
    return Match(match_BP, target_BP)


@torch.no_grad()
def one_to_many(quality_BPM: Tensor, overlap_BPM: Tensor, _: Objects) -> Match:
    """Each object gets its best proposals, and a proposal that several want the object that it is best for.

    The target is the quality, scaled so that an object's best proposal has its best IoU (Feng et al. 2021,
    https://arxiv.org/abs/2108.07755, section 3.2).
    """
    several = min(SEVERAL, quality_BPM.shape[1])
    least_B1M = quality_BPM.topk(several, 1).values[:, -1:]
    chosen_BPM = (quality_BPM >= least_B1M) & (quality_BPM >= 0)
    quality_BP, match_BP = quality_BPM.masked_fill(~chosen_BPM, -1.0).max(2)
    best_B1M, overlap_B1M = (each.masked_fill(~chosen_BPM, 0.0).amax(1, keepdim=True) for each in (quality_BPM, overlap_BPM))
    scaled_BPM = quality_BPM / best_B1M.clamp(min=1e-9) * overlap_B1M
    target_BP, answers_BP = scaled_BPM.gather(2, match_BP[..., None])[..., 0], quality_BP >= 0
    return Match(match_BP.masked_fill(~answers_BP, -1), target_BP.masked_fill(~answers_BP, 0.0))


def matched_loss(found: Proposals, objects: Objects, match: Match, middles_P2: Tensor, *, balanced: bool) -> Tensor:
    """The summed loss of each picture, (B,): of the labels' scores, and of the boxes of what answers for an object.

    Scores learn the target by the quality focal loss, |t - σ|² times the cross-entropy, which is 0 where they agree (Li et al. 2020,
    https://arxiv.org/abs/2006.04388); boxes by 1 - GIoU, weighted by the target's share. What lies in an ignored box is no mistake.

    Args:
        balanced: each picture counts as much as its objects, however many proposals answer for them.
    """
    answers_BP, object_BP = match.object >= 0, match.object.clamp(min=0)
    labels_BP = objects.labels.gather(1, object_BP)
    targets_BPL = F.one_hot(labels_BP, found.logits.shape[-1]) * match.target[..., None]
    missed_by_BPL = (targets_BPL - found.logits.sigmoid()).abs()
    label_BP = (missed_by_BPL**2 * F.binary_cross_entropy_with_logits(found.logits, targets_BPL, reduction="none")).sum(-1)
    corners_B1M2, ends_B1M2 = objects.boxes[:, None].split(2, -1)
    within_BPM = ((middles_P2[:, None] >= corners_B1M2) & (middles_P2[:, None] <= ends_B1M2)).all(-1)
    excused_BP = (within_BPM & (objects.real & objects.ignored)[:, None]).any(-1) & ~answers_BP
    boxes_BP4 = objects.boxes.gather(1, object_BP[..., None].expand(-1, -1, 4))
    box_BP = 1 - generalised_iou(found.boxes, boxes_BP4)
    weight_BP = match.target if balanced else answers_BP.float()
    label_B = label_BP.masked_fill(excused_BP, 0.0).sum(1)
    box_B = torch.where(answers_BP, box_BP * weight_BP, 0.0).sum(1)
    loss_B = label_B + BOX_WEIGHT * box_B
    if not balanced:
        return loss_B
    return loss_B * (objects.real & ~objects.ignored).sum(1) / weight_BP.sum(1).clamp(min=1.0)
