"""The robot of robot_voice.py, reading aloud: a sample for a synthesiser that every machine can make, in two voices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ..contracts.randomness import derive_seed, generator
from .robot_voice import WORDS, Voice, say, wave_file

VOICES = {"bass": Voice(105, 0.97), "treble": Voice(190, 1.12)}
EACH = 16
"""Recordings of each voice in each language."""


class Reading(NamedTuple):
    """One recording."""

    name: str
    text: str
    voice: str
    content: bytes
    """A WAV file."""


@cache
def sample() -> Sequence[Reading]:
    """Of one to three words, no text twice by the same voice. What the robot says by word is what is read by sentence: where a tone would
    be changed by the next one (不是, 海雨), it does not put the two together.
    """
    made: list[Reading] = []
    for language in ("en", "zh"):
        known = [word for word in WORDS if word.isascii() == (language == "en")]
        for voice, speaks in VOICES.items():
            draw, texts = generator(0, "robot reader", language, voice), dict[str, list[str]]()
            while len(texts) < EACH:
                words = [known[int(place)] for place in draw.integers(len(known), size=1 + len(texts) % 3)]
                if not any(_changes(*pair) for pair in itertools.pairwise(words)):
                    texts[(" " if language == "en" else "").join(words)] = words
            for place, (text, words) in enumerate(texts.items()):
                content = wave_file(say(words, speaks, derive_seed(0, language, voice, place)))
                made.append(Reading(f"{language}-{voice}-{place}.wav", text, voice, content))
    return made


def _changes(before: str, after: str) -> bool:
    """Whether Mandarin says two words otherwise together than apart."""
    tones = [WORDS[word][1] for word in (before, after)]
    return tones == ["214", "214"] or (before == "不" and tones[1] == "51")
