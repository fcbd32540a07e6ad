"""What is explained of a picture: one answer of one model (a label, an object, a text), and which numbers of the model stand for it.

Axes: A points on the way, B pictures, C channels, Y rows and X columns of pixels, S embeddings of a picture, N patches that are explained
(squares of the embeddings, where the model reads these as one), H heads, T tokens, E width of the embeddings, L labels, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..build.augment import scaled
from ..build.detector import Detector
from ..build.measuring import evaluating
from ..build.multimodal import MultimodalDecoder, PictureTower
from ..build.towers import PictureClassifier, PictureEncoder
from ..contracts.errors import UserError
from ..contracts.reading import Detected, Label, Reading, Written
from ..contracts.task import device_of
from .attention import attention_maps
from .rollout import rollout

GREY = np.uint8(128)
"""Of 255: what models read as nothing, in the middle of their scale."""


class PictureSubject(ABC):
    """An answer and the picture that it is about."""

    model: nn.Module
    encoder: PictureEncoder
    picture: np.ndarray
    """As the model reads it, (C, Y, X) uint8."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    tokens: int
    """Positions of the model that one picture takes."""
    box: tuple[float, float, float, float] | None = None
    """Of the object that is asked about: left, top, right, bottom in pixels; None where it is the picture."""

    @abstractmethod
    def log_probability(self, embedded_BSE: Tensor) -> Tensor:
        """The answer's, (B,), from the embeddings of a picture's patches and of what stands before them."""

    @abstractmethod
    def look(self) -> tuple[list[Tensor], Tensor]:
        """Of each layer how much the answering states look at each patch, (H, N); and the roll-out's share of each in the answer, (N,)."""

    @abstractmethod
    def by_patch(self, values_S: Tensor) -> Tensor:
        """What belongs to each embedding → to each patch, (N,)."""

    def probabilities(self, pictures_BCYX: np.ndarray) -> np.ndarray:
        """The answer's probability to each picture, (B,)."""
        with evaluating(self.model):
            pixels = scaled(torch.from_numpy(pictures_BCYX).to(device_of(self.model)))
            return self.log_probability(self.encoder.stem(pixels)).double().exp().cpu().numpy()

    def way(self) -> tuple[Tensor, Tensor]:
        """The two ends of the way that gradients are integrated along, (S, E) each: the picture's embeddings, and those of a grey one."""
        with _in_evaluation(self.model), torch.inference_mode(False), torch.no_grad():
            both = torch.from_numpy(np.stack((np.full_like(self.picture, GREY), self.picture)))
            baseline_SE, inputs_SE = self.encoder.stem(scaled(both.to(device_of(self.model)))).clone()
        return inputs_SE, baseline_SE

    def score(self, rows_ASE: Tensor) -> Tensor:
        """The answer's log-probability at points of the way, (A, S, E) → (A,); gradients flow through it."""
        with _in_evaluation(self.model):
            return self.log_probability(rows_ASE)


@dataclass(frozen=True)
class _EncodedPicture(PictureSubject):
    """An answer that is made of the encoder's states alone."""

    model: PictureEncoder
    picture: np.ndarray

    @property
    def encoder(self) -> PictureEncoder:  # type: ignore[override] # follows from the model, as the next ones do
        return self.model

    @property
    def grid(self) -> tuple[int, int]:  # type: ignore[override]
        return self.model.stem.shape.grid

    @property
    def tokens(self) -> int:  # type: ignore[override]
        return self.model.config.context

    @abstractmethod
    def of_states(self, hidden_BSE: Tensor) -> Tensor:
        """The answer's log-probability, (B,), from the encoder's states."""

    @abstractmethod
    def readers(self) -> Tensor:
        """How much each state counts in the answer, summing to one, (S,)."""

    def log_probability(self, embedded_BSE: Tensor) -> Tensor:
        return self.of_states(self.model.transformer.hidden(embeddings=self.model.positions(embedded_BSE)))

    def look(self) -> tuple[list[Tensor], Tensor]:
        with evaluating(self.model), attention_maps(self.model) as maps:
            self.model.hidden(scaled(torch.from_numpy(self.picture[None]).to(device_of(self.model))))
        readers_S, prefix = self.readers(), self.model.stem.shape.prefix
        looked = [torch.einsum("t,hts->hs", readers_S, layer)[:, prefix:] for layer in _layers(maps.encoder)]
        return looked, self.by_patch(readers_S @ rollout([one[0].cpu() for one in maps.encoder]))

    def by_patch(self, values_S: Tensor) -> Tensor:
        return values_S[self.model.stem.shape.prefix :]


@dataclass(frozen=True)
class LabelledPicture(_EncodedPicture):
    """The label that a classifier gave, among all."""

    label: Label

    def of_states(self, hidden_BSE: Tensor) -> Tensor:
        assert isinstance(self.model, PictureClassifier)
        return (self.model.classify(hidden_BSE).float() / self.label.temperature).log_softmax(-1)[:, self.label.index]

    def readers(self) -> Tensor:
        """The state of the token before the patches answers; or the states of all patches do, alike."""
        shape = self.model.stem.shape
        readers_S = torch.zeros(shape.tokens, dtype=torch.float64)
        readers_S[: shape.prefix or None] = 1 / (shape.prefix or shape.tokens)
        return readers_S


