"""Mel-cepstral distortion against SciPy's cosine transform and librosa's warping."""

from __future__ import annotations

import math

import numpy as np
import pytest
from librosa.sequence import dtw
from scipy.fft import dct

from lodestar.evaluate.mel_cepstral import COEFFICIENTS, MeanSounds, cepstra, distances, mel_cepstral_distortion, warped_mean


def test_cepstra_are_scipys_cosine_transform() -> None:
    log_mel = np.random.default_rng(0).normal(size=(40, 7))
    expected = dct(log_mel / 2, axis=0, norm="ortho")[1 : COEFFICIENTS + 1] * math.sqrt(2 / 40)
    np.testing.assert_allclose(cepstra(log_mel), expected.T, atol=1e-12)


def test_the_path_is_librosas() -> None:
    draw = np.random.default_rng(1)
    for rows, columns in ((1, 1), (1, 6), (9, 4), (20, 31)):
        costs = draw.random((rows, columns))
        total, path = dtw(C=costs)
        assert warped_mean(costs) == pytest.approx(total[-1, -1] / len(path))


def test_distances_are_the_formula() -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 3, COEFFICIENTS))
    expected = [[10 / math.log(10) * math.sqrt(2 * sum((x - y) ** 2)) for y in b] for x in a]
    np.testing.assert_allclose(distances(a, b), expected)


def test_timing_and_loudness_are_left_aside() -> None:
    sound = np.random.default_rng(3).normal(size=(30, 12))
    assert mel_cepstral_distortion(sound, sound) == pytest.approx(0.0, abs=1e-5)
    assert mel_cepstral_distortion(np.repeat(sound, 2, 1) + 3.0, sound) == pytest.approx(0.0, abs=1e-5)
    assert mel_cepstral_distortion(sound, np.random.default_rng(4).normal(size=(30, 12))) > 1


def test_mean_sounds_say_what_they_heard() -> None:
    means = MeanSounds()
    means.learn(["a", "b"], np.repeat(np.array([[1.0, 5.0], [2.0, 6.0]]), 3, 1))
    means.learn(["b"], np.array([[7.0], [8.0]]))
    np.testing.assert_allclose(means.say(["b", "a"]), [[5.5, 5.5, 1, 1, 1], [6.5, 6.5, 2, 2, 2]])
