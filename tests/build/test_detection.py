"""The parts of a detector against their definitions: boxes, matching, losses, altered pictures."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lodestar.build.box_augment import BoxAlterations, altered, clipped, flipped, pieced_together, zoomed
from lodestar.build.boxes import generalised_iou, iou
from lodestar.build.detection import detect, detection_loss
from lodestar.build.detector import Detector, Proposals
from lodestar.build.matching import PLACE, SEVERAL, Match, Objects, matched_loss, one_to_many, one_to_one, qualities
from lodestar.build.stems import PatchShape
from lodestar.model.config import ModelConfig

SIZE, PATCH, CELLS, LABELS = 32, 8, 2, 3
CELL = PATCH / CELLS


def detector(cells: int = CELLS, height: int = SIZE) -> Detector:
    shape = PatchShape(height, SIZE, PATCH, PATCH, prefix=0)
    config = ModelConfig.from_dict({
        "vocabulary_size": 0, "width": 32, "depth": 1, "heads": 2, "context": shape.tokens, "architecture": "encoder", "position": "none",
    })  # fmt: skip
    torch.manual_seed(0)
    return Detector(config, shape, LABELS, cells=cells, usual=(10.0, 6.0)).eval()


def objects_of(*rows: tuple[float, float, float, float, int], ignored: tuple[int, ...] = (), padded: int = 0) -> Objects:
    """One picture with these boxes, and some padding behind them."""
    table = torch.tensor([*rows, *[(0.0, 0, 0, 0, 0)] * padded]).reshape(1, -1, 5)
    real, excused = torch.arange(table.shape[1]) < len(rows), torch.zeros(table.shape[1], dtype=torch.bool)
    excused[list(ignored)] = True
    return Objects(table[..., :4], table[..., 4].long(), real[None], excused[None])


def random_boxes(count: int, seed: int) -> Tensor:
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)).unbind(0)
    return torch.cat((20 * corner, 20 * corner + 1 + 12 * size), 1)


def test_overlap_is_torchvisions_definition_worked_by_hand() -> None:
    a, b, far = torch.tensor([0.0, 0, 4, 4]), torch.tensor([2.0, 0, 6, 4]), torch.tensor([8.0, 0, 12, 4])
    assert float(iou(a, b)) == pytest.approx(8 / 24)
    assert float(generalised_iou(a, b)) == pytest.approx(8 / 24)  # the box around both is their union
    assert float(generalised_iou(a, far)) == pytest.approx(0 - (48 - 32) / 48)
    assert float(generalised_iou(a, a)) == pytest.approx(1)


def test_a_new_model_proposes_the_usual_object_in_every_cell() -> None:
    model = detector(height=SIZE // 2)
    with torch.inference_mode():
        found = model(torch.zeros(1, 3, SIZE // 2, SIZE))
    assert found.boxes.shape == (1, 4 * 8, 4)
    size = found.boxes[..., 2:] - found.boxes[..., :2]
    torch.testing.assert_close(size.mean((0, 1)), torch.tensor([10.0, 6.0]), rtol=0.15, atol=0.0)
    middles = (found.boxes[..., 2:] + found.boxes[..., :2]) / 2
    torch.testing.assert_close(model.one.middles[9], torch.tensor([1.5 * CELL, 1.5 * CELL]))  # row 1 of 8 columns
    torch.testing.assert_close(middles[0], model.one.middles, rtol=0.0, atol=2.0)
    assert float(found.logits.sigmoid().mean()) == pytest.approx(0.01, abs=0.005)


def test_each_cell_is_of_the_patch_that_it_lies_in() -> None:
    """A patch whose state changes changes its own cells alone."""
    model = detector()
    hidden = torch.randn(1, 16, 32)
    before = model.spread_out(hidden).flatten(2)
    for cell in (0, 7, 35, 63):
        other = hidden.clone()
        other[:, model.patch_of(cell)] += 3
        changed = (model.spread_out(other).flatten(2) != before).any(1)[0].nonzero()[:, 0]
        x, y = model.one.middles[cell].tolist()
        assert model.patch_of(cell) == int(y // PATCH) * (SIZE // PATCH) + int(x // PATCH)
        assert [one for one in range(64) if model.patch_of(one) == model.patch_of(cell)] == changed.tolist()


def test_quality_is_score_and_overlap_of_proposals_within() -> None:
    model = detector()
    objects = objects_of((4, 4, 20, 12, 1), (25, 25, 26, 26, 2), padded=1)
    found = Proposals(torch.randn(1, 64, LABELS), random_boxes(64, 1)[None])
    quality, overlap = qualities(found, objects, model.one.middles, model.cell)
    for proposal, (x, y) in enumerate(model.one.middles.tolist()):
        score = float(found.logits[0, proposal, 1].sigmoid())
        expected = score ** (1 - PLACE) * float(overlap[0, proposal, 0]) ** PLACE if 4 <= x <= 20 and 4 <= y <= 12 else -1.0
        assert float(quality[0, proposal, 0]) == pytest.approx(expected, abs=1e-5)
        # Of an object smaller than a cell, the cell that its middle lies in.
        assert (float(quality[0, proposal, 1]) >= 0) == (24 <= x <= 28 and 24 <= y <= 28)
        assert float(quality[0, proposal, 2]) == -1


@pytest.mark.parametrize("seed", range(4))
def test_each_object_gets_one_proposal_of_the_best_sum(seed: int) -> None:
    """Beside all ways to give 3 objects one of 6 proposals each."""
    random = np.random.default_rng(seed)
    quality = torch.tensor(random.random((1, 6, 3)))
    objects = objects_of(*[(0, 0, 5, 5, 0)] * 3, padded=0)
    match = one_to_one(quality, quality, objects)
    best = max(sum(float(quality[0, way[one], one]) for one in range(3)) for way in permutations(range(6), 3))
    chosen = [(one, int(match.object[0, one])) for one in range(6) if match.object[0, one] >= 0]
    assert sorted(thing for _, thing in chosen) == [0, 1, 2]
    assert sum(float(quality[0, one, thing]) for one, thing in chosen) == pytest.approx(best)
    assert all(float(match.target[0, one]) == pytest.approx(float(quality[0, one, thing])) for one, thing in chosen)


def test_ignored_objects_and_padding_get_no_proposal() -> None:
    quality = torch.rand(1, 6, 3)
    objects = objects_of((0, 0, 5, 5, 0), (0, 0, 5, 5, 0), ignored=(1,), padded=1)
    match = one_to_one(quality, quality, objects)
    assert sorted(match.object[0].tolist()) == [-1] * 5 + [0]
    assert (one_to_one(quality, quality, objects_of(padded=3)).object == -1).all()


def test_several_proposals_answer_for_an_object_and_the_best_aims_at_its_overlap() -> None:
    quality, overlap = torch.rand(1, 40, 2), torch.rand(1, 40, 2)
    quality[:, 20:, 0] = -1
    match = one_to_many(quality, overlap, objects_of((0, 0, 9, 9, 0), (0, 0, 9, 9, 1)))
    for thing in range(2):
        own = (match.object[0] == thing).nonzero()[:, 0]
        best = set(quality[0, :, thing].topk(SEVERAL).indices.tolist())
        assert set(own.tolist()) <= best
        assert float(match.target[0, own].max()) <= float(overlap[0, list(best), thing].max()) + 1e-6
        lost = best - set(own.tolist())  # to the other object, which they are better for
        assert all(float(quality[0, one, 1 - thing]) >= float(quality[0, one, thing]) for one in lost)


def test_the_loss_is_nothing_where_all_is_right_and_counts_each_mistake() -> None:
    model = detector()
    objects = objects_of((4, 4, 12, 12, 1), (0, 16, 30, 31, 2), ignored=(1,), padded=1)
    boxes = random_boxes(64, 2)[None]
    boxes[0, 10] = objects.boxes[0, 0]
    logits = torch.full((1, 64, LABELS), -20.0)
    logits[0, 10, 1] = 20.0
    match = Match(torch.full((1, 64), -1), torch.zeros(1, 64))
    match.object[0, 10], match.target[0, 10] = 0, 1.0

    def loss(changed: Tensor) -> float:
        return float(matched_loss(Proposals(changed, boxes), objects, match, model.one.middles, balanced=False)[0])

    assert loss(logits) == pytest.approx(0, abs=1e-6)
    false = logits.clone()
    false[0, 3, 0] = 0.7
    score = 1 / (1 + np.exp(-0.7))
    assert loss(false) == pytest.approx(score**2 * -np.log(1 - score), rel=1e-5)
    excused = logits.clone()
    excused[0, 60, 0] = 5.0  # its cell lies in what is ignored
    assert loss(excused) == pytest.approx(0, abs=1e-6)


def test_the_loss_of_a_batch_is_the_sum_of_its_pictures_and_its_terms_their_objects() -> None:
    model = detector()
    rows = [[(4, 4, 12, 12, 1, 0), (8, 8, 30, 20, 0, 0)], [], [(1, 1, 5, 5, 2, 0), (20, 20, 30, 30, 1, 1)]]
    pixels = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)

    def batch(which: list[int]) -> dict[str, Tensor]:
        objects = torch.zeros(len(which), 2, 6)
        mask = torch.zeros(len(which), 2, dtype=torch.bool)
        for place, row in enumerate(which):
            for number, each in enumerate(rows[row]):
                objects[place, number], mask[place, number] = torch.tensor(each, dtype=torch.float32), True
        return {"pixels": pixels[which], "objects": objects, "objects_mask": mask}

    how = BoxAlterations()
    together, terms = detection_loss(model, batch([0, 1, 2]), how)
    alone = [detection_loss(model, batch([row]), how) for row in range(3)]
    assert float(together.detach()) == pytest.approx(sum(float(loss.detach()) for loss, _ in alone), rel=1e-4)
    assert int(terms) == sum(int(count) for _, count in alone) == 2 + 1 + 1
    model.train()
    loss, _ = detection_loss(model, batch([0, 1, 2]), BoxAlterations(flip="both", zoom=1.5, colour=0.2, mosaic=1.0))
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_detections_are_the_likeliest_proposals_alone_and_in_company() -> None:
    model = detector(cells=4)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, SIZE, SIZE), dtype=np.uint8)
    together = list(detect(model, iter(pictures)))
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = detect(model, [picture])
        assert len(found.scores) == 100
        np.testing.assert_allclose(alone.scores.sum(), found.scores.sum(), rtol=1e-4)
        assert (np.diff(found.cells) > 0).all()
    assert list(detect(model, [])) == []


# Altered pictures: a bright rectangle is drawn where each box is, and must be where the box is afterwards.


def drawn(count: int = 16) -> tuple[Tensor, Objects]:
    random = np.random.default_rng(0)
    left, top = random.integers(2, 12, (2, count))
    wide, high = random.integers(8, 16, (2, count))
    pixels = torch.full((count, 3, 32, 40), 20.0)
    for row in range(count):
        pixels[row, :, top[row] : top[row] + high[row], left[row] : left[row] + wide[row]] = 220
    boxes = torch.tensor(np.stack([left, top, left + wide, top + high], 1), dtype=torch.float32)[:, None]
    flags = torch.ones(count, 1, dtype=torch.bool)
    return pixels, Objects(boxes, torch.zeros(count, 1, dtype=torch.int64), flags, ~flags)


def check(pixels: Tensor, objects: Objects, slack: float = 0.6) -> None:
    """Every object that is to be found is where it is bright, to a part of a pixel."""
    for picture, boxes, real, ignored in zip(pixels, objects.boxes, objects.real, objects.ignored, strict=True):
        for box in boxes[real & ~ignored]:
            left, top, right, bottom = box.tolist()
            bright = picture[0] > 170
            inner = bright[round(top + slack) : round(bottom - slack), round(left + slack) : round(right - slack)]
            assert inner.float().mean() > 0.95
        if (real & ~ignored).any() and not (real & ignored).any():
            covered = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in boxes[real])
            assert float((picture[0] > 170).sum()) == pytest.approx(covered, rel=0.2, abs=12)


@pytest.mark.parametrize("vertically", [False, True])
def test_boxes_are_mirrored_with_their_pictures(vertically: bool) -> None:
    torch.manual_seed(0)
    pixels, objects = drawn()
    made, moved = flipped(pixels, objects, vertically=vertically)
    assert 3 < (moved.boxes != objects.boxes).any(-1).sum() < 16
    check(made, moved)


def test_boxes_are_zoomed_with_their_pictures() -> None:
    torch.manual_seed(0)
    pixels, objects = drawn()
    made, moved = zoomed(pixels, objects, 1.8)
    check(made, moved, slack=1.1)
    size = (moved.boxes - objects.boxes)[..., 2:] - (moved.boxes - objects.boxes)[..., :2]
    assert (size > 1).any()
    assert (size < -1).any()


def test_pictures_are_pieced_together_of_four_with_what_is_seen_of_their_objects() -> None:
    torch.manual_seed(0)
    pixels, objects = drawn()
    made, moved = pieced_together(pixels, objects, 1.0)
    check(made, moved, slack=0.1)
    assert moved.boxes.shape == (16, 4, 4)
    assert (moved.real.sum(1) > 1).any()
    same, kept = pieced_together(pixels, objects, 0.0)
    assert same.equal(pixels)
    assert kept.boxes[:, :1].equal(objects.boxes)
    assert not kept.real[:, 1:].any()


def test_an_object_mostly_out_of_view_is_ignored_and_one_out_of_view_is_gone() -> None:
    objects = objects_of((0, 0, 10, 10, 0), (8, 0, 18, 10, 0), (14, 0, 20, 10, 0), (9, 0, 10, 10, 0))
    seen = clipped(objects, torch.tensor([0.0, 0, 10, 10]))
    assert seen.real[0].tolist() == [True, True, False, True]
    assert seen.ignored[0].tolist()[:2] == [False, True]
    assert seen.ignored[0, 3]  # a sliver of one pixel
    torch.testing.assert_close(seen.boxes[0, 1], torch.tensor([8.0, 0, 10, 10]))


def test_nothing_is_altered_where_nothing_is_asked_for() -> None:
    pixels, objects = drawn()
    made, kept = altered(pixels.to(torch.uint8), objects, BoxAlterations())
    assert made.equal(pixels)
    assert kept.boxes.equal(objects.boxes)
    again, _ = altered(pixels.to(torch.uint8), objects, BoxAlterations(colour=0.3))
    assert not F.mse_loss(again, pixels).isclose(torch.tensor(0.0))


@pytest.mark.parametrize("how", [{"flip": "both"}, {"zoom": 2.0}, {"mosaic": 1.0}, {"flip": "horizontal", "zoom": 1.5, "mosaic": 0.5}])
def test_alterations_come_from_torchs_generator(how: dict[str, Any]) -> None:
    pixels, objects = drawn()
    torch.manual_seed(5)
    first = altered(pixels, objects, BoxAlterations(**how))
    torch.manual_seed(5)
    again = altered(pixels, objects, BoxAlterations(**how))
    assert first[0].equal(again[0])
    assert all(a.equal(b) for a, b in zip(first[1], again[1], strict=True))
