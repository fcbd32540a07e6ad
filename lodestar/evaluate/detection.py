"""Average precision of detections by COCO's rules, from what is kept of each picture: any set of pictures is scored from it.

Lin et al. 2014, https://arxiv.org/abs/1405.0312; the rules are those of pycocotools' COCOeval for boxes, over all areas: in each picture
the detections of a label, best first and at most 100, each take the free object of that label that they cover best, where they cover
enough; precision is read off at 101 recalls, as the best at this recall or a higher one.

The columns, a row a picture: `objects` (n, L), how many there are of each label; `score`, `label` (n, N; a label of -1 is padding); and for
the IoU thresholds 0.5, 0.55 … 0.95 `right` and `ignored` (n, N, 10), the latter of detections that count for nothing: they are of an object
that is to be neither found nor missed. `box` (n, N, 4) is for pictures of it.

Axes: n pictures, L labels, N detections of a picture, M objects of a picture, T thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST_DETECTIONS = 100
"""Of each label in a picture."""


class Boxed(NamedTuple):
    """Boxes with labels: what is in a picture, or what was found in it."""

    boxes: np.ndarray
    """Left, top, right, bottom (N, 4)."""
    labels: np.ndarray
    """(N,)."""
    scores: np.ndarray
    """Of detections (N,); of objects, 1 where they are ignored, else 0."""


def box_iou(found: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """How far boxes (N, 4) cover objects (M, 4), (N, M): intersection over union; of a crowd (M,), the share of the found box within it."""
    corner = np.maximum(found[:, None, :2], objects[None, :, :2])
    shared = np.clip(np.minimum(found[:, None, 2:], objects[None, :, 2:]) - corner, 0, None).prod(-1)
    area, other = ((each[:, 2:] - each[:, :2]).prod(-1) for each in (found, objects))
    union = np.where(crowd, area[:, None], area[:, None] + other - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def detection_columns(found: Sequence[Boxed], truth: Sequence[Boxed], labels: int, most: int) -> dict[str, np.ndarray]:
    """What the metrics compute from.

    Args:
        labels: L.
        most: N; no picture has more detections.
    """
    count = len(found)
    columns: dict[str, np.ndarray] = {
        "objects": np.zeros((count, labels), np.int32), "label": np.full((count, most), -1, np.int32),
        "score": np.zeros((count, most)), "box": np.zeros((count, most, 4), np.float32),
        "right": np.zeros((count, most, len(THRESHOLDS)), bool), "ignored": np.zeros((count, most, len(THRESHOLDS)), bool),
    }  # fmt: skip
    for row, (detections, objects) in enumerate(zip(found, truth, strict=True)):
        size = len(detections.scores)
        columns["objects"][row] = np.bincount(objects.labels[objects.scores == 0], minlength=labels)
        columns["score"][row, :size], columns["label"][row, :size] = detections.scores, detections.labels
        columns["box"][row, :size] = detections.boxes
        for label in np.unique(detections.labels):
            of_label = np.flatnonzero(detections.labels == label)
            best = of_label[np.argsort(-detections.scores[of_label], kind="stable")]
            columns["label"][row, best[MOST_DETECTIONS:]] = -1
            best, there = best[:MOST_DETECTIONS], objects.labels == label
            right, ignored = match(detections.boxes[best], objects.boxes[there], objects.scores[there] > 0)
            columns["right"][row, best], columns["ignored"][row, best] = right, ignored
    return columns


def match(found: np.ndarray, objects: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which detections (N, 4), best first, are of an object (M, 4), and which of an ignored one, at each threshold, (N, T) each.

    A detection takes the free object that it covers best, an ignored one only where it covers no other enough; an ignored one may be taken
    any number of times.
    """
    # As COCOeval, which takes the last of those that are covered equally well.
    order = np.argsort(ignored, kind="stable")
    overlap, ignored = box_iou(found, objects[order], ignored[order]), ignored[order]
    right, excused = (np.zeros((len(found), len(THRESHOLDS)), bool) for _ in range(2))
    free = np.ones((len(objects), len(THRESHOLDS)), bool)
    rows = np.arange(len(THRESHOLDS))
    if not len(objects):
        return right, excused
    for place, covered in enumerate(overlap):
        enough = covered[:, None] >= np.minimum(THRESHOLDS, 1 - 1e-10)
        for kind, marks in ((~ignored, right), (ignored, excused)):
            offered = np.where(enough & free & kind[:, None], covered[:, None], -1.0)
            # Backwards, for the last of equals.
            best = len(objects) - 1 - offered[::-1].argmax(0)
            taken = (offered[best, rows] >= 0) & ~right[place]
            marks[place] |= taken
            if marks is right:
                free[best[taken], rows[taken]] = False
    return right, excused


