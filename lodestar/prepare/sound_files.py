"""Samples → the content of a file: WAV, FLAC, MP3, Opus, or bare samples."""

from __future__ import annotations

import io
import struct

import numpy as np

from ..contracts.errors import missing_extra
from ..contracts.media import STREAMED, SoundFormat
from .sound import Resampler

_CODES: dict[str, tuple[str, str]] = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16")}
_RATES: dict[str, tuple[int, ...]] = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000), "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}  # fmt: skip
"""Samples a second that a format can have."""
_UNKNOWN = 0xFFFFFFFF


def write_sound(samples: np.ndarray, rate: int, form: SoundFormat) -> bytes:
    """Float samples (N,) in -1 … 1 as a file of one channel; `pcm` is 16 bits, little-endian, without a header.

    A format that cannot have the rate is given the next higher one that it can have.

    Raises:
        UserError: the format needs a package that is not installed.
    """
    if form in STREAMED:
        content = sixteen_bits(samples)
        return (wave_header(rate, len(content)) if form == "wav" else b"") + content
    try:
        import soundfile
    except ImportError:
        raise missing_extra("soundfile", "sound", why=f"writing {form}") from None
    allowed = _RATES.get(form, (rate,))
    wanted = next((each for each in allowed if each >= rate), allowed[-1])
    resampler = Resampler(rate, wanted)
    samples = np.concatenate((resampler.push(samples), resampler.finish()))
    held = io.BytesIO()
    container, code = _CODES[form]
    soundfile.write(held, np.clip(samples, -1, 1), wanted, subtype=code, format=container)
    return held.getvalue()


def sixteen_bits(samples: np.ndarray) -> bytes:
    """Float samples (N,) in -1 … 1 as 16 bits, little-endian."""
    return (np.clip(samples, -1, 1) * 32_767).round().astype("<i2").tobytes()


def wave_header(rate: int, size: int | None = None) -> bytes:
    """Of a WAV file of one channel, 16 bits, with so many bytes of samples; where the size is not known yet, it claims the most there can
    be, and players read on to the end.
    """
    size = _UNKNOWN - 36 if size is None else size
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)
