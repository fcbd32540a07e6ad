"""Pitch against closed forms; what is cut off a recording."""

from __future__ import annotations

import numpy as np
import pytest

from lodestar.prepare.pitch import LOUDNESS, pitch_of, spoken_part
from lodestar.prepare.robot_voice import RATE, Voice, say


def tone(hertz: float, rate: int = 16_000, seconds: float = 0.5) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 9)) * 0.1  # type: ignore[return-value]


@pytest.mark.parametrize("hertz", [80.0, 123.4, 220.0, 400.0])
def test_a_tone_has_its_pitch(hertz: float) -> None:
    found = pitch_of(tone(hertz), 16_000, 200)
    assert len(found) == 40
    np.testing.assert_allclose(found[4:-4], hertz, rtol=2e-3)


def test_noise_and_silence_have_none() -> None:
    noise = np.random.default_rng(0).normal(size=8_000)
    assert (pitch_of(noise, 16_000, 200) > 0).mean() < 0.05
    assert not pitch_of(np.zeros(8_000), 16_000, 200).any()
    assert len(pitch_of(np.zeros(0), 16_000, 200)) == 0


def test_a_voice_has_the_pitch_that_it_was_made_with() -> None:
    """Without a tone the robot falls from half a height above its middle to half a height below; a height is a sixth of an octave."""
    found = pitch_of(say(["moon", "no"], Voice(130), 0), RATE, 100)
    voiced = found[found > 0]
    assert len(voiced) > 20
    inside = (voiced > 130 * 2 ** (-0.55 / 6)) & (voiced < 130 * 2 ** (0.55 / 6))
    assert inside.mean() > 0.95


def test_what_is_said_is_kept_at_one_loudness() -> None:
    word = tone(150, 8_000)
    recording = np.concatenate((np.zeros(8_000), 0.02 * word, np.zeros(16_000))).astype(np.float32)
    said = spoken_part(recording, 8_000)
    assert len(word) <= len(said) <= len(word) + 2 * 0.05 * 8_000 + 160
    assert np.sqrt(np.mean(said[800:-800] ** 2)) == pytest.approx(LOUDNESS, rel=0.1)
    assert len(spoken_part(np.full(8_000, 1e-5, np.float32), 8_000)) == 0
    assert len(spoken_part(np.zeros(0, np.float32), 8_000)) == 0
    click = np.zeros(8_000, np.float32)
    click[4_000] = 0.5
    assert np.abs(spoken_part(click, 8_000)).max() <= 1.0
