"""What is asked of a synthesiser, and its answer: sentences as symbols → sound, one by one; one that is too long for the model in parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator
from torch import nn

from ..contracts.config import Config
from ..contracts.media import STREAMED, SoundFormat
from ..contracts.symbols import EDGE, PAUSES, Symbol
from .synthesis import SpeechSynthesizer, Spoken, TooLongError, aligned, sound_of_spoken, speak

PAUSE_SECONDS = 0.25
"""Between two sentences. # assumed"""


LONGEST_INPUT = 4_096
"""Characters of a request; OpenAI's limit."""


class SpeechRequest(Config):
    """A text to be said: OpenAI's parameters, but for those that no model here has."""

    input: str = Field(max_length=LONGEST_INPUT)
    voice: str = ""
    """One of the recordings' voices; the first one where empty."""
    speed: float = Field(1.0, ge=0.25, le=4)
    """How many times as fast as in the recordings."""
    response_format: SoundFormat = "mp3"
    """pcm: 16 bits, little-endian, at the model's rate, without a header."""
    stream_format: Literal["audio", "sse"] = "audio"
    """Over HTTP: the file; or an event for each sentence, with the times of its sounds."""
    instructions: str = ""

    @field_validator("input")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("there is nothing to say; send a text")
        return text

    @model_validator(mode="after")
    def _can_be_done(self) -> SpeechRequest:
        if self.instructions:
            raise ValueError("the model takes no instructions; leave them out")
        if self.stream_format == "sse" and self.response_format not in STREAMED:
            raise ValueError(f"{self.response_format} cannot be sent sentence by sentence; set response_format to {' or '.join(STREAMED)}")
        return self


class Sound(NamedTuple):
    """A symbol that is said, and when."""

    symbol: str
    start: float
    """Seconds from the beginning of all that is said."""
    end: float


class Piece(NamedTuple):
    """A stretch of what is said, as soon as it is made."""

    samples: np.ndarray
    """Float (N,) in -1 … 1."""
    sounds: list[Sound]


class Chunk(NamedTuple):
    """The same, as the bytes of a file."""

    content: bytes
    sounds: list[Sound]


class Whole(NamedTuple):
    """One sentence, all of it."""

    said: list[Symbol]
    """As it was said: with the edges of its parts, where it was said in parts."""
    durations: np.ndarray
    """Frames of each symbol (S,)."""
    log_mel: np.ndarray
    """The logarithm of the mel power spectrogram that the model makes (M, F)."""
    samples: np.ndarray


class Reader:
    """A model that reads symbols aloud in one of its voices.

    Args:
        symbols: the names of those that the model knows, in the order of its embeddings.
        speed: how many times as fast as in the recordings.
    """

    def __init__(self, model: nn.Module, symbols: Sequence[str], voice: int, speed: float = 1.0) -> None:
        assert isinstance(model, SpeechSynthesizer)
        self.model, self.voice, self.speed = model, voice, speed
        self._places = {name: place for place, name in enumerate(symbols)}

    def speak(self, said: Sequence[Symbol]) -> Spoken:
        """The frames of one sentence; raises `TooLongError` where they are more than the model makes at once."""
        places, tones = [self._places[symbol.name] for symbol in said], [symbol.tone for symbol in said]
        return speak(self.model, places, tones, self.voice, self.speed)

    def whole(self, said: Sequence[Symbol]) -> Whole:
        """A sentence with what it was made of; raises `TooLongError` where a word of it is longer than the model says at once."""
        parts = list(self._parts(said))
        mels = [self.model.log_mel(spoken.frames.mel)[0].cpu().numpy() for _, spoken in parts]
        durations = np.concatenate([spoken.durations.cpu().numpy() for _, spoken in parts])
        samples = np.concatenate([sound_of_spoken(self.model, spoken) for _, spoken in parts])
        return Whole([symbol for part, _ in parts for symbol in part], durations, np.concatenate(mels, 1), samples)

    def align(self, said: Sequence[Symbol], samples: np.ndarray) -> np.ndarray:
        """How many frames of a recording say each symbol (S,): all 0 where the recording is too short for them."""
        places, tones = [self._places[symbol.name] for symbol in said], [symbol.tone for symbol in said]
        return aligned(self.model, places, tones, self.voice, samples)

    def pieces(self, rows: Sequence[Sequence[Symbol]]) -> Iterator[Piece]:
        """The sentences one by one, with a pause between two.

        Raises:
            TooLongError: a word, or what has no words, is longer than the model says at once.
        """
        rate, begin = self.model.settings.rate, 0
        for number, row in enumerate(rows):
            if number:
                pause = np.zeros(round(PAUSE_SECONDS * rate / self.speed), np.float32)
                begin += len(pause)
                yield Piece(pause, [])
            for part, spoken in self._parts(row):
                samples = sound_of_spoken(self.model, spoken)
                yield Piece(samples, self._sounds(part, spoken, begin, len(samples)))
                begin += len(samples)

    def _sounds(self, part: Sequence[Symbol], spoken: Spoken, begin: int, length: int) -> list[Sound]:
        """When each symbol is said, of a part that begins at this sample and has so many."""
        ends = np.minimum(spoken.durations.cpu().numpy().cumsum() * self.model.settings.hop, length)
        times = [round((begin + int(end)) / self.model.settings.rate, 4) for end in (0, *ends)]
        return [Sound(symbol.shown, *span) for symbol, span in zip(part, itertools.pairwise(times), strict=True)]

    def _parts(self, said: Sequence[Symbol]) -> Iterator[tuple[Sequence[Symbol], Spoken]]:
        """A sentence; one that is too long in parts, cut at a pause or between words near its middle."""
        try:
            spoken = self.speak(said)
        except TooLongError:
            cut = _cut(said)
            if cut is None:
                raise
            yield from self._parts([*said[:cut], Symbol(EDGE)])
            yield from self._parts([Symbol(EDGE), *said[cut + 1 :]])
            return
        yield said, spoken


def _cut(said: Sequence[Symbol]) -> int | None:
    """The pause nearest the middle of a sentence, of those between words where there is no other; None where there is none."""
    inner = range(2, len(said) - 2)
    places = [place for place in inner if said[place].name in PAUSES] or [place for place in inner if said[place].is_pause]
    return min(places, key=lambda place: abs(place - len(said) / 2), default=None)
