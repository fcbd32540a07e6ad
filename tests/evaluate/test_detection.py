"""Average precision beside pycocotools on random cases, and what is found beyond the figures."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest

from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.detection import (
    MAP_50,
    MAP_50_95,
    Boxed,
    average_precisions,
    best_threshold,
    box_iou,
    detection_columns,
)
from lodestar.evaluate.detection_findings import counts_by_label, detection_findings

LABELS, MOST = 4, 130
NOWHERE = Boxed(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0))


def boxed(*rows: tuple[float, float, float, float, int, float]) -> Boxed:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Boxed(table[:, :4], table[:, 4].astype(np.int64), table[:, 5])


def random_case(seed: int) -> tuple[list[Boxed], list[Boxed]]:
    """Detections near and far from objects, some of the wrong label, some twice; crowds; pictures without the one or the other."""
    random = np.random.default_rng(seed)
    found, truth = [], []
    for picture in range(12):
        count = 0 if picture == 0 else int(random.integers(0, 9))
        corner, size = random.uniform(0, 80, (count, 2)), random.uniform(4, 50, (count, 2))
        labels = random.integers(0, LABELS - 1, count)  # the last one has no object
        truth.append(Boxed(np.concatenate([corner, corner + size], 1), labels, (random.random(count) < 0.15).astype(float)))
        more = 0 if picture == 1 else int(random.integers(0, 12))
        near = truth[-1].boxes[random.integers(0, count, 3 * count)] if count else np.empty((0, 4))
        edges = np.concatenate([near + random.normal(0, 3, near.shape), random.uniform(0, 60, (more, 4))])
        edges[:, 2:] = np.maximum(edges[:, 2:], edges[:, :2] + 1)
        names = random.integers(0, LABELS, len(edges))
        names[: len(near)] = np.where(
            random.random(len(near)) < 0.8, labels[random.integers(0, max(count, 1), len(near))] if count else 0, 0
        )
        found.append(Boxed(edges, names, random.random(len(edges))))
    crowded = Boxed(np.tile([0.0, 0, 9, 9], (MOST, 1)) + random.uniform(0, 3, (MOST, 4)), np.zeros(MOST, np.int64), random.random(MOST))
    return [*found, crowded], [*truth, boxed((1, 1, 10, 10, 0, 0))]


def pycocotools_figures(found: list[Boxed], truth: list[Boxed]) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(pictures: list[Boxed]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for picture, (boxes, labels, _) in enumerate(pictures, 1):
            for (left, top, right, bottom), label in zip(boxes.tolist(), labels.tolist(), strict=True):
                width, height = right - left, bottom - top
                made.append({
                    "id": len(made) + 1, "image_id": picture, "category_id": label + 1, "bbox": [left, top, width, height],
                    "area": width * height,
                })  # fmt: skip
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        coco, detections = COCO(), COCO()
        pictures = [{"id": number} for number in range(1, len(found) + 1)]
        categories = [{"id": number} for number in range(1, LABELS + 1)]
        crowd = np.concatenate([each.scores for each in truth]).astype(int).tolist()
        annotations = [{**row, "iscrowd": one} for row, one in zip(rows(truth), crowd, strict=True)]
        score = np.concatenate([each.scores for each in found]).tolist()
        results = [{**row, "score": one, "iscrowd": 0} for row, one in zip(rows(found), score, strict=True)]
        coco.dataset = {"images": pictures, "categories": categories, "annotations": annotations}
        detections.dataset = {"images": pictures, "categories": categories, "annotations": results}
        coco.createIndex()
        detections.createIndex()
        judged = COCOeval(coco, detections, "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return float(judged.stats[1]), float(judged.stats[0])


@pytest.mark.parametrize("seed", range(8))
def test_the_figures_are_those_of_pycocotools(seed: int) -> None:
    found, truth = random_case(seed)
    columns = detection_columns(found, truth, LABELS, MOST)
    half, all_of_them = pycocotools_figures(found, truth)
    assert MAP_50.compute(columns) == pytest.approx(half, abs=1e-6)
    assert MAP_50_95.compute(columns) == pytest.approx(all_of_them, abs=1e-6)
    assert 0 < all_of_them < half < 1


def test_a_resampled_picture_counts_as_often_as_it_is_drawn() -> None:
    """What the bootstrap computes from repeated rows is what pycocotools computes from a data set that repeats the pictures."""
    found, truth = random_case(3)
    drawn = np.random.default_rng(0).integers(0, len(found), len(found))
    columns = {name: column[drawn] for name, column in detection_columns(found, truth, LABELS, MOST).items()}
    expected = pycocotools_figures([found[one] for one in drawn], [truth[one] for one in drawn])
    assert (MAP_50.compute(columns), MAP_50_95.compute(columns)) == pytest.approx(expected, abs=1e-6)


def test_average_precision_by_hand() -> None:
    """Two objects; the best detection is right, the second false, the third right: precision 1 to a recall of a half, then 2/3."""
    truth = [boxed((0, 0, 10, 10, 0, 0), (20, 0, 30, 10, 0, 0))]
    found = [boxed((0, 0, 10, 10, 0, 0.9), (50, 50, 60, 60, 0, 0.8), (20, 0, 30, 10, 0, 0.7))]
    expected = (51 * 1 + 50 * 2 / 3) / 101
    assert MAP_50.compute(detection_columns(found, truth, 1, 10)) == pytest.approx(expected)


def test_ignored_objects_are_neither_found_nor_missed() -> None:
    truth = [boxed((0, 0, 10, 10, 0, 0), (20, 0, 40, 40, 0, 1))]
    hit = (0, 0, 10, 10, 0, 0.5)
    columns = detection_columns([boxed(hit, (22, 2, 30, 10, 0, 0.9), (24, 20, 39, 39, 0, 0.8))], truth, 1, 10)
    assert MAP_50_95.compute(columns) == 1
    assert MAP_50.compute(detection_columns([boxed(hit, (22, 2, 30, 10, 0, 0.9))], [boxed((0, 0, 10, 10, 0, 0))], 1, 10)) == 0.5
    assert counts_by_label(columns, 0.3).tolist() == [[1, 0, 0]]


def test_without_objects_there_is_no_figure() -> None:
    assert math.isnan(MAP_50.compute(detection_columns([boxed((0, 0, 1, 1, 0, 0.5))], [NOWHERE], 2, 10)))
    assert MAP_50.compute(detection_columns([NOWHERE], [boxed((0, 0, 1, 1, 0, 0))], 2, 10)) == 0


def test_covering_of_empty_and_equal_boxes() -> None:
    boxes = np.array([[0.0, 0, 4, 4], [2, 0, 6, 4], [9, 9, 9, 9]])
    np.testing.assert_allclose(box_iou(boxes, boxes, np.zeros(3, bool)), np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]))
    np.testing.assert_allclose(box_iou(boxes[:2], boxes[:1], np.ones(1, bool)), np.array([[1], [0.5]]))


def test_scores_have_intervals_over_pictures() -> None:
    found, truth = random_case(1)
    columns = detection_columns(found, truth, LABELS, MOST)
    half, _ = scores([MAP_50, MAP_50_95], columns, resamples=200, confidence=0.95, seed=0)
    assert half.low < half.value < half.high
    assert half.count == len(found)


def test_the_threshold_is_where_f1_is_best() -> None:
    found, truth = random_case(2)
    columns = detection_columns(found, truth, LABELS, MOST)
    threshold, words = best_threshold(columns)

    def f1(least: float) -> float:
        hits, missed, false = counts_by_label(columns, least).sum(0)
        return float(2 * hits / (2 * hits + missed + false))

    assert f1(threshold) == pytest.approx(max(f1(score) for score in columns["score"][columns["label"] >= 0]))
    assert f"F1 {f1(threshold):.3f}" in words.en
    assert best_threshold(detection_columns([NOWHERE], truth[3:4], LABELS, MOST))[0] == 0.5


def test_findings_tell_and_draw_what_went_wrong() -> None:
    """One cat found, one missed, one invented; a dog found."""
    import base64

    truth = [boxed((0, 0, 10, 10, 0, 0), (20, 0, 30, 10, 0, 0), (0, 20, 9, 29, 1, 0)), boxed((0, 0, 5, 5, 1, 0))]
    found = [
        boxed((0, 0, 10, 10, 0, 0.9), (40, 40, 50, 50, 0, 0.8), (0, 20, 9, 29, 1, 0.7), (1, 1, 9, 9, 0, 0.1)),
        boxed((0, 0, 5, 5, 1, 0.9)),
    ]
    columns = detection_columns(found, truth, 2, 10)
    shown = detection_findings(columns, ["a.png", "b.png"], ["猫", "dog"], 0.5, truth, lambda _: ("data:image/png;base64,", 60, 60))
    assert "1 of 2 found, 1 false" in shown.sentences[0].en
    assert "2 个中找到 1 个，误报 1 个" in shown.sentences[0].zh
    (mistake,) = shown.mistakes
    assert (mistake.text, mistake.expected, mistake.answered) == ("a.png", "猫 2 · dog 1", "猫 −1 +1")
    drawn = base64.b64decode(mistake.picture.split(",")[1]).decode()
    assert drawn.count("<rect") == 1 + 4  # the ground and the boxes; what scores 0.1 is not shown
    assert drawn.count("stroke-dasharray") == 1
    assert set(shown.pictures) == {"labels"}
    np.testing.assert_allclose(average_precisions(columns, slice(0, 1))[1], 1)
