"""An answer about a picture, or the label of one object in it, explained: which of the picture's patches the answer rests on, in three
ways, each beside its test.

What is taken away in the tests is made grey, pixel by pixel, before the model reads it: a front end whose patches overlap would see what is
only missing from its embeddings. (Grey, and not the picture's mean colour, which tells of what was taken away.)

Axes: C channels, Y rows and X columns of pixels, N patches in R rows and K columns, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..build.measuring import BATCH_TOKENS
from ..contracts.errors import UserError
from ..contracts.reading import Reading
from .explanation import METHODS, Method, belief_json, chosen_mean, layers_chosen, short
from .faithfulness import ORDERS, Chance, Verdict, chance, judge
from .gradients import Attribution, integrated_gradients
from .picture_subjects import GREY, PictureSubject, subject_of
from .steps import Steps

MOST_PATCHES = 1024
"""Of one explanation: maps grow with the square of it."""


@dataclass(frozen=True)
class PictureAttended:
    """How the answer looks at the patches of a picture."""

    picture: np.ndarray
    """As the model reads it, (C, Y, X) uint8."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    maps: list[Tensor]
    """Of each layer, first to last, how much the answering states look at each patch, head by head: (H, N)."""
    layer: int | None
    head: int | None
    """What was asked for, counted from 0."""
    box: tuple[float, float, float, float] | None
    """Of the object that is asked about: left, top, right, bottom in pixels; None where it is the picture."""

    @property
    def chosen(self) -> np.ndarray:
        """(N,): of the layer and head that were asked for; the mean of all, where none was."""
        return chosen_mean([heads_HN[:, None] for heads_HN in self.maps], self.layer, self.head)[0].numpy()

    def in_grid(self, values_N: np.ndarray) -> np.ndarray:
        """(N,) → (R, K)."""
        return values_N.reshape(self.grid)


@dataclass(frozen=True)
class PictureExplanation(PictureAttended):
    """What three methods say of an answer, and how far each may be believed."""

    answer: str
    probability: float
    importance: Mapping[Method, np.ndarray]
    """Of each patch, (N,); of gradients signed, and in nats."""
    attribution: Attribution
    verdicts: Mapping[Method, Verdict]
    chance: Chance


def explain_picture(
    model: nn.Module, reading: Reading, *, layer: int | None = None, head: int | None = None, orders: int = ORDERS, seed: int = 0
) -> Steps[PictureExplanation]:
    """Explain the answer that `reading` asks about, some passes of the model at a time.

    Args:
        layer, head: whose attention is taken, from 0; the mean of all where None.
        orders: random orders that each method must beat.

    Raises:
        UserError: the picture has too many patches, there is no such layer or head, or no way to explain such a model.
    """
    subject = _subject(model, reading)
    seen, flow_N = _look(subject, layer, head)
    yield
    attribution = yield from integrated_gradients(subject.score, *subject.way())
    importance: dict[Method, np.ndarray] = {
        "gradients": subject.by_patch(attribution.values).numpy(), "rollout": flow_N, "attention": seen.chosen,
    }  # fmt: skip

    def answering(left: Sequence[Sequence[int]]) -> Steps[np.ndarray]:
        found = np.empty(len(left))
        rows = max(1, BATCH_TOKENS // subject.tokens // 4)
        for start in range(0, len(left), rows):
            part = left[start : start + rows]
            found[start : start + rows] = subject.probabilities(np.stack([_with_patches(seen, kept) for kept in part]))
            yield
        return found

    beside = yield from chance(answering, len(flow_N), orders=orders, seed=seed)
    verdicts: dict[Method, Verdict] = {}
    for method in METHODS:
        verdicts[method] = yield from judge(answering, importance[method], beside)
    return PictureExplanation(
        seen.picture, seen.grid, seen.maps, layer, head, seen.box, answer=reading.answer, probability=float(beside.curves[0, 0]),
        importance=importance, attribution=attribution, verdicts=verdicts, chance=beside,
    )  # fmt: skip


def look_at(model: nn.Module, reading: Reading, *, layer: int | None = None, head: int | None = None) -> PictureAttended:
    """The attention alone, in one pass; its arguments and errors are those of `explain_picture`."""
    return _look(_subject(model, reading), layer, head)[0]


def attended_json(attended: PictureAttended) -> dict[str, Any]:
    """How much the answer looks at each patch, for machines: of the layer and head that were asked for."""
    return {"layers": len(attended.maps), "heads": len(attended.maps[0]), "attention": _grid_json(attended, attended.chosen)}


def picture_json(explanation: PictureExplanation) -> dict[str, Any]:
    """The explanation for machines: rows of patches, and numbers to six digits."""
    rows, columns = explanation.grid
    return {
        "answer": explanation.answer,
        "probability": short(explanation.probability),
        "grid": {"rows": rows, "columns": columns},
        "patches": {method: _grid_json(explanation, values) for method, values in explanation.importance.items()},
        **attended_json(explanation),
        **belief_json(explanation.attribution, explanation.chance, explanation.verdicts),
    }


def _grid_json(attended: PictureAttended, values_N: np.ndarray) -> list[list[float]]:
    return [[short(float(value)) for value in row] for row in attended.in_grid(values_N)]


def _subject(model: nn.Module, reading: Reading) -> PictureSubject:
    subject = subject_of(model, reading)
    rows, columns = subject.grid
    if rows * columns > MOST_PATCHES:
        what = f"the model reads a picture as {rows * columns} patches, and at most {MOST_PATCHES} are explained at once"
        raise UserError(what, fix="train with a larger options.patch")
    return subject


def _look(subject: PictureSubject, layer: int | None, head: int | None) -> tuple[PictureAttended, np.ndarray]:
    """The attention of one pass, and the roll-out's share of each patch in the answer, (N,)."""
    looked, flow_N = subject.look()
    layers_chosen(looked, layer, head)
    return PictureAttended(subject.picture, subject.grid, looked, layer, head, subject.box), flow_N.numpy()


def _with_patches(seen: PictureAttended, kept: Sequence[int]) -> np.ndarray:
    """The picture with these patches alone; the others are grey."""
    rows, columns = seen.grid
    height, width = seen.picture.shape[1] // rows, seen.picture.shape[2] // columns
    mask = np.zeros(rows * columns, bool)
    mask[list(kept)] = True
    mask_YX = np.ones(seen.picture.shape[1:], bool)  # what fills no patch is not read
    mask_YX[: rows * height, : columns * width] = mask.reshape(rows, columns).repeat(height, 0).repeat(width, 1)
    return np.where(mask_YX, seen.picture, GREY)
