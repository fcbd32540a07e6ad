"""Sounds to ask about, made by formula: one to four notes of four instruments, with questions whose answers are known exactly.

The instruments are no recordings: a flute is near to a sine, a horn has all harmonics, a bell's partials do not divide each other and die
away, a drum is noise. As in `scenes`, some pairs of instrument and height are held out: what is learnt from never has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..contracts.language import Language, Words
from ..contracts.randomness import derive_seed, generator
from .robot_voice import RATE, wave_file
from .scenes import NUMBERS, THERE, YES_NO, Asked, asked

INSTRUMENTS: Mapping[str, str] = {"flute": "笛子", "horn": "号角", "bell": "铃", "drum": "鼓"}
HEIGHTS: Mapping[str, tuple[str, float]] = {"low": ("低音", 220.0), "middle": ("中音", 520.0), "high": ("高音", 1_250.0)}
"""English → Chinese, and about how many hertz."""
NOTE_SECONDS, GAP_SECONDS = 0.22, 0.05
MOST = 4


class Note(NamedTuple):
    """An instrument at a height."""

    instrument: str
    height: str

    @property
    def held_out(self) -> bool:
        """Whether only tunes to judge on have it: one height of each instrument but the last."""
        return list(INSTRUMENTS).index(self.instrument) == list(HEIGHTS).index(self.height) if self.instrument != "drum" else False

    @property
    def words(self) -> Words:
        return Words(f"{self.height} {self.instrument}", f"{HEIGHTS[self.height][0]}{INSTRUMENTS[self.instrument]}")


NOTES = tuple(Note(instrument, height) for instrument in INSTRUMENTS for height in HEIGHTS)


@dataclass(frozen=True)
class Tune:
    """Notes one after another, and how they are played."""

    notes: tuple[Note, ...]
    seed: int

    def wav(self) -> bytes:
        """The recording, 8,000 samples a second; no note sounds twice alike."""
        random = generator(self.seed, "sound")
        gap = np.zeros(round(GAP_SECONDS * RATE))
        parts = [part for note in self.notes for part in (gap, _played(note, random))]
        samples = np.concatenate([*parts, gap])
        return wave_file(samples * random.uniform(0.5, 0.9) + random.normal(0, 0.003, len(samples)))

    def questions(self) -> Iterator[Asked]:
        """One question of each kind that fits the tune, each in a language by a coin; see `scenes.Scene.questions`."""
        return _Asker(self.notes, any(note.held_out for note in self.notes), generator(self.seed, "questions")).all()


@dataclass(frozen=True)
class _Asker:
    """Asks about one tune."""

    notes: Sequence[Note]
    held_out: bool
    random: np.random.Generator

    def all(self) -> Iterator[Asked]:
        for kind in (self._count, self._instrument, self._height, self._order, self._there, self._caption):
            found = kind("en" if self.random.random() < 0.5 else "zh")
            if found is not None:
                yield found

    def _count(self, language: Language) -> Asked:
        return asked("count", Words("How many notes are there?", "有几个音？"), NUMBERS[len(self.notes)], language)

    def _end(self) -> tuple[Note, Words]:
        """The first note or the last one."""
        ends = [(self.notes[0], Words("first", "第一个")), (self.notes[-1], Words("last", "最后一个"))]
        if self.held_out:
            ends = [end for end in ends if end[0].held_out] or ends
        return ends[int(self.random.integers(len(ends)))]

    def _instrument(self, language: Language) -> Asked:
        note, which = self._end()
        question = Words(f"What plays the {which.en} note?", f"{which.zh}音是什么乐器？")
        return asked("instrument", question, Words(f"a {note.instrument}", INSTRUMENTS[note.instrument]), language)

    def _height(self, language: Language) -> Asked:
        note, which = self._end()
        question = Words(f"How high is the {which.en} note?", f"{which.zh}音有多高？")
        return asked("height", question, Words(note.height, HEIGHTS[note.height][0]), language)

    def _order(self, language: Language) -> Asked | None:
        played = [note.instrument for note in self.notes]
        once = [instrument for instrument in INSTRUMENTS if played.count(instrument) == 1]
        if len(once) < 2:
            return None
        one, other = (once[place] for place in self.random.permutation(len(once))[:2])
        question = Words(f"Does the {one} play before the {other}?", f"{INSTRUMENTS[one]}在{INSTRUMENTS[other]}之前吗？")
        return asked("order", question, YES_NO[played.index(one) < played.index(other)], language)

    def _there(self, language: Language) -> Asked:
        there = bool(self.random.random() < 0.5)
        known = [note for note in NOTES if (note in self.notes) == there and (self.held_out or not note.held_out)]
        if self.held_out:
            known = [note for note in known if note.held_out] or known
        note = known[int(self.random.integers(len(known)))]
        return asked("there", Words(f"Is there a {note.words.en}?", f"有{note.words.zh}吗？"), THERE[there], language)

    def _caption(self, language: Language) -> Asked:
        en, zh = ", ".join(f"a {note.words.en}" for note in self.notes), "，".join(note.words.zh for note in self.notes)
        return asked("caption", Words("Describe the sound.", "描述这段声音。"), Words(en, zh), language)


def tunes(*, seed: int = 0, held_out: bool = False) -> Iterator[Tune]:
    """Tunes without end; see `scenes.scenes`."""
    known = [note for note in NOTES if not note.held_out]
    new = [note for note in NOTES if note.held_out]
    number = 0
    while True:
        random = generator(seed, "tunes", number, int(held_out))
        notes = [known[int(place)] for place in random.integers(0, len(known), int(random.integers(1, MOST + 1)))]
        if held_out:
            notes[int(random.choice([0, len(notes) - 1]))] = new[int(random.integers(len(new)))]
        yield Tune(tuple(notes), derive_seed(seed, "tune", number, int(held_out)))
        number += 1


def _played(note: Note, random: np.random.Generator) -> np.ndarray:
    """One note's samples, at most 1."""
    count = round(NOTE_SECONDS * random.uniform(0.9, 1.1) * RATE)
    time = np.arange(count) / RATE
    pitch = HEIGHTS[note.height][1] * 2 ** random.uniform(-0.15, 0.15)
    if note.instrument == "drum":
        made = _noise(count, pitch, random) * np.exp(-time * 18)
    elif note.instrument == "bell":
        made = _partials(time, pitch, (1.0, 2.76, 5.4), (1.0, 0.6, 0.25), random) * np.exp(-time * 14)
    elif note.instrument == "horn":
        made = _partials(time, pitch, range(1, 9), [1 / order for order in range(1, 9)], random)
    else:
        made = _partials(time, pitch, (1, 2), (1.0, 0.08), random)
    edge = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.008 * RATE))
    return edge * made / max(float(np.abs(made).max()), 1e-6)


def _partials(
    time: np.ndarray, pitch: float, orders: Sequence[float], loudness: Sequence[float], random: np.random.Generator
) -> np.ndarray:  # fmt: skip
    phases = random.uniform(0, 2 * np.pi, len(orders))
    below = [(order, loud, phase) for order, loud, phase in zip(orders, loudness, phases, strict=True) if order * pitch < 0.47 * RATE]
    return sum(loud * np.sin(2 * np.pi * order * pitch * time + phase) for order, loud, phase in below)


def _noise(count: int, center: float, random: np.random.Generator) -> np.ndarray:
    """Noise of an octave or so around a frequency."""
    spectrum = np.fft.rfft(random.normal(0, 1, count))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(count, 1 / RATE), 1.0) / center)
    return np.fft.irfft(spectrum * np.exp(-((octaves / 0.6) ** 2)), count)
