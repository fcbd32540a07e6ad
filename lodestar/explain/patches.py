"""A label that was given to a picture, or to one object in it, explained: which of the picture's patches the answer rests on, in three
ways, each beside its test.

What is taken away in the tests is made grey, pixel by pixel, before the model reads it: a front end whose patches overlap would see what is
only missing from its embeddings. (Grey, and not the picture's mean colour, which tells of what was taken away.)

Axes: A points on the way, B pictures, C channels, Y rows and X columns of pixels, P tokens before the patches, T embeddings, N patches in R
rows and K columns, H heads, W model width, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..build.augment import scaled
from ..build.detector import Detector
from ..build.measuring import BATCH_TOKENS, evaluating
from ..build.towers import PictureClassifier, PictureEncoder
from ..contracts.errors import UserError
from ..contracts.reading import Detected, Label, Reading
from ..contracts.task import device_of
from .attention import attention_maps
from .explanation import METHODS, Method, belief_json, chosen_mean, layers_of, short
from .faithfulness import ORDERS, Chance, Verdict, chance, judge
from .gradients import Attribution, integrated_gradients
from .rollout import rollout
from .steps import Steps

GREY = np.uint8(128)
"""Of 255: what models read as nothing, in the middle of their scale."""
MOST_PATCHES = 1024
"""Of one explanation: maps grow with the square of it."""


@dataclass(frozen=True)
class PictureAttended:
    """How the patches of a picture attend to each other."""

    picture: np.ndarray
    """As the model reads it, (C, Y, X) uint8."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    maps: list[Tensor]
    """Of each layer, first to last, how much the answering state looks at each patch, head by head: (H, N)."""
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
    """What three methods say of a label, and how far each may be believed."""

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
    """Explain the label that `reading` asks about, some passes of the model at a time.

    Args:
        layer, head: whose attention is taken, from 0; the mean of all where None.
        orders: random orders that each method must beat.

    Raises:
        UserError: the picture has too many patches, there is no such layer or head, or no way to explain such a model.
    """
    seen, flow_N = _look(model, reading, layer, head)
    assert isinstance(model, PictureEncoder)
    yield
    attribution = yield from _gradients(model, seen.picture, reading)
    importance: dict[Method, np.ndarray] = {
        "gradients": attribution.values[model.stem.shape.prefix :].numpy(), "rollout": flow_N, "attention": seen.chosen,
    }  # fmt: skip

    def answering(left: Sequence[Sequence[int]]) -> Steps[np.ndarray]:
        found = np.empty(len(left))
        rows = max(1, BATCH_TOKENS // model.config.context // 4)
        for start in range(0, len(left), rows):
            part = left[start : start + rows]
            with evaluating(model):
                pixels = torch.from_numpy(np.stack([_with_patches(seen, kept) for kept in part])).to(device_of(model))
                found[start : start + rows] = _log_probability(model, model.hidden(scaled(pixels)), reading).double().exp().cpu().numpy()
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
    return _look(model, reading, layer, head)[0]


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


def _look(model: nn.Module, reading: Reading, layer: int | None, head: int | None) -> tuple[PictureAttended, np.ndarray]:
    """The attention of one pass, and the roll-out's share of each patch in the answer, (N,)."""
    if not isinstance(model, PictureClassifier | Detector):
        fix = "explain a picture classifier or a detector"
        raise UserError(f"the answers of a {type(model).__name__} to pictures cannot be explained", fix=fix)
    shape = model.stem.shape
    if shape.tokens > MOST_PATCHES:
        what = f"the model reads a picture as {shape.tokens} patches, and at most {MOST_PATCHES} are explained at once"
        raise UserError(what, fix="train with a larger options.patch")
    picture = reading.picture
    assert picture is not None, "the reading is of a picture"
    with evaluating(model), attention_maps(model) as maps:
        model.hidden(scaled(torch.from_numpy(picture[None]).to(device_of(model))))
    layers = layers_of(maps, layer, head)
    readers_T, box = torch.zeros(shape.tokens, dtype=torch.float64), None
    if isinstance(model, Detector):
        assert isinstance(reading.asked, Detected)
        readers_T[model.patch_of(reading.asked.cell)], box = 1.0, reading.asked.box
    else:
        # The state of the token before the patches answers; or the states of all patches do, alike.
        readers_T[: shape.prefix or None] = 1 / (shape.prefix or shape.tokens)
    looked = [torch.einsum("t,hts->hs", readers_T, one)[:, shape.prefix :] for one in layers]
    flow_N = (readers_T @ rollout([one[0].cpu() for one in maps.encoder]))[shape.prefix :].numpy()
    return PictureAttended(picture, shape.grid, looked, layer, head, box), flow_N


def _with_patches(seen: PictureAttended, kept: Sequence[int]) -> np.ndarray:
    """The picture with these patches alone; the others are grey."""
    rows, columns = seen.grid
    height, width = seen.picture.shape[1] // rows, seen.picture.shape[2] // columns
    mask = np.zeros(rows * columns, bool)
    mask[list(kept)] = True
    mask_YX = np.ones(seen.picture.shape[1:], bool)  # what fills no patch is not read
    mask_YX[: rows * height, : columns * width] = mask.reshape(rows, columns).repeat(height, 0).repeat(width, 1)
    return np.where(mask_YX, seen.picture, GREY)


def _log_probability(model: PictureEncoder, hidden_BTW: Tensor, reading: Reading) -> Tensor:
    """Of the label that is asked about, (B,), from the encoder's states: among all, of a picture; by itself, of the object that a cell
    proposes.
    """
    asked = reading.asked
    if isinstance(model, Detector):
        assert isinstance(asked, Detected)
        return torch.nn.functional.logsigmoid(model.one(model.spread_out(hidden_BTW)).logits[:, asked.cell, asked.label])
    assert isinstance(model, PictureClassifier)
    assert isinstance(asked, Label)
    return (model.classify(hidden_BTW).float() / asked.temperature).log_softmax(-1)[:, asked.index]


def _gradients(model: PictureEncoder, picture: np.ndarray, reading: Reading) -> Steps[Attribution]:
    """From the embeddings of a grey picture to those of this one; the tokens before the patches stay."""
    device, training = device_of(model), model.training
    model.eval()
    with torch.inference_mode(False), torch.no_grad():
        both = torch.from_numpy(np.stack((np.full_like(picture, GREY), picture)))
        baseline_TW, inputs_TW = model.stem(scaled(both.to(device))).clone()
    model.train(training)

    def score(rows_ATW: Tensor) -> Tensor:
        training = model.training
        model.eval()
        try:
            hidden_ATW = model.transformer.hidden(embeddings=model.positions(rows_ATW))
            return _log_probability(model, hidden_ATW, reading)
        finally:
            model.train(training)

    return (yield from integrated_gradients(score, inputs_TW, baseline_TW))
