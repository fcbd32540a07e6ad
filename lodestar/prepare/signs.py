"""Pictures of signs, drawn by the project itself: shapes with English names, and Chinese characters that are their own names.

Each is drawn anew: another place, size, slant, thickness, colour and ground, from a seed. In the public domain (CC0).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..contracts.randomness import generator

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
FINER = 4
"""Pixels are drawn so many times finer, and averaged."""
GREY = 110
"""The least difference of a sign from its ground, of 255."""


def signs(count: int, *, size: int = 24, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` pictures of every sign, in turn: its name, and a PNG of `size` × `size` pixels."""
    for number in range(count):
        for name, lines in SIGNS.items():
            yield name, draw(lines, size, generator(seed, "signs", name, number))


def draw(lines: Sequence[Line], size: int, random: np.random.Generator) -> bytes:
    """One sign as a PNG."""
    from PIL import Image, ImageDraw

    ground = random.integers(0, 256, 3)
    while abs(int((ink := random.integers(0, 256, 3)).mean()) - int(ground.mean())) < GREY:
        pass
    image = Image.new("RGB", (size * FINER, size * FINER), tuple(map(int, ground)))
    pen = ImageDraw.Draw(image)
    radius = FINER * size * random.uniform(0.28, 0.4)
    middle = FINER * size / 2 + random.uniform(-1, 1, 2) * (FINER * size / 2 - radius * 1.15)
    angle, width = random.uniform(-0.15, 0.15), round(FINER * size * random.uniform(0.06, 0.11))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for line in lines:
        points = [tuple(map(float, middle + radius * (turn @ point))) for point in np.array(line, float)]
        pen.line(points, tuple(map(int, ink)), width, joint="curve")
        for x, y in (points[0], points[-1]):  # round ends
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), tuple(map(int, ink)))
    small = np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float64)
    noisy = np.clip(small + random.normal(0, 4, small.shape), 0, 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "PNG")
    return file.getvalue()
