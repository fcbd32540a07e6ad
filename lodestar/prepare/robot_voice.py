"""A voice made by formula, for a sample that every machine can make: a buzz and a hiss, shaped by the resonances of a throat.

It is no person's, and what is learnt from it understands no person: it says a few words so that a recogniser can be tried before there are
recordings. Vowels are three resonances (formants; means of the tables of Peterson and Barney 1952 and of textbooks of Mandarin, rounded),
consonants are resonances, bands of noise and gaps, and between two sounds everything glides. Klatt 1980, "Software for a cascade/parallel
formant synthesizer", in the frequency domain: each harmonic of the buzz has the gain of the resonances at its frequency.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from ..contracts.randomness import derive_seed, generator

RATE = 8_000
"""Samples a second; that of a telephone."""
_FRAME = RATE // 200
"""Samples between two settings of the throat: 5 ms."""
_BANDWIDTHS = np.array([80.0, 110.0, 180.0])
"""Hertz, of the three resonances."""


class Sound(NamedTuple):
    """A setting of the throat."""

    formants: tuple[float, float, float]
    """Hertz."""
    buzz: float = 1.0
    hiss: float = 0.0
    center: float = 3_000.0
    """Of the hiss, in hertz …"""
    width: float = 800.0
    """… and how wide it is."""
    seconds: float = 0.09


SOUNDS = {
    # vowels, short and long
    "a": Sound((730, 1_250, 2_500), seconds=0.14), "e": Sound((530, 1_850, 2_500), seconds=0.11),
    "i": Sound((280, 2_250, 2_900), seconds=0.14), "o": Sound((480, 850, 2_450), seconds=0.14),
    "u": Sound((310, 820, 2_300), seconds=0.14), "I": Sound((400, 1_950, 2_550), seconds=0.09),
    "y": Sound((280, 1_850, 2_250), seconds=0.14), "@": Sound((500, 1_350, 2_450), seconds=0.12),
    "z`": Sound((350, 1_450, 2_100), 0.9, 0.05, 2_300, 500, 0.16),  # the vowel of shi
    # gliding and nasal
    "j": Sound((270, 2_200, 2_900), 0.7, seconds=0.05), "w": Sound((300, 650, 2_200), 0.7, seconds=0.06),
    "r": Sound((340, 1_150, 1_500), 0.7, seconds=0.07), "l": Sound((360, 1_250, 2_600), 0.6, seconds=0.06),
    "m": Sound((250, 950, 2_200), 0.4, seconds=0.08), "n": Sound((250, 1_500, 2_500), 0.4, seconds=0.08),
    "N": Sound((260, 1_900, 2_300), 0.4, seconds=0.09),
    # hissing
    "s": Sound((300, 1_700, 2_600), 0.0, 0.35, 3_700, 350, 0.11), "S": Sound((300, 1_700, 2_500), 0.0, 0.45, 2_500, 500, 0.11),
    "c": Sound((280, 2_200, 2_900), 0.0, 0.4, 3_100, 400, 0.1), "f": Sound((340, 1_100, 2_100), 0.0, 0.12, 2_600, 1_800, 0.09),
    "h": Sound((500, 1_500, 2_500), 0.0, 0.2, 1_500, 900, 0.06),
    # a gap, then a burst
    ".": Sound((300, 1_000, 2_300), 0.0, 0.0, seconds=0.05), "t": Sound((350, 1_800, 2_600), 0.0, 0.35, 3_400, 900, 0.025),
    "d": Sound((300, 1_700, 2_600), 0.4, 0.15, 3_000, 900, 0.03), "b": Sound((250, 800, 2_200), 0.5, 0.1, 700, 500, 0.03),
}  # fmt: skip
_REST = Sound((500, 1_500, 2_500), 0.0, 0.0, seconds=0.06)

WORDS: dict[str, tuple[str, str]] = {
    "yes": ("j e s", ""), "no": ("n o u", ""), "sea": ("s i", ""), "moon": ("m u n", ""), "wind": ("w I n . d", ""),
    "rain": ("r e I n", ""), "star": ("s . t a r", ""), "sail": ("s e I l", ""),
    "是": ("S z`", "51"), "不": (". b u", "51"), "海": ("h a I", "214"), "月": ("y e", "51"), "风": ("f @ N", "55"), "雨": ("y", "214"),
    "星": ("c i N", "55"), "帆": ("f a n", "55"),
}  # fmt: skip
"""What it can say: the sounds, and for Chinese the tone, as heights from 1 to 5 (Chao 1930)."""


@dataclass(frozen=True)
class Voice:
    """Who speaks."""

    pitch: float = 120.0
    """Hertz, in the middle of its range."""
    throat: float = 1.0
    """How much higher its resonances are: shorter throats have higher ones."""
    pace: float = 1.0
    """How much faster it speaks."""


def say(words: Sequence[str], voice: Voice, seed: int) -> np.ndarray:
    """Some of `WORDS`, one after another, as float32 samples (N,) at `RATE`.

    Args:
        seed: of the noise.
    """
    sounds, heights = [_REST], [0.0]
    for word in words:
        spelling, tone = WORDS[word]
        chosen = [SOUNDS[name] for name in spelling.split()]
        sounds += [*chosen, _REST]
        # Without a tone, the pitch falls a little, as at the end of a statement.
        contour = np.interp(
            np.linspace(0, 1, len(chosen) + 1), np.linspace(0, 1, max(len(tone), 2)), [float(each) for each in tone] or [3.5, 2.5]
        )
        heights += [*((contour[:-1] + contour[1:]) / 2 - 3), 0.0]
    table = np.array([[*sound.formants, sound.buzz, sound.hiss, sound.center, sound.width] for sound in sounds])
    table[:, :3] *= voice.throat
    seconds = np.array([sound.seconds for sound in sounds]) / voice.pace
    middles, length = np.cumsum(seconds) - seconds / 2, float(seconds.sum())
    times = np.arange(int(length * RATE)) / RATE
    setting = np.stack([np.interp(times, *_held(middles, seconds, column)) for column in table.T])
    pitch = voice.pitch * 2 ** (np.interp(times, middles, heights) / 6)  # five heights are two thirds of an octave
    made = _buzz(pitch, setting[:3], voice.throat) * setting[3] + _hiss(setting[4:], seed) * 2
    return (0.5 * made / max(float(np.abs(made).max()), 1e-6)).astype(np.float32)


def _held(middles: np.ndarray, seconds: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points between which to glide: each sound is held over the middle half of its time."""
    points = np.stack((middles - seconds / 4, middles + seconds / 4), 1).ravel()
    return points, np.repeat(values, 2)


