"""What is written can be read again, by another library."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from lodestar.contracts.media import SoundFormat
from lodestar.prepare.robot_voice import Voice, say
from lodestar.prepare.sound_files import sixteen_bits, wave_header, write_sound

SAMPLES = say(["moon"], Voice(), 0)


@pytest.mark.parametrize(
    ("form", "rate", "tolerance"), [("wav", 11_000, 1e-4), ("flac", 11_000, 1e-4), ("mp3", 16_000, 0.2), ("opus", 16_000, 0.2)]
)
def test_a_file_holds_the_samples(form: SoundFormat, rate: int, tolerance: float) -> None:
    read, found = soundfile.read(io.BytesIO(write_sound(SAMPLES, rate, form)))
    assert found == rate
    assert len(read) == pytest.approx(len(SAMPLES), abs=3_000)
    assert np.sqrt(np.mean(read**2)) == pytest.approx(float(np.sqrt(np.mean(SAMPLES**2))), rel=max(tolerance, 1e-3))
    if form in ("wav", "flac"):
        np.testing.assert_allclose(read, SAMPLES, atol=tolerance)


@pytest.mark.parametrize("form", ["mp3", "opus"])
def test_a_rate_that_a_format_cannot_have_becomes_the_next_one(form: SoundFormat) -> None:
    _, rate = soundfile.read(io.BytesIO(write_sound(SAMPLES, 11_000, form)))
    assert rate == {"mp3": 11_025, "opus": 12_000}[form]


def test_bare_samples_and_a_header_of_unknown_length() -> None:
    bare = write_sound(SAMPLES, 8_000, "pcm")
    assert bare == sixteen_bits(SAMPLES)
    np.testing.assert_allclose(np.frombuffer(bare, "<i2") / 32_767, SAMPLES, atol=1e-4)
    read, rate = soundfile.read(io.BytesIO(wave_header(8_000) + bare))
    assert rate == 8_000
    assert len(read) == len(SAMPLES)
    assert sixteen_bits(np.array([2.0, -2.0])) == b"\xff\x7f\x01\x80"
