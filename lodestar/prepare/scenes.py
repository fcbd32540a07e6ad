"""Pictures to ask about, drawn by formula: coloured shapes in the four corners, with questions whose answers are known exactly.

A scene has one to four shapes, no two of one shape and colour. What is asked: colour, shape, place, number, which is left of which or
above, whether there is one (of what is not there, too), and all of it; in English or in Chinese. Some pairs of shape and colour are held
out: a scene to learn from never has them, and is never asked for them; a scene to judge on has one, and is asked about it. So who answers
these has learnt colours and shapes, and not pairs by heart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..contracts.language import Language, Words
from ..contracts.randomness import derive_seed, generator

SIZE = 32
"""Pixels a side."""
FINER = 4
"""Pixels are drawn so many times finer, and averaged."""
COLOURS: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    "red": ("红色", (205, 45, 40)), "green": ("绿色", (50, 150, 60)), "blue": ("蓝色", (45, 80, 200)), "yellow": ("黄色", (235, 195, 35)),
    "purple": ("紫色", (140, 60, 165)),
}  # fmt: skip
"""English → Chinese, and red, green and blue."""
SHAPES: Mapping[str, str] = {"circle": "圆形", "square": "方形", "triangle": "三角形", "cross": "十字形"}
CORNERS = (Words("top left", "左上"), Words("top right", "右上"), Words("bottom left", "左下"), Words("bottom right", "右下"))
NUMBERS = (Words("zero", "零个"), Words("one", "一个"), Words("two", "两个"), Words("three", "三个"), Words("four", "四个"))
YES_NO = {True: Words("yes", "是"), False: Words("no", "不是")}
THERE = {True: Words("yes", "有"), False: Words("no", "没有")}
"""What a question of whether there is something is answered with."""


class Thing(NamedTuple):
    """A shape of a colour."""

    shape: str
    colour: str

    @property
    def held_out(self) -> bool:
        """Whether only scenes to judge on have it: one colour of each shape."""
        return (list(SHAPES).index(self.shape) + list(COLOURS).index(self.colour)) % len(COLOURS) == 1

    @property
    def words(self) -> Words:
        return Words(f"{self.colour} {self.shape}", f"{COLOURS[self.colour][0]}的{SHAPES[self.shape]}")


THINGS = tuple(Thing(shape, colour) for shape in SHAPES for colour in COLOURS)


class Asked(NamedTuple):
    """A question and its answer."""

    kind: str
    question: str
    answer: str


def asked(kind: str, question: Words, answer: Words, language: Language) -> Asked:
    """The same in one language."""
    return Asked(kind, question.in_language(language), answer.in_language(language))


@dataclass(frozen=True)
class Scene:
    """Which thing is in which corner, or none, and how it is drawn."""

    corners: tuple[Thing | None, ...]
    seed: int

    @property
    def things(self) -> dict[Thing, int]:
        """What there is → its corner."""
        return {thing: corner for corner, thing in enumerate(self.corners) if thing is not None}

    def png(self, size: int = SIZE) -> bytes:
        """The picture; each thing somewhere in its corner, in a size and a shade of its own."""
        from PIL import Image, ImageDraw

        random, whole = generator(self.seed, "picture"), size * FINER
        image = Image.new("RGB", (whole, whole), tuple(map(int, random.integers(225, 256, 3))))
        pen = ImageDraw.Draw(image)
        for thing, corner in self.things.items():
            radius = whole * random.uniform(0.13, 0.19)
            middle = whole * np.array([0.25 + 0.5 * (corner % 2), 0.25 + 0.5 * (corner // 2)]) + random.uniform(-1, 1, 2) * whole * 0.045
            shade = np.clip(np.array(COLOURS[thing.colour][1]) + random.normal(0, 12, 3), 0, 255)
            _draw(pen, thing.shape, middle, radius, tuple(map(int, shade)))
        small = np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float64)
        noisy = np.clip(small + random.normal(0, 3, small.shape), 0, 255).round().astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(noisy).save(file, "PNG")
        return file.getvalue()

    def questions(self) -> Iterator[Asked]:
        """One question of each kind that fits the scene, each in a language by a coin; of several, one that asks for what is held out."""
        return _Asker(self.things, any(thing.held_out for thing in self.things), generator(self.seed, "questions")).all()


@dataclass(frozen=True)
class _Asker:
    """Asks about one scene."""

    things: Mapping[Thing, int]
    held_out: bool
    random: np.random.Generator

    def all(self) -> Iterator[Asked]:
        for kind in (self._colour, self._shape, self._place, self._count, self._relation, self._there, self._caption):
            found = kind("en" if self.random.random() < 0.5 else "zh")
            if found is not None:
                yield found

    def _one_of(self, things: Sequence[Thing]) -> Thing | None:
        if self.held_out and any(thing.held_out for thing in things):
            things = [thing for thing in things if thing.held_out]
        return things[int(self.random.integers(len(things)))] if things else None

    def _colour(self, language: Language) -> Asked | None:
        shapes = [thing.shape for thing in self.things]
        thing = self._one_of([thing for thing in self.things if shapes.count(thing.shape) == 1])
        if thing is None:
            return None
        question = Words(f"What colour is the {thing.shape}?", f"{SHAPES[thing.shape]}是什么颜色？")
        return asked("colour", question, Words(thing.colour, COLOURS[thing.colour][0]), language)

    def _shape(self, language: Language) -> Asked | None:
        colours = [thing.colour for thing in self.things]
        thing = self._one_of([thing for thing in self.things if colours.count(thing.colour) == 1])
        if thing is None:
            return None
        question = Words(f"What shape is the {thing.colour} one?", f"{COLOURS[thing.colour][0]}的是什么形状？")
        return asked("shape", question, Words(thing.shape, SHAPES[thing.shape]), language)

    def _place(self, language: Language) -> Asked | None:
        thing = self._one_of(list(self.things))
        assert thing is not None, "a scene has a thing"
        question = Words(f"Where is the {thing.words.en}?", f"{thing.words.zh}在哪里？")
        return asked("place", question, CORNERS[self.things[thing]], language)

    def _count(self, language: Language) -> Asked | None:
        colour, shape = (str(self.random.choice(list(names))) for names in (COLOURS, SHAPES))
        number, question = [
            (len(self.things), Words("How many shapes are there?", "有几个图形？")),
            (
                sum(thing.colour == colour for thing in self.things),
                Words(f"How many shapes are {colour}?", f"{COLOURS[colour][0]}的图形有几个？"),
            ),
            (
                sum(thing.shape == shape for thing in self.things),
                Words(f"How many {_plural(shape)} are there?", f"{SHAPES[shape]}有几个？"),
            ),
        ][int(self.random.integers(3))]
        return asked("count", question, NUMBERS[number], language)

    def _relation(self, language: Language) -> Asked | None:
        pairs = [(one, other) for one in self.things for other in self.things if one != other]
        if self.held_out:
            pairs = [pair for pair in pairs if pair[0].held_out] or pairs
        if not pairs:
            return None
        one, other = pairs[int(self.random.integers(len(pairs)))]
        first, second = self.things[one], self.things[other]
        across = first % 2 != second % 2 and (first // 2 == second // 2 or self.random.random() < 0.5)
        if across:
            question = Words(f"Is the {one.words.en} left of the {other.words.en}?", f"{one.words.zh}在{other.words.zh}的左边吗？")
            return asked("relation", question, YES_NO[first % 2 < second % 2], language)
        question = Words(f"Is the {one.words.en} above the {other.words.en}?", f"{one.words.zh}在{other.words.zh}的上面吗？")
        return asked("relation", question, YES_NO[first // 2 < second // 2], language)

    def _there(self, language: Language) -> Asked | None:
        """Half of the time for what is there. What is not, shares shape or colour with what is, half of the time."""
        there = bool(self.random.random() < 0.5)
        if there:
            thing = self._one_of(list(self.things))
        else:
            absent = [thing for thing in THINGS if thing not in self.things and (self.held_out or not thing.held_out)]
            near = [thing for thing in absent if any(thing.shape == one.shape or thing.colour == one.colour for one in self.things)]
            thing = self._one_of(near if near and self.random.random() < 0.5 else absent)
        assert thing is not None, "no scene has all things"
        article = "an" if thing.words.en[0] in "aeiou" else "a"
        return asked("there", Words(f"Is there {article} {thing.words.en}?", f"有{thing.words.zh}吗？"), THERE[there], language)

    def _caption(self, language: Language) -> Asked | None:
        en = ", ".join(f"a {thing.words.en} {CORNERS[corner].en}" for thing, corner in self.things.items())
        zh = "，".join(f"{CORNERS[corner].zh}有{thing.words.zh}" for thing, corner in self.things.items())
        return asked("caption", Words("Describe the picture.", "描述这张图。"), Words(en, zh), language)


def scenes(*, seed: int = 0, held_out: bool = False) -> Iterator[Scene]:
    """Scenes without end.

    Args:
        held_out: each has a thing that no other scene has; else none.
    """
    known = [thing for thing in THINGS if not thing.held_out]
    new = [thing for thing in THINGS if thing.held_out]
    number = 0
    while True:
        random = generator(seed, "scenes", number, int(held_out))
        corners: list[Thing | None] = [None] * len(CORNERS)
        places = random.permutation(len(CORNERS))[: int(random.integers(1, len(CORNERS) + 1))]
        chosen = [known[place] for place in random.permutation(len(known))[: len(places)]]
        if held_out:
            chosen[0] = new[int(random.integers(len(new)))]
        for place, thing in zip(places, chosen, strict=True):
            corners[int(place)] = thing
        yield Scene(tuple(corners), derive_seed(seed, "scene", number, int(held_out)))
        number += 1


def _plural(shape: str) -> str:
    return f"{shape}es" if shape.endswith("ss") else f"{shape}s"


def _draw(pen: object, shape: str, middle: np.ndarray, radius: float, ink: tuple[int, ...]) -> None:
    from PIL import ImageDraw

    assert isinstance(pen, ImageDraw.ImageDraw)
    x, y = map(float, middle)
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), ink)
    elif shape == "square":
        side = radius * 0.9
        pen.rectangle((x - side, y - side, x + side, y + side), ink)
    elif shape == "triangle":
        pen.polygon([(x + radius * 1.15 * math.sin(turn), y + radius * 0.15 - radius * 1.15 * math.cos(turn))
                     for turn in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)], ink)  # fmt: skip
    else:
        thin = radius * 0.36
        pen.rectangle((x - radius, y - thin, x + radius, y + thin), ink)
        pen.rectangle((x - thin, y - radius, x + thin, y + radius), ink)
