"""Recordings, whatever they were saved as: one channel at one rate, whole or piece by piece.

Files are opened by libsndfile (WAV, FLAC, Ogg, MP3, AIFF and more). Never more than a piece of a recording is held, however long it is.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts.errors import UserError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Generator

RATES = range(1_000, 768_001)
"""Samples a second that a recording may have; outside of these the header is damaged."""
_BLOCK_VALUES = 1 << 20
"""Values, of all channels, that are read at once."""
_ZEROS = 64
"""Zero crossings of the filter on each side: with 100 dB, it passes what is below 0.9 of the lower rate's Nyquist frequency."""
_ATTENUATION_DB = 100.0
_FINEST = 4_096
"""The longest period of a ratio of rates. An odd ratio is taken to within 1 / 4096², which is a millisecond in four hours."""


class Resampler:
    """Samples at one rate → samples at another, piece by piece; where the pieces are cut changes nothing.

    A windowed sinc (Kaiser 1974) evaluated at the output's times alone: Crochiere and Rabiner 1981. Sample 0 stays at time 0, and n
    samples become ⌈n · to / from⌉; before and after them the recording is taken for zero.

    Args:
        rate: samples a second that come in.
        wanted: samples a second that go out.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        self.up, self.down = _ratio(rate, wanted)
        self._held = np.zeros(0, np.float32)
        """The samples from `_first` on, which is a multiple of `down`: there an output falls on an input."""
        self._first = self._taken = self._given = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take samples (N,); the outputs that no later sample can change."""
        self._taken += len(samples)
        if self.up == self.down:
            return samples.astype(np.float32, copy=False)
        self._held = np.concatenate((self._held, samples.astype(np.float32, copy=False)))
        reach = _filter(self.up, self.down)[1]
        return self._outputs(max((self._taken * self.up - reach - 1) // self.down + 1, self._given))

    def finish(self) -> np.ndarray:
        """The outputs that were still waiting for samples."""
        return np.zeros(0, np.float32) if self.up == self.down else self._outputs(-(-self._taken * self.up // self.down))

    def _outputs(self, end: int) -> np.ndarray:
        """The outputs from the first that was not given to `end`; what they alone needed is dropped."""
        if end <= self._given:
            return np.zeros(0, np.float32)
        from scipy.signal import upfirdn

        taps, reach = _filter(self.up, self.down)
        # Output n stands at n · down of the upsampled time, where input k stands at k · up; the filter's middle is `delay` outputs late.
        delay, skipped = reach // self.down, self._first // self.down * self.up
        needed = max((end - 1) * self.down + reach - self._first * self.up, 0) // self.up + 1
        block = np.pad(self._held, (0, max(needed - len(self._held), 0)))
        made = upfirdn(taps, block, self.up, self.down)[self._given - skipped + delay : end - skipped + delay]
        self._given = end
        first = max((end * self.down - reach) // self.up, 0) // self.down * self.down
        if first > self._first:
            self._held, self._first = self._held[first - self._first :], first
        return made.astype(np.float32, copy=False)


def stream_sound(source: Path | bytes, rate: int) -> Iterator[np.ndarray]:
    """The recording as float32 pieces (N,) of one channel, the mean of all that it has, at `rate` samples a second.

    A piece is of some seconds; together they are what `read_sound` gives.

    Raises:
        UserError: it is no recording that can be read, holds no sound, is damaged, or holds a number that is none.
    """
    with _opened(source) as file:
        resampler, where, known = Resampler(file.samplerate, rate), _name(source), False
        while len(block := _block(file, where)):
            known = True
            if len(piece := resampler.push(block)):
                yield piece
        if not known:
            raise UserError("the recording holds no sound", where=where, fix="give one that does")
        if len(piece := resampler.finish()):
            yield piece


def read_sound(source: Path | bytes, rate: int) -> np.ndarray:
    """A whole recording as float32 (N,) of one channel at `rate` samples a second.

    Raises:
        UserError: as `stream_sound`.
    """
    return np.concatenate(list(stream_sound(source, rate)))


@contextmanager
def _opened(source: Path | bytes) -> Generator[Any]:
    """A recording, open for reading."""
    try:
        import soundfile
    except ImportError:
        raise missing_extra("soundfile", "sound", why="reading a recording") from None
    where = _name(source)
    if not (source if isinstance(source, bytes) else _size(source)):
        raise UserError("the file is empty", where=where, fix="give a recording")
    try:
        file = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except soundfile.LibsndfileError as error:
        raise _unreadable(error.error_string, where) from None
    except TypeError:  # of a name that ends in .raw, soundfile asks what is inside
        raise _unreadable("samples without a header", where) from None
    with file:
        if file.samplerate not in RATES:
            what = f"the recording claims {file.samplerate:,} samples a second"
            raise UserError(what, where=where, fix=f"give one with {RATES[0]:,} to {RATES[-1]:,}")
        yield file


def _block(file: Any, where: str) -> np.ndarray:
    """The next samples, the mean of the channels; none at the end."""
    import soundfile

    try:
        block = file.read(max(_BLOCK_VALUES // file.channels, 1), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _unreadable(error.error_string, where) from None
    mono = block.mean(1) if file.channels > 1 else block[:, 0]
    if not np.isfinite(mono).all():
        raise UserError("the recording holds a sample that is no number", where=where, fix="save it again")
    return mono


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise UserError(f"the recording cannot be read ({error.strerror})", where=path, fix="check the path") from None


def _name(source: Path | bytes) -> str:
    return "the recording" if isinstance(source, bytes) else str(source)


def _unreadable(reason: str, where: str) -> UserError:
    return UserError(
        f"not a recording that can be read ({reason.strip().rstrip('.')})", where=where, fix="save it as WAV, FLAC, Ogg or MP3"
    )


def _ratio(rate: int, wanted: int) -> tuple[int, int]:
    """wanted / rate in lowest terms, (up, down)."""
    if wanted >= rate:
        small = Fraction(rate, wanted).limit_denominator(_FINEST)
        return small.denominator, small.numerator
    small = Fraction(wanted, rate).limit_denominator(_FINEST)
    return small.numerator, small.denominator


@cache
def _filter(up: int, down: int) -> tuple[np.ndarray, int]:
    """The low-pass filter at `up` times the incoming rate, padded so that its middle, the number given with it, is a multiple of down."""
    from scipy.signal import firwin

    widest = max(up, down)
    half = _ZEROS * widest
    beta = 0.1102 * (_ATTENUATION_DB - 8.7)  # Kaiser's formula
    taps = up * firwin(2 * half + 1, 0.95 / widest, window=("kaiser", beta))
    padding = -half % down
    return np.concatenate((np.zeros(padding), taps)).astype(np.float32), half + padding