@dataclass(frozen=True)
class DetectedObject(_EncodedPicture):
    """The label of the object that a cell of a detector proposes, by itself."""

    asked: Detected

    @property
    def box(self) -> tuple[float, float, float, float]:  # type: ignore[override]
        return self.asked.box

    @property
    def detector(self) -> Detector:
        assert isinstance(self.model, Detector)
        return self.model

    def of_states(self, hidden_BSE: Tensor) -> Tensor:
        logits_BCL = self.detector.one(self.detector.spread_out(hidden_BSE)).logits
        return nn.functional.logsigmoid(logits_BCL[:, self.asked.cell, self.asked.label])

    def readers(self) -> Tensor:
        readers_S = torch.zeros(self.model.stem.shape.tokens, dtype=torch.float64)
        readers_S[self.detector.patch_of(self.asked.cell)] = 1.0
        return readers_S


@dataclass(frozen=True)
class AnsweredPicture(PictureSubject):
    """What a decoder wrote about the picture; what it read beside it stays as it is."""

    model: MultimodalDecoder
    picture: np.ndarray
    reading: Reading
    written: Written

    @property
    def tower(self) -> PictureTower:
        assert isinstance(self.model.tower, PictureTower)
        return self.model.tower

    @property
    def encoder(self) -> PictureEncoder:  # type: ignore[override] # follows from the model, as the next ones do
        return self.tower.encoder

    @property
    def grid(self) -> tuple[int, int]:  # type: ignore[override]
        return self.tower.grid

    @property
    def tokens(self) -> int:  # type: ignore[override]
        return len(self.reading.tokens) + self.encoder.config.context

    @property
    def _read(self) -> tuple[Tensor, Tensor]:
        """The ids that the decoder read, (1, T), and which of them are positions of the picture."""
        device = device_of(self.model)
        ids_1T = torch.tensor([self.reading.tokens[:-1]], device=device)
        places_1T = torch.zeros_like(ids_1T, dtype=torch.bool)
        places_1T[0, torch.tensor(self.reading.places, device=device)] = True
        return ids_1T, places_1T

    def log_probability(self, embedded_BSE: Tensor) -> Tensor:
        """The mean over the answer's tokens."""
        seen = self.tower.merged(self.encoder.transformer.hidden(embeddings=self.encoder.positions(embedded_BSE)))
        ids_BT, places_BT = (one.expand(len(embedded_BSE), -1) for one in self._read)
        hidden_BTW = self.model.transformer.hidden(embeddings=self.model.place(ids_BT, places_BT, seen))
        wanted = torch.tensor(self.reading.tokens[self.written.start :], device=hidden_BTW.device)
        chances_BTV = self.model.transformer.logits(hidden_BTW[:, self.written.start - 1 :]).float().log_softmax(-1)
        return chances_BTV.gather(-1, wanted[None, :, None].expand(len(embedded_BSE), -1, -1))[..., 0].mean(-1)

    def look(self) -> tuple[list[Tensor], Tensor]:
        """The roll-out goes through the decoder to the picture's positions, and from each of these through the encoder to the patches."""
        with evaluating(self.model), attention_maps(self.model) as maps, attention_maps(self.encoder) as behind:
            pixels = torch.from_numpy(self.picture[None]).to(device_of(self.model))
            self.model.hidden(*self._read, (pixels,))
        places = torch.tensor(self.reading.places)
        readers_T = torch.zeros(len(self.reading.tokens) - 1, dtype=torch.float64)
        readers_T[self.written.start - 1 :] = 1 / (len(readers_T) - self.written.start + 1)
        looked = [torch.einsum("t,hts->hs", readers_T, layer)[:, places] for layer in _layers(maps.decoder)]
        reached_N = (readers_T @ rollout([one[0].cpu() for one in maps.decoder]))[places]
        flow_SS = rollout([one[0].cpu() for one in behind.encoder])
        # A position is the mean of its patches, and the sum of what it takes from each square of them.
        from_NS = torch.stack([self.by_patch(column) for column in flow_SS.mT]).mT / self.tower.merge**2
        return looked, reached_N @ torch.stack([self.by_patch(row) for row in from_NS])

    def by_patch(self, values_S: Tensor) -> Tensor:
        rows, columns = self.grid
        squares = values_S[self.encoder.stem.shape.prefix :].unflatten(0, (rows, self.tower.merge, columns, self.tower.merge))
        return squares.sum((1, 3)).flatten()


def subject_of(model: nn.Module, reading: Reading) -> PictureSubject:
    """The subject that a model of this kind has.

    Raises:
        UserError: there is no way to explain the answers of such a model.
    """
    assert reading.picture is not None, "the reading is of a picture"
    if isinstance(model, PictureClassifier) and isinstance(reading.asked, Label):
        return LabelledPicture(model, reading.picture, reading.asked)
    if isinstance(model, MultimodalDecoder) and isinstance(reading.asked, Written):
        return AnsweredPicture(model, reading.picture, reading, reading.asked)
    if isinstance(model, Detector) and isinstance(reading.asked, Detected):
        return DetectedObject(model, reading.picture, reading.asked)
    fix = "explain a picture classifier, a detector or an answer about a picture"
    raise UserError(f"the answers of a {type(model).__name__} to pictures cannot be explained", fix=fix)


def _layers(maps: list[Tensor]) -> list[Tensor]:
    return [one[0].double().cpu() for one in maps]


@contextmanager
def _in_evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, with gradients."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
