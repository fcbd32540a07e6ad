"""Drawn scenes and played tunes: their answers against what is drawn and played, and what is held out."""

from __future__ import annotations

import io
import re
import wave
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from lodestar.prepare.scenes import COLOURS, CORNERS, SHAPES, SIZE, THINGS, Asked, Scene, scenes
from lodestar.prepare.tunes import HEIGHTS, INSTRUMENTS, NOTES, Tune, tunes

COUNT = 150
NUMBERS = ["zero", "one", "two", "three", "four"]


@pytest.mark.parametrize("held_out", [False, True])
def test_what_is_held_out_is_in_every_scene_and_tune_to_judge_on_and_in_no_other(held_out: bool) -> None:
    for found, names, every in (
        (list(islice(scenes(held_out=held_out), COUNT)), lambda one: one.things, THINGS),
        (list(islice(tunes(held_out=held_out), COUNT)), lambda one: one.notes, NOTES),
    ):
        assert all(any(each.held_out for each in names(one)) == held_out for one in found)
        words = {word for each in every if each.held_out for word in each.words}
        asked = " ".join(f"{each.question} {each.answer}" for one in found for each in one.questions())
        assert any(word in asked for word in words) == held_out
    # Each colour, shape, instrument and height is learnt with others.
    assert {thing.shape for thing in THINGS if not thing.held_out} == set(SHAPES)
    assert {thing.colour for thing in THINGS if not thing.held_out} == set(COLOURS)
    assert {note.height for note in NOTES if not note.held_out} == set(HEIGHTS)


def test_scenes_follow_from_the_seed_and_no_two_are_alike() -> None:
    first, again = (list(islice(scenes(seed=3), 20)) for _ in range(2))
    assert [scene.png() for scene in first] == [scene.png() for scene in again]
    assert [list(scene.questions()) for scene in first] == [list(scene.questions()) for scene in again]
    assert len({scene.png() for scene in [*first, *islice(scenes(seed=4), 20)]}) == 40
    played = list(islice(tunes(seed=3), 10))
    assert [tune.wav() for tune in played] == [tune.wav() for tune in islice(tunes(seed=3), 10)]
    assert len({tune.wav() for tune in played}) == 10


def test_the_picture_shows_each_thing_in_its_corner() -> None:
    for scene in islice(scenes(seed=1), 60):
        pixels = np.asarray(Image.open(io.BytesIO(scene.png())), np.float64)
        assert pixels.shape == (SIZE, SIZE, 3)
        for corner, thing in enumerate(scene.corners):
            y, x = SIZE // 4 + SIZE // 2 * (corner // 2), SIZE // 4 + SIZE // 2 * (corner % 2)
            middle = pixels[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))
            if thing is None:
                assert middle.min() > 200
                continue
            nearest = min(COLOURS, key=lambda name: np.abs(middle - np.array(COLOURS[name][1])).sum())
            assert nearest == thing.colour


def test_answers_are_what_the_scene_has() -> None:
    kinds: Counter[str] = Counter()
    for scene in islice(scenes(seed=2), COUNT):
        for asked in scene.questions():
            kinds[asked.kind] += 1
            if asked.question.isascii():
                assert asked.answer == answer_to(scene, asked), (scene.things, asked)
    assert set(kinds) == {"colour", "shape", "place", "count", "relation", "there", "caption"}
    assert min(kinds.values()) > COUNT / 3


def answer_to(scene: Scene, asked: Asked) -> str:
    """Worked out from the English words."""
    things = {f"{thing.colour} {thing.shape}": CORNERS[corner].en for thing, corner in scene.things.items()}
    question = asked.question
    if found := re.fullmatch(r"What colour is the (\w+)\?", question):
        return next(name.split()[0] for name in things if name.endswith(found[1]))
    if found := re.fullmatch(r"What shape is the (\w+) one\?", question):
        return next(name.split()[1] for name in things if name.startswith(found[1]))
    if found := re.fullmatch(r"Where is the (.*)\?", question):
        return things[found[1]]
    if found := re.fullmatch(r"How many shapes are (\w+)\?", question):
        return NUMBERS[len(things) if found[1] == "there" else sum(name.startswith(found[1]) for name in things)]
    if found := re.fullmatch(r"How many (\w+?)(?:es|s)? are there\?", question):
        wanted = {"shap": "", "shape": ""}.get(found[1], found[1])
        return NUMBERS[sum(name.split()[1].startswith(wanted.removesuffix("e")) for name in things)]
    if found := re.fullmatch(r"Is the (.*) left of the (.*)\?", question):
        return "yes" if "left" in things[found[1]] and "right" in things[found[2]] else "no"
    if found := re.fullmatch(r"Is the (.*) above the (.*)\?", question):
        return "yes" if "top" in things[found[1]] and "bottom" in things[found[2]] else "no"
    if found := re.fullmatch(r"Is there an? (.*)\?", question):
        return "yes" if found[1] in things else "no"
    assert question == "Describe the picture."
    order = [corner.en for corner in CORNERS]
    return ", ".join(f"a {name} {place}" for name, place in sorted(things.items(), key=lambda one: order.index(one[1])))


def test_questions_of_what_is_not_there_are_half_of_them_and_near_what_is() -> None:
    asked = [each for scene in islice(scenes(seed=5), 400) for each in scene.questions() if each.kind == "there"]
    absent = sum(each.answer in ("no", "没有") for each in asked) / len(asked)
    assert 0.42 < absent < 0.58


def test_a_tune_is_as_long_as_its_notes_and_its_heights_can_be_heard() -> None:
    for tune in islice(tunes(seed=1), 40):
        with wave.open(io.BytesIO(tune.wav())) as file:
            rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        assert 0.2 * len(tune.notes) < len(samples) / rate < 0.35 * len(tune.notes)
        if len(tune.notes) == 1 and tune.notes[0].instrument == "flute":
            loudest = np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples)
            nearest = min(HEIGHTS, key=lambda name: abs(np.log(loudest / HEIGHTS[name][1])))
            assert nearest == tune.notes[0].height


def test_answers_are_what_the_tune_has() -> None:
    for tune in islice(tunes(seed=2), COUNT):
        for kind, question, answer in tune.questions():
            if question.isascii():
                assert answer == heard(tune, kind, question), (tune.notes, question)


def heard(tune: Tune, kind: str, question: str) -> str:
    """Worked out from the English words."""
    names = [f"{note.height} {note.instrument}" for note in tune.notes]
    if kind == "count":
        return NUMBERS[len(names)]
    if kind in ("instrument", "height"):
        height, instrument = names[0 if "first" in question else -1].split()
        return f"a {instrument}" if kind == "instrument" else height
    if kind == "order":
        one, other = (question.split().index(word) for word in ("the", "before"))
        first, second = question.split()[one + 1], question.rstrip("?").split()[other + 2]
        played = [name.split()[1] for name in names]
        assert {first, second} <= set(INSTRUMENTS)
        return "yes" if played.index(first) < played.index(second) else "no"
    if kind == "there":
        return "yes" if question.removeprefix("Is there a ").rstrip("?") in names else "no"
    return ", ".join(f"a {name}" for name in names)
