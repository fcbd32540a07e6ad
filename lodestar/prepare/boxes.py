"""Boxes that a person drew around objects, as the forms of other tools write them → edges in pixels of the picture that a model reads.

A picture is turned upright as its camera says (EXIF), and its boxes with it; it becomes one of the model's size, and its boxes with it.

Axes: M objects, C channels, Y rows and X columns of pixels. A box is left, top, right, bottom; the first pixel reaches from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Self

import numpy as np

from ..contracts.errors import UserError
from .pictures import BESIDE, MOST_ASPECT, Header, decode

FrameFit = Literal["pad", "stretch"]
"""How a picture takes the model's shape: it is shown whole, with grey beside it; or its sides are stretched."""

# The edge x and the edge y of a point once the picture of w × h is upright, for each of EXIF's orientations (CIPA DC-008, tag 274).
_TURNS: Mapping[int, Callable[[np.ndarray, np.ndarray, float, float], tuple[np.ndarray, np.ndarray]]] = {
    1: lambda x, y, _w, _h: (x, y),
    2: lambda x, y, w, _h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, _w, h: (x, h - y),
    5: lambda x, y, _w, _h: (y, x),
    6: lambda x, y, _w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, _h: (y, w - x),
}


class Drawn(NamedTuple):
    """The boxes of a picture as they were drawn."""

    edges: np.ndarray
    """Left, top, right, bottom (M, 4)."""
    places: list[str]
    """What an error calls each of them."""
    relative: bool
    """Whether edges are shares of the picture's size, from 0 to 1, or pixels."""
    size: tuple[int, int] | None
    """The width and height that the picture had when they were drawn, where that is known."""


class Upright(NamedTuple):
    """Boxes on the upright picture, in its pixels, and none of them reaching out of it."""

    edges: np.ndarray
    """(M, 4), float64."""
    clipped: int
    """How many reached out of the picture."""


def upright(drawn: Drawn, header: Header) -> Upright:
    """The boxes where they belong once the picture is upright.

    Pixels are those of the file as it is stored; but where the size that was noted with the boxes is that of the upright picture, and not
    that of the stored one, they were drawn on the upright one.

    Raises:
        UserError: a box is empty, or wholly outside; or the picture is of another size than it had when the boxes were drawn.
    """
    stored, turned = (header.width, header.height), header.upright
    orientation = header.orientation
    if drawn.size is not None and drawn.size != stored:
        if drawn.size != turned:
            what = f"the boxes were drawn on a picture of {drawn.size[0]}×{drawn.size[1]} pixels, and the file has {stored[0]}×{stored[1]}"
            raise UserError(what, fix="give the file that they were drawn on, or correct the size that is noted with them")
        stored, orientation = turned, 1
    size = np.array(stored * 2, np.float64)
    edges = drawn.edges * size if drawn.relative else drawn.edges.astype(np.float64)
    for place, (left, top, right, bottom) in zip(drawn.places, edges.tolist(), strict=True):
        _check(place, left, top, right, bottom, stored)
    inside = np.clip(edges, 0, size)
    clipped = int((np.abs(inside - edges) > 1e-6 * size).any(1).sum())
    turn = _TURNS[orientation]
    first, last = (turn(inside[:, at], inside[:, at + 1], *stored) for at in (0, 2))
    corners = np.stack([*first, *last], 1).reshape(-1, 2, 2)
    return Upright(np.concatenate([corners.min(1), corners.max(1)], 1), clipped)


def _check(place: str, left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> None:
    if not (right > left and bottom > top):
        what = f"the box is empty: it reaches from {left:g} to {right:g} across and from {top:g} to {bottom:g} down"
        raise UserError(what, where=place, fix="correct it, or take it out")
    if right <= 0 or bottom <= 0 or left >= size[0] or top >= size[1]:
        what = f"the box lies outside of its picture of {size[0]}×{size[1]} pixels: {left:g}, {top:g}, {right:g}, {bottom:g}"
        raise UserError(what, where=place, fix="correct it, or take it out")


class Frame(NamedTuple):
    """How an upright picture lies in the model's shape."""

    size: tuple[int, int]
    """Of the picture: width and height."""
    inner: tuple[int, int]
    """What it becomes."""
    shift: tuple[int, int]
    """Where its corner is, across and down."""

    @classmethod
    def of(cls, size: tuple[int, int], height: int, width: int, fit: FrameFit, where: str | None = None) -> Self:
        """Raises `UserError` where the picture is so narrow that nothing would be left of it."""
        if max(size) > MOST_ASPECT * min(size):
            what = f"the picture is {size[0]}×{size[1]} pixels, too narrow to look for anything in"
            raise UserError(what, where=where, fix=f"cut it so that no side is more than {MOST_ASPECT} times the other")
        if fit == "stretch":
            return cls(size, (width, height), (0, 0))
        times = min(width / size[0], height / size[1])
        inner = max(1, round(size[0] * times)), max(1, round(size[1] * times))
        return cls(size, inner, ((width - inner[0]) // 2, (height - inner[1]) // 2))

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the model for one of the picture, across, down, across, down (4,)."""
        return np.array(self.inner * 2, np.float64) / np.array(self.size * 2, np.float64)

    def to_model(self, edges: np.ndarray) -> np.ndarray:
        """Boxes on the upright picture (M, 4) → in what the model reads."""
        return edges * self.scale + np.array(self.shift * 2)

    def to_picture(self, edges: np.ndarray) -> np.ndarray:
        """Boxes in what the model reads (M, 4) → on the upright picture, clipped to it."""
        return np.clip((edges - np.array(self.shift * 2)) / self.scale, 0, np.array(self.size * 2, np.float64))


class Framed(NamedTuple):
    """A picture as the model reads it."""

    pixels: np.ndarray
    """(C, Y, X) uint8."""
    frame: Frame
    frames: int
    """Of an animation, of which the first is read; else 1."""


def read_framed(content: bytes, height: int, width: int, fit: FrameFit, where: str | None = None) -> Framed:
    """A picture file's content → the upright picture in the model's shape.

    Raises:
        UserError: it cannot be read (see `decode`), or is too narrow.
    """
    from PIL import Image

    frame = Frame.of(Header.of(content, where).upright, height, width, fit, where)
    image, frames = decode(content, where, least=2 * max(height, width))
    if image.size != frame.inner:
        image = image.resize(frame.inner, Image.Resampling.BICUBIC)
    if frame.inner != (width, height):
        whole = Image.new("RGB", (width, height), BESIDE)
        whole.paste(image, frame.shift)
        image = whole
    return Framed(np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1)), frame, frames)