def _buzz(pitch: np.ndarray, formants: np.ndarray, throat: float) -> np.ndarray:
    """Harmonics of the pitch in the resonances, falling by 6 dB an octave: 12 of the glottis, less 6 that the lips give back."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    made = np.zeros(len(pitch))
    for harmonic in range(1, int(RATE / 2 / pitch.min()) + 1):
        frequency = harmonic * pitch
        squares = frequency**2
        gain = np.ones(len(pitch))
        for formant, width in zip(formants, _BANDWIDTHS * throat, strict=True):
            gain *= formant**2 / np.sqrt((formant**2 - squares) ** 2 + squares * width**2)
        made += np.where(frequency < 0.47 * RATE, gain / harmonic, 0.0) * np.sin(harmonic * phase)
    return made


def _hiss(setting: np.ndarray, seed: int) -> np.ndarray:
    """White noise, shaped by a bell of each moment: loudness, middle and width (3, N)."""
    samples, window = setting.shape[1], 4 * _FRAME
    frames = samples // _FRAME + 4
    draw = generator(seed, "robot voice")
    spectra = np.fft.rfft(draw.standard_normal((frames, window)) * np.hanning(window), axis=1)
    frequencies = np.fft.rfftfreq(window, 1 / RATE)
    places = np.clip((np.arange(frames) - 1) * _FRAME, 0, samples - 1)
    loudness, center, width = (column[places, None] for column in setting)
    shaped = np.fft.irfft(spectra * loudness * np.exp(-0.5 * ((frequencies - center) / width) ** 2), axis=1)
    made = np.zeros((frames + 3) * _FRAME)
    for quarter in range(4):
        made[quarter * _FRAME : (quarter + frames) * _FRAME] += shaped[:, quarter * _FRAME : (quarter + 1) * _FRAME].ravel()
    return made[2 * _FRAME : 2 * _FRAME + samples]


def wave_file(samples: np.ndarray, rate: int = RATE) -> bytes:
    """Samples (N,) in -1 … 1 as a WAV file of 16 bits."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32_767).round().astype("<i2").tobytes())
    return held.getvalue()


VOICES = tuple(
    Voice(pitch, throat, pace) for pitch, throat, pace in ((100, 0.95, 1.0), (125, 1.0, 1.15), (180, 1.1, 0.95), (215, 1.15, 1.1))
)


@cache
def sample() -> Sequence[tuple[str, str, bytes]]:
    """Names, texts and WAV files: each voice says one word or two of a language at a time, every word as often as the others."""
    found: list[tuple[str, str, bytes]] = []
    for language, known in (("en", [word for word in WORDS if word.isascii()]), ("zh", [word for word in WORDS if not word.isascii()])):
        for number, voice in enumerate(VOICES):
            draw = generator(number, "robot sample", language)
            order = [known[place] for place in draw.permutation(len(known))]
            for place, size in enumerate([1, 2, 1, 1, 2, 1]):
                words, order = order[:size], order[size:]
                text = (" " if language == "en" else "").join(words)
                pitch, throat, pace = (1 + draw.uniform(-0.05, 0.05, 3)).tolist()  # nobody says a word twice alike
                speaks = Voice(voice.pitch * pitch, voice.throat * throat, voice.pace * pace)
                samples = say(words, speaks, derive_seed(number, language, place))
                found.append((f"{language}-{number}-{place}.wav", text, wave_file(samples)))
    return found
