"""The pictures of an explanation as SVG: heat maps, the grid of layers and heads, the deletion curve.

Colours are classes of page.css, so that they follow the page's theme; a page that forbids inline styles shows them, too. A map is one path
for each shade, not one rectangle for each cell: a grid of many heads stays small.

Axes: H heads, N rows, M columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from torch import Tensor

from .faithfulness import Chance, Verdict
from .words import width_of

SHADES = 10
NAMED = 48
"""Words up to which a map names them."""
UNNAMED = 128
"""The most cells along a map without names; a larger one is averaged down."""
ROOM = 540
"""How wide a map may grow, in the page's pixels, as long as its cells stay large enough to be told apart."""
THUMBNAIL, THUMBNAIL_CELLS, GRID_CELLS = 64, 32, 65_536
"""Of a head in the grid: its side, and the most cells along it; a larger map is averaged down. And the cells of all heads together."""
LABEL = 14
"""Columns of a label at most, a Chinese character counted as two."""


def heat_map(weights_NM: Tensor, rows: Sequence[str], columns: Sequence[str], *, name: str) -> str:
    """Each row's weights, darkest where it looks most; the whole row is what is shared out.

    Args:
        name: what the picture shows, for who cannot see it.
    """
    named = len(rows) <= NAMED and len(columns) <= NAMED
    if not named:
        weights_NM = _smaller(weights_NM, UNNAMED)
        rows, columns = [""] * len(weights_NM), [""] * weights_NM.shape[1]
    left = 8 + 7 * max(map(width_of, map(_cut, rows)), default=0) if named else 4
    cell = max(15 if named else 4, min(30, (ROOM - left) // max(1, len(columns), len(rows))))
    # A label that its column is too narrow for stands on its side.
    fits = [7 * width_of(_cut(label)) <= cell for label in columns]
    top = (max((18 if fit else 8 + 7 * width_of(_cut(label)) for label, fit in zip(columns, fits, strict=True)), default=0)) if named else 4
    width, height = left + cell * len(columns) + 6, top + cell * len(rows) + 6
    parts = [f'<rect class="sheet" x="{left}" y="{top}" width="{cell * len(columns)}" height="{cell * len(rows)}"/>']
    parts.append(f'<g transform="translate({left} {top}) scale({cell})">{_shades(weights_NM)}</g>')
    if named:
        for number, label in enumerate(rows):
            y = top + cell * number + cell / 2
            parts.append(f'<text class="label" x="{left - 6}" y="{y}" text-anchor="end" dominant-baseline="central">{_label(label)}</text>')
        for number, (label, fit) in enumerate(zip(columns, fits, strict=True)):
            x = left + cell * number + cell / 2
            place = f'x="{x}" y="{top - 6}" text-anchor="middle"'
            if not fit:
                place = f'transform="translate({x} {top - 6}) rotate(-90)" dominant-baseline="central"'
            parts.append(f'<text class="label" {place}>{_label(label)}</text>')
    # What a cell says when it is pointed at.
    if named and len(rows) * len(columns) <= 2000:
        values = weights_NM.tolist()
        parts += [
            f'<rect class="cell" x="{left + cell * j}" y="{top + cell * i}" width="{cell}" height="{cell}">'
            f"<title>{escape(row)} → {escape(column)}: {values[i][j]:.3f}</title></rect>"
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        ]
    return _svg("".join(parts), width, height, name)


def head_grid(maps: Sequence[Tensor], *, layer_name: str, head_name: str, chosen: tuple[int | None, int | None], name: str) -> str:
    """A small map for each head (H, N, M): a row a layer, a column a head.

    Args:
        layer_name, head_name: what they are called, {} for the number.
        chosen: layer and head that are framed, from 0; a whole row or column where the other is None.
    """
    left, top, step = 64, 24, THUMBNAIL + 10
    cells = min(THUMBNAIL_CELLS, int(np.sqrt(GRID_CELLS / (len(maps) * len(maps[0])))))
    parts = []
    for head in range(len(maps[0])):
        x = left + step * head + THUMBNAIL / 2
        parts.append(f'<text class="label" x="{x}" y="14" text-anchor="middle">{escape(head_name.format(head + 1))}</text>')
    for layer, heads_HNM in enumerate(maps):
        y = top + step * layer
        parts.append(
            f'<text class="label" x="{left - 8}" y="{y + THUMBNAIL / 2}" text-anchor="end" dominant-baseline="central">'
            f"{escape(layer_name.format(layer + 1))}</text>"
        )
        for head, weights_NM in enumerate(heads_HNM):
            small = _smaller(weights_NM, cells)
            x, framed = (
                left + step * head,
                chosen != (None, None) and all(c in (None, at) for c, at in zip(chosen, (layer, head), strict=True)),
            )
            scale_x, scale_y = THUMBNAIL / small.shape[1], THUMBNAIL / small.shape[0]
            parts.append(f'<rect class="sheet" x="{x}" y="{y}" width="{THUMBNAIL}" height="{THUMBNAIL}"/>')
            parts.append(f'<g transform="translate({x} {y}) scale({scale_x:.3f} {scale_y:.3f})">{_shades(small)}</g>')
            if framed:
                parts.append(f'<rect class="frame" x="{x - 2}" y="{y - 2}" width="{THUMBNAIL + 4}" height="{THUMBNAIL + 4}"/>')
            place = f'data-layer="{layer + 1}" data-head="{head + 1}"'
            parts.append(f'<rect class="cell" {place} x="{x}" y="{y}" width="{THUMBNAIL}" height="{THUMBNAIL}"/>')
    return _svg("".join(parts), left + step * len(maps[0]), top + step * len(maps), name)


def seen_picture(
    url: str, size: Sequence[int], weights_RK: np.ndarray, *, name: str, box: tuple[float, float, float, float] | None = None
) -> str:
    """A picture, and over it its patches, darkest where they count most; in the other colour where they count against the answer.

    Args:
        url: the picture, as a `data:` URL.
        size: its height and its width, in pixels.
        name: what the picture shows, for who cannot see it.
        box: what is outlined in it: left, top, right, bottom in pixels.
    """
    height, width = size
    rows, columns = weights_RK.shape
    largest = float(np.abs(weights_RK).max()) or 1.0
    place = f'transform="scale({width / columns:g} {height / rows:g})"'
    over = "".join(
        f'<g class="{side}" {place}>{_shades(torch.from_numpy(np.maximum(sign * weights_RK, 0)), largest)}</g>'
        for side, sign in (("for", 1), ("against", -1))
        if (sign * weights_RK > 0).any()
    )
    image = f'<image href="{escape(url)}" width="{width}" height="{height}" image-rendering="pixelated"/>'
    if box is not None:
        left, top, right, bottom = box
        outline = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
        framed = f'<rect class="asked" {outline}/>'
        image, over = f"{image}{framed}", f"{over}{framed}"
    return (
        f'<svg class="seen" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(name)}">{image}{over}</svg>'
        f'<svg class="seen" viewBox="0 0 {width} {height}" aria-hidden="true">{image}</svg>'
    )


def seen_grid(
    maps: Sequence[Sequence[np.ndarray]], *, layer_name: str, head_name: str, chosen: tuple[int | None, int | None], name: str
) -> str:
    """As `head_grid`, of each head's weights over the patches of a picture, (R, K)."""
    return head_grid(
        [torch.stack([torch.from_numpy(head) for head in layer]) for layer in maps], layer_name=layer_name, head_name=head_name,
        chosen=chosen, name=name,
    )  # fmt: skip


def deletion_curve(verdict: Verdict, chance: Chance, *, across: str, up: str, name: str) -> str:
    """The answer's probability while words go: the explanation's order, and where 95% of the random orders are.

    Args:
        across, up: what the axes are called.
    """
    width, height, left, right, top, bottom = 340, 200, 54, 18, 10, 38
    low, high = chance.band
    highest = _ceiling(float(max(verdict.curve.max(), high.max())))

    def point(share: float, value: float) -> str:
        return f"{left + share * (width - left - right):.1f} {top + (1 - value / highest) * (height - top - bottom):.1f}"

    def path(values: np.ndarray) -> str:
        return "M" + "L".join(point(share, value) for share, value in zip(chance.shares, values, strict=True))

    edge = "L".join(point(share, value) for share, value in zip(chance.shares[::-1], low[::-1], strict=True))
    parts = []
    for share in (0, 0.5, 1):
        x, y = point(share, 0).split(" ")
        parts.append(f'<text class="tick" x="{x}" y="{float(y) + 14:.1f}" text-anchor="middle">{share:.0%}</text>')
        value = highest * share
        x, y = point(0, value).split(" ")
        parts.append(f'<line class="rule" x1="{left}" x2="{width - right}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{left - 5}" y="{y}" text-anchor="end" dominant-baseline="central">{_percent(value, highest)}</text>'
        )
    parts += [
        f'<path class="band" d="{path(high)}L{edge}Z"/>',
        f'<path class="mean" d="{path(chance.curves.mean(0))}"/>',
        f'<path class="curve" d="{path(verdict.curve)}"/>',
        f'<text class="label" x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">{escape(across)}</text>',
        f'<text class="label" transform="translate(10 {(height - bottom) / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>',
    ]
    return _svg("".join(parts), width, height, name, style="plot")


def shade(share: float) -> int:
    """0 to `SHADES`: the step that a share of the darkest has."""
    return round(max(0.0, min(1.0, share)) * SHADES)


def _shades(weights_NM: Tensor, largest: float | None = None) -> str:
    """A path for each shade of the cells, each a square of side one. The darkest is the map's largest weight, or the one that is given."""
    largest = largest or float(weights_NM.max()) or 1.0
    steps = (weights_NM / largest * SHADES).round().int().tolist()
    cells: dict[int, list[str]] = {}
    for row, values in enumerate(steps):
        for column, step in enumerate(values):
            if step > 0:
                cells.setdefault(step, []).append(f"M{column} {row}h1v1h-1z")
    return "".join(f'<path class="heat" fill-opacity="{step / SHADES:g}" d="{"".join(places)}"/>' for step, places in sorted(cells.items()))


def _smaller(weights_NM: Tensor, cells: int) -> Tensor:
    """At most so many cells along each side."""
    rows, columns = (min(size, max(1, cells)) for size in weights_NM.shape)
    return torch.nn.functional.adaptive_avg_pool2d(weights_NM[None], (rows, columns))[0]


def _ceiling(value: float) -> float:
    """The next of 1, 2 and 5 times a power of ten, at most 1."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return min(1.0, float(next(step * power for step in (1, 2, 5, 10) if step * power >= value - 1e-12)))


def _percent(value: float, highest: float) -> str:
    digits = max(0, int(-np.floor(np.log10(highest))) - 1)
    return f"{100 * value:.{digits}f}%"


def _svg(inner: str, width: float, height: float, name: str, style: str = "map") -> str:
    return (
        f'<svg class="{style}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{escape(name)}">{inner}</svg>'
    )


def _label(text: str) -> str:
    return escape(_cut(text))


def _cut(text: str) -> str:
    """As much of a label as there is room for."""
    if width_of(text) <= LABEL:
        return text
    kept = ""
    for character in text:
        if width_of(kept + character) >= LABEL:
            break
        kept += character
    return kept + "…"
