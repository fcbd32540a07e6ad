"""What a model read for one request, and what of its answer is to be explained: how a task tells it to whoever explains (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Label:
    """One of a classifier's labels."""

    index: int
    names: Sequence[str]
    """All labels, in the order of the outputs."""
    exclusive: bool = True
    """One label alone is right (a softmax over all); else each is right or not for itself (a sigmoid each)."""
    temperature: float = 1.0
    """What the logits are divided by for the probability that is told."""


@dataclass(frozen=True)
class Span:
    """A part of what was read."""

    start: int
    end: int
    """The tokens start:end."""


@dataclass(frozen=True)
class Written:
    """The end of what the decoder read: its own output."""

    start: int
    """The first token of it; at least one comes before."""


@dataclass(frozen=True)
class Nearest:
    """Which of several texts is the nearest to one: the two of them stand one behind the other in what was read."""

    start: int
    """The first token of the text that was chosen; those before it are of the text that it was chosen for."""
    others: Sequence[Sequence[int]]
    """The tokens of each text that was not chosen."""


@dataclass(frozen=True)
class Detected:
    """One object that a detector found in a picture."""

    label: int
    """Which of its labels."""
    cell: int
    """Which of its proposals, by the cell that it is of."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of what the model reads."""


@dataclass(frozen=True)
class Reading:
    """A request as the model reads it, whole and in one row."""

    tokens: Sequence[int]
    """What its only stack reads, or the decoder of an encoder-decoder; with the output at the end, where that is what is asked about."""
    asked: Label | Span | Written | Nearest | Detected
    answer: str
    """The answer in words: a label's name, a text."""
    picture: np.ndarray | None = None
    """What is read in the place of tokens, or of some: a picture at the model's size, (C, Y, X) of 0 to 255."""
    places: Sequence[int] = ()
    """Where among `tokens` the picture stands, row by row, where there are others."""
    source: Sequence[int] = ()
    """What the encoder of an encoder-decoder reads."""
    token_types: Sequence[int] = ()
    """Of `tokens`, where the model has them."""
