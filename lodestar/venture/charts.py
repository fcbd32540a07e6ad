"""Charts of the pages that the team reads: SVG drawn by hand, small enough to be legible on a phone, whole when it is saved alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 12.0, 46.0
INK, SOFT, RULE, GOLD, BLUE, GOOD, BAD = "#16203a", "#5b6478", "#dfe3ec", "#c8962e", "#3a5bbf", "#1d7a55", "#b3372f"
FONT = "Inter, Helvetica Neue, Noto Sans, PingFang SC, Noto Sans CJK SC, WenQuanYi Micro Hei, sans-serif"

Style = Literal["main", "guide", "promise", "faint", "dotted"]
_STROKES: dict[Style, tuple[str, str]] = {
    "main": (BLUE, 'stroke-width="2"'),
    "guide": (SOFT, 'stroke-dasharray="4 3"'),
    "promise": (GOLD, 'stroke-width="1.6"'),
    "faint": (BLUE, 'stroke-width="1" stroke-opacity=".3"'),
    "dotted": (BLUE, 'stroke-width="1.6" stroke-dasharray="5 3"'),
}
Point = tuple[float, float]


@dataclass
class Chart:
    """Two axes and what is drawn between them.

    `x_range` and `y_range` are what the axes span; `log_x` and `log_y` make one logarithmic. What lies outside is left out.
    """

    title: str
    """What it shows: its caption, and what is read aloud."""
    x: str
    y: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    log_x: bool = False
    log_y: bool = False
    told: str = ""
    """What it says, in words, for who does not see it."""
    _parts: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], *, style: Style = "main", label: str = "", color: str = "") -> None:
        """A line through the points, with its name at its end; in the colour of its style where none is given."""
        shown = [(self._x(x), self._y(y)) for x, y in points if self._holds(x, y)]
        if not shown:
            return
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in shown)
        usual, stroke = _STROKES[style]
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{color or usual}" {stroke}/>')
        if label:
            x, y = shown[-1]
            self._parts.append(text(x - 4, y - 5, label, anchor="end"))

    def band(self, low: Sequence[Point], high: Sequence[Point]) -> None:
        """The area between two lines of equal x."""
        pairs = [(x, a, b) for (x, a), (_, b) in zip(low, high, strict=True) if self._holds(x, a) and self._holds(x, b)]
        corners = [(x, b) for x, _, b in pairs] + [(x, a) for x, a, _ in reversed(pairs)]
        if corners:
            path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in corners)
            self._parts.append(f'<polygon points="{path}" fill="{BLUE}" fill-opacity=".14"/>')

    def point(
        self,
        x: float,
        y: float,
        *,
        low: float | None = None,
        high: float | None = None,
        size: float = 4.5,
        label: str = "",
        color: str = BLUE,
    ) -> None:
        """A dot, with its interval where it has one; `label` is told where it is pointed at."""
        if not self._holds(x, y):
            return
        told = f"<title>{escape(label)}</title>" if label else ""
        whisker = ""
        if low is not None and high is not None:
            a, b = self._y(max(low, self.y_range[0])), self._y(min(high, self.y_range[1]))
            ends = f'x1="{self._x(x):.1f}" x2="{self._x(x):.1f}" y1="{a:.1f}" y2="{b:.1f}"'
            whisker = f'<line {ends} stroke="{color}" stroke-opacity=".5" stroke-width="2"/>'
        self._parts.append(f'<g>{told}{whisker}<circle cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{size:.1f}" fill="{color}"/></g>')

    def key(self, names: Sequence[tuple[str, str]]) -> None:
        """What the colours mean, at the upper right: (colour, name)."""
        for number, (color, name) in enumerate(names):
            y = TOP + 14 + 15 * number
            self._parts.append(f'<circle cx="{WIDTH - RIGHT - 8:.1f}" cy="{y - 4:.1f}" r="4" fill="{color}"/>')
            self._parts.append(text(WIDTH - RIGHT - 17, y, name, anchor="end", color=INK, halo=True))

    def svg(self) -> str:
        """The picture."""
        grid = [*self._x_ticks(), *self._y_ticks()]
        names = [
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, self.x, anchor="middle"),
            f'<g transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)">{text(0, 0, self.y, anchor="middle")}</g>',
        ]
        return picture(WIDTH, HEIGHT, self.title, [*grid, *names, *self._parts], told=self.told)

    def html(self) -> str:
        """The picture with its caption."""
        return framed(self.svg(), self.title)

    def _holds(self, x: float, y: float) -> bool:
        return self.x_range[0] <= x <= self.x_range[1] and self.y_range[0] <= y <= self.y_range[1]

    def _x(self, value: float) -> float:
        return LEFT + _share(value, self.x_range, logarithmic=self.log_x) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - _share(value, self.y_range, logarithmic=self.log_y) * (HEIGHT - TOP - BOTTOM)

    def _x_ticks(self) -> list[str]:
        return [
            text(self._x(at), HEIGHT - BOTTOM + 15, tick_label(at), anchor="middle") for at in ticks(*self.x_range, logarithmic=self.log_x)
        ]

    def _y_ticks(self) -> list[str]:
        parts = []
        for at in ticks(*self.y_range, logarithmic=self.log_y):
            y = self._y(at)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RULE}"/>')
            parts.append(text(LEFT - 6, y + 4, tick_label(at), anchor="end"))
        return parts


def picture(width: float, height: float, title: str, parts: Sequence[str], *, told: str = "") -> str:
    """An SVG on white, with a title that is read aloud, and what it says in words."""
    view = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return _svg(view, title, [f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>', *parts], told)


def fluid_picture(height: float, title: str, parts: Sequence[str], *, told: str = "") -> str:
    """The same, as wide as there is room: what stands in it is placed by percents from the left, and its words keep their size."""
    return _svg(
        f'class="fluid" width="100%" height="{height:.0f}"',
        title,
        [f'<rect width="100%" height="{height:.0f}" fill="#fff"/>', *parts],
        told,
    )


def _svg(size: str, title: str, parts: Sequence[str], told: str) -> str:
    more = f"<desc>{escape(told)}</desc>" if told else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{FONT}" font-size="11.5">'
        f"<title>{escape(title)}</title>{more}{''.join(parts)}</svg>"
    )


def framed(svg: str, caption: str) -> str:
    """A picture above its caption."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def ticks(low: float, high: float, *, logarithmic: bool = False) -> list[float]:
    """Round numbers from `low` to `high`: about five, or the powers of ten (with 2 and 5 between where these are few)."""
    if logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        steps = (1, 2, 5) if last - first <= 3 else (1,)
        return [step * 10.0**power for power in range(first, last + 1) for step in steps if low <= step * 10.0**power <= high * (1 + 1e-9)]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 2.5, 5, 10) if step * power >= rough * (1 - 1e-9)) * power
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float) -> str:
    """`0.25`, `12`, `3k`, `1.5M`."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):g}{suffix}"
    return f"{value:.6g}"


def text(
    x: float | str, y: float, words: str, *, anchor: str = "start", color: str = SOFT, size: float = 11.5, halo: bool = False
) -> str:  # fmt: skip
    """A line of words in a picture; with `halo`, legible over what lies under it."""
    place = x if isinstance(x, str) else f"{x:.1f}"
    outline = ' stroke="#fff" stroke-width="3" paint-order="stroke"' if halo else ""
    return f'<text x="{place}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size:g}"{outline}>{escape(words)}</text>'


def _share(value: float, span: tuple[float, float], *, logarithmic: bool) -> float:
    """Where a value lies between the ends of its axis, from 0 to 1."""
    low, high = (math.log(end) for end in span) if logarithmic else span
    return ((math.log(value) if logarithmic else value) - low) / (high - low)
