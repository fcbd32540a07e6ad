"""Pictures of signs, drawn by the project itself: shapes with English names, and Chinese characters that are their own names.

Each is drawn anew: another place, size, slant, thickness, colour and ground, from a seed. In the public domain (CC0).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..contracts.language import Words
from ..contracts.randomness import generator

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]
"""Red, green and blue, of 255."""

Line = Sequence[tuple[float, float]]
"""Points (x, y) within ±1, y downwards, that a line goes through."""


def _round(corners: int, *, dents: float = 1.0) -> Line:
    """A closed line through points on a circle; every other one nearer to the middle where there are `dents`."""
    points = [(math.sin(2 * math.pi * k / corners), -math.cos(2 * math.pi * k / corners)) for k in range(corners + 1)]
    return [(x * (dents if k % 2 else 1), y * (dents if k % 2 else 1)) for k, (x, y) in enumerate(points)]


SIGNS: Mapping[str, Sequence[Line]] = {
    "circle": [_round(24)],
    "triangle": [_round(3)],
    "star": [_round(10, dents=0.42)],
    "arrow": [[(-1, 0), (1, 0)], [(0.35, -0.6), (1, 0), (0.35, 0.6)]],
    "十": [[(-1, 0), (1, 0)], [(0, -1), (0, 1)]],
    "大": [[(-0.9, -0.3), (0.9, -0.3)], [(0, -1), (-0.05, -0.2), (-0.85, 1)], [(0, -0.25), (0.85, 1)]],
    "山": [[(-0.85, -0.2), (-0.85, 0.8), (0.85, 0.8), (0.85, -0.2)], [(0, -1), (0, 0.8)]],
    "中": [[(-0.8, -0.55), (0.8, -0.55), (0.8, 0.3), (-0.8, 0.3), (-0.8, -0.55)], [(0, -1), (0, 1)]],
}
NAMES: Mapping[str, Words] = {
    "circle": Words("circle", "圆形"),
    "triangle": Words("triangle", "三角形"),
    "star": Words("star", "五角星"),
    "arrow": Words("arrow", "箭头"),
    **{sign: Words(f"character {sign}", f"“{sign}”字") for sign in "十大山中"},
}
"""What each sign is called in a sentence."""
COLOURS: Mapping[Words, Colour] = {
    Words("red", "红"): (214, 40, 40),
    Words("yellow", "黄"): (246, 205, 50),
    Words("green", "绿"): (40, 150, 70),
    Words("blue", "蓝"): (35, 80, 190),
    Words("black", "黑"): (20, 20, 20),
    Words("white", "白"): (245, 245, 245),
}
FINER = 4
"""Pixels are drawn so many times finer, and averaged."""
EMPTY = 0.1
"""The share of scenes without a sign."""
GREY = 110
"""The least difference of a sign from its ground, of 255."""


class Placed(NamedTuple):
    """Where a sign is in a picture, in pixels of it."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: Placed) -> bool:
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


def signs(count: int, *, size: int = 24, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` pictures of every sign, in turn: its name, and a PNG of `size` × `size` pixels."""
    for number in range(count):
        for name, lines in SIGNS.items():
            yield name, draw(lines, size, generator(seed, "signs", name, number))


def captioned_signs(count: int, *, size: int = 24, seed: int = 0) -> Iterator[tuple[Words, bytes]]:
    """`count` pictures of every sign in colours that have names, in turn: what each shows, as a sentence, and the PNG."""
    colours = list(COLOURS)
    for number in range(count):
        for name, lines in SIGNS.items():
            random = generator(seed, "captioned signs", name, number)
            ink, ground = (colours[place] for place in random.choice(len(colours), 2, replace=False))
            caption = Words(f"a {ink.en} {NAMES[name].en} on {ground.en}", f"{ground.zh}色背景上的{ink.zh}色{NAMES[name].zh}")
            yield caption, draw(lines, size, random, (COLOURS[ground], COLOURS[ink]))


def draw(lines: Sequence[Line], size: int, random: np.random.Generator, colours: tuple[Colour, Colour] | None = None) -> bytes:
    """One sign as a PNG.

    Args:
        colours: of the ground and of the sign; drawn where None.
    """
    from PIL import Image

    ground, ink = colours or _colours(random)
    image = Image.new("RGB", (size * FINER, size * FINER), ground)
    radius = FINER * size * random.uniform(0.28, 0.4)
    middle = FINER * size / 2 + random.uniform(-1, 1, 2) * (FINER * size / 2 - radius * 1.15)
    angle, width = random.uniform(-0.15, 0.15), round(FINER * size * random.uniform(0.06, 0.11))
    _stroke(image, ink, lines, middle, radius, angle, width)
    return _photographed(image, random)


def scenes(count: int, names: Sequence[str], *, size: int = 64, most: int = 4, seed: int = 0) -> Iterator[tuple[bytes, list[Placed]]]:
    """`count` pictures of `size` × `size` pixels, each a PNG, with up to `most` signs of these names, and exactly where these are."""
    for number in range(count):
        yield draw_scene(names, size, most, generator(seed, "scenes", number))


def draw_scene(names: Sequence[str], size: int, most: int, random: np.random.Generator) -> tuple[bytes, list[Placed]]:
    """One picture with signs, none of which lies over another; now and then there is none."""
    from PIL import Image

    ground, _ = _colours(random)
    image, placed = Image.new("RGB", (size * FINER, size * FINER), ground), list[Placed]()
    for _ in range(0 if random.random() < EMPTY else int(random.integers(1, most + 1))):
        name, ink = names[int(random.integers(len(names)))], _ink(ground, random)
        radius = FINER * size * random.uniform(0.1, 0.22)
        middle = random.uniform(radius * 1.2, FINER * size - radius * 1.2, 2)
        angle, width = random.uniform(-0.15, 0.15), max(FINER, round(radius * random.uniform(0.16, 0.28)))
        mask = Image.new("L", image.size)
        _stroke(mask, 255, SIGNS[name], middle, radius, angle, width)
        edges = mask.getbbox()
        assert edges is not None, "a sign has ink"
        box = Placed(name, *(edge / FINER for edge in edges))
        if not any(box.touches(other) for other in placed):
            image.paste(ink, (0, 0), mask)
            placed.append(box)
    return _photographed(image, random), placed


def _colours(random: np.random.Generator) -> tuple[Colour, Colour]:
    """A ground, and an ink that can be told from it."""
    red, green, blue = random.integers(0, 256, 3).tolist()
    return (red, green, blue), _ink((red, green, blue), random)


def _ink(ground: Colour, random: np.random.Generator) -> Colour:
    while abs(int((ink := random.integers(0, 256, 3)).mean()) - sum(ground) // 3) < GREY:
        pass
    red, green, blue = ink.tolist()
    return red, green, blue


def _stroke(
    image: Image, ink: Colour | int, lines: Sequence[Line], middle: np.ndarray, radius: float, angle: float, width: int
) -> None:  # fmt: skip
    """Draw a sign's lines, with round ends."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for line in lines:
        points = [tuple(map(float, middle + radius * (turn @ point))) for point in np.array(line, float)]
        pen.line(points, ink, width, joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), ink)


def _photographed(image: Image, random: np.random.Generator) -> bytes:
    """The drawing at its own size, with some noise, as a PNG."""
    from PIL import Image

    size = image.width // FINER
    small = np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float64)
    noisy = np.clip(small + random.normal(0, 4, small.shape), 0, 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "PNG")
    return file.getvalue()