def average_precisions(columns: Columns, thresholds: slice = slice(None)) -> np.ndarray:
    """The average precision of each label at each threshold, (L, T); NaN for labels that no object has."""
    totals = columns["objects"].sum(0)
    label = columns["label"].ravel()
    kept = np.flatnonzero(label >= 0)
    # By label, and within one the best score first; of equals the first, as COCOeval sorts.
    order = kept[np.lexsort((-columns["score"].ravel()[kept], label[kept]))]
    right, ignored = (columns[name].reshape(len(label), -1)[order][:, thresholds] for name in ("right", "ignored"))
    ends = np.searchsorted(label[order], np.arange(len(totals) + 1))
    found = np.full((len(totals), right.shape[1]), math.nan)
    for one in np.flatnonzero(totals):
        part = slice(ends[one], ends[one + 1])
        found[one] = _area(right[part], ~right[part] & ~ignored[part], int(totals[one]))
    return found


def _area(right: np.ndarray, wrong: np.ndarray, total: int) -> np.ndarray:
    """The mean precision at the recalls, of detections (N, T), best first; (T,)."""
    if not len(right):
        return np.zeros(right.shape[1])
    hits, slips = right.cumsum(0), wrong.cumsum(0)
    precision = hits / np.maximum(hits + slips, 1)
    precision = np.maximum.accumulate(precision[::-1], 0)[::-1]
    recall = hits / total
    areas = np.empty(right.shape[1])
    for column in range(right.shape[1]):
        places = np.searchsorted(recall[:, column], RECALLS, side="left")
        areas[column] = precision[places[places < len(right)], column].sum() / len(RECALLS)
    return areas


def mean_average_precision(columns: Columns, thresholds: slice = slice(None)) -> float:
    """The mean over labels and thresholds; NaN where there is no object."""
    found = average_precisions(columns, thresholds)
    return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan


MAP_50 = Metric(
    "map_50",
    Words(
        "How well objects are found, from 0 to 1: average precision where a box covers its object by half (IoU 0.5), mean over labels.",
        "物体找得有多准，0 到 1：框与物体交并比不低于 0.5 时的平均精度，各标签取平均。",
    ),
    "",
    "higher",
    lambda columns: mean_average_precision(columns, slice(0, 1)),
)
MAP_50_95 = Metric(
    "map_50_95",
    Words(
        "The same, where boxes must cover their objects by 0.5, 0.55 … 0.95, mean over all of these: rewards exact edges.",
        "同上，但交并比依次取 0.5、0.55 … 0.95 再取平均：边框越贴合，分数越高。",
    ),
    "",
    "higher",
    mean_average_precision,
)


def best_threshold(columns: Columns) -> tuple[float, Words]:
    """The score from which on detections are worth showing: where their F1 is best, over all labels at an IoU of 0.5; and what it comes to.

    One half, where nothing is found or there is nothing to find.
    """
    kept = (columns["label"] >= 0) & ~columns["ignored"][..., 0]
    order = np.argsort(-columns["score"][kept], kind="stable")
    score, right = columns["score"][kept][order], columns["right"][..., 0][kept][order]
    total = int(columns["objects"].sum())
    if not right.any():
        return 0.5, Words("No object of validation is found.", "验证集中一个物体也没有找到。")
    hits = right.cumsum()
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + total)
    best = int(f1.argmax())
    # Between it and the next one, where there is one: what comes as near as rounding is meant, too.
    threshold = float(score[best : best + 2].mean())
    found, shown, reached = int(hits[best]), best + 1, float(f1[best])
    return threshold, Words(
        f"From a score of {threshold:.2f} on, {shown:,} boxes show {found:,} of the {total:,} objects of validation: F1 {reached:.3f}.",
        f"分数不低于 {threshold:.2f} 时，验证集上显示 {shown:,} 个框，找到 {total:,} 个物体中的 {found:,} 个，F1 为 {reached:.3f}。",
    )
