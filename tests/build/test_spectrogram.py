"""Spectrograms held against transformers' Whisper and librosa; masks and speed by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from librosa.feature import melspectrogram
from librosa.filters import mel as mel_of_librosa
from scipy.signal import resample_poly
from transformers import WhisperFeatureExtractor

from lodestar.build.spectrogram import LogMel, MelSettings, SpecAugment, change_speed, mel_filters

OURS = MelSettings.at(8_000, 40)


def speech(seconds, rate=16_000, seed=0):
    """A buzz with formants and pauses, and some noise."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 120 * k * time) / k * np.exp(-(((120 * k - 700) / 600) ** 2)) for k in range(1, 30))
    return (0.3 * buzz * (np.sin(2 * np.pi * 1.5 * time) > -0.3) + 0.003 * random.standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize(("seconds", "bands"), [(3.21, 80), (30.0, 80), (2.5, 128)])
def test_equal_to_whispers(seconds, bands):
    samples = speech(seconds)
    theirs = WhisperFeatureExtractor(feature_size=bands)(samples, sampling_rate=16_000, return_tensors="np").input_features[0]
    padded = torch.from_numpy(np.pad(samples, (0, 480_000 - len(samples))))
    ours = LogMel(MelSettings(bands=bands))(padded[None])[0].numpy()
    assert ours.shape == theirs.shape == (bands, 3_000)
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize(
    "settings", [MelSettings(), OURS, MelSettings(22_050, 100, 1_024, 1_024, 256, lowest=40.0, highest=7_600.0, edges="silence")]
)
def test_equal_to_librosas(settings):
    theirs = mel_of_librosa(
        sr=settings.rate, n_fft=settings.transform, n_mels=settings.bands, fmin=settings.lowest, fmax=settings.highest, dtype=np.float64
    )  # fmt: skip
    np.testing.assert_allclose(mel_filters(settings), theirs, atol=1e-12)
    samples = speech(1.237, settings.rate)
    mel = melspectrogram(
        y=samples, sr=settings.rate, n_fft=settings.transform, win_length=settings.window, hop_length=settings.hop, n_mels=settings.bands,
        fmin=settings.lowest, fmax=settings.highest, center=True, pad_mode="reflect" if settings.edges == "reflect" else "constant",
    )  # fmt: skip
    frames = int(settings.frames(torch.tensor(len(samples))))
    ours = LogMel(settings)(torch.from_numpy(samples)[None])[0].numpy()
    assert ours.shape == (settings.bands, frames)
    if settings.scale == "whisper":
        log = np.log10(np.maximum(mel[:, :frames], 1e-10))
        expected = (np.maximum(log, log.max() - 8) + 4) / 4
    else:
        log = np.log(np.maximum(mel[:, :frames], 1e-8))
        expected = (log - log.mean(1, keepdims=True)) / (log.std(1, keepdims=True) + 1e-2)
    assert np.abs(ours - expected).max() < 1e-4


@pytest.mark.parametrize("settings", [OURS, MelSettings(edges="silence")])
def test_padding_changes_no_frame(settings):
    lengths = [1_601, 4_000, 799, 1]
    samples = [torch.from_numpy(speech(1.0, settings.rate, seed)[:length]) for seed, length in enumerate(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True, padding_value=0.7)  # whatever stands there
    mask = torch.arange(4_000) < torch.tensor(lengths)[:, None]
    front = LogMel(settings)
    together = front(padded, mask)
    for row, one in enumerate(samples):
        alone = front(one[None])[0]
        torch.testing.assert_close(together[row, :, : alone.shape[1]], alone, atol=2e-5, rtol=0)
        assert (together[row, :, alone.shape[1] :] == 0).all()


def test_silence_and_loudness():
    front = LogMel(OURS)
    assert front(torch.zeros(1, 8_000)).abs().max() < 1e-3
    loud = torch.from_numpy(speech(1.0, 8_000))[None]
    torch.testing.assert_close(front(loud), front(loud / 8), atol=0.02, rtol=0)  # less where the floor is near


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"highest": 9_000.0}, "from 0 to 9000 Hz, and 16000 samples a second hold 8000"), ({"hop": 500}, "do not fit into each other")],
)
def test_settings_that_cannot_be_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        MelSettings(**wrong)


def runs(hidden):
    """(start, width) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], hidden.astype(int), [0]))))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_masks_hide_whole_bands_and_frames_within_their_limits():
    torch.manual_seed(0)
    augment = SpecAugment(frequency_masks=1, frequency_width=5, time_masks=1, time_width=12, time_share=0.2)
    frames = torch.tensor([100, 30] * 200)
    made = augment(torch.ones(400, 20, 100), frames).numpy() == 0
    widths: dict[int, list[int]] = {100: [], 30: []}
    bands: list[int] = []
    for hidden, length in zip(made, frames.tolist(), strict=True):
        columns, rows = hidden.all(0), hidden.all(1)
        np.testing.assert_array_equal(hidden, columns[None] | rows[:, None])  # nothing but whole bands and whole frames
        (stretch,) = runs(columns) or [(0, 0)]
        assert stretch[0] + stretch[1] <= length  # never in the padding
        widths[length].append(stretch[1])
        bands.append(int(rows.sum()))
        assert len(runs(rows)) <= 1
    assert set(widths[100]) == set(range(13))  # each width up to T
    assert set(widths[30]) == set(range(7))  # 0.2 of 30
    assert set(bands) == set(range(6))
    assert abs(np.mean(bands) - 2.5) < 0.25  # each as likely; 3 standard errors
    torch.manual_seed(0)
    again = augment(torch.ones(400, 20, 100), frames).numpy() == 0
    np.testing.assert_array_equal(made, again)


@pytest.mark.parametrize(("faster", "than"), [(9, 10), (11, 10), (5, 4)])
def test_speed_changes_length_and_pitch(faster, than):
    rate = 8_000
    time = np.arange(rate) / rate
    tone = torch.from_numpy(np.sin(2 * np.pi * 440 * time)).float()[None]
    made = change_speed(tone, faster, than)[0].numpy()
    assert len(made) == -(-rate * than // faster)
    expected = np.sin(2 * np.pi * 440 * faster / than * np.arange(len(made)) / rate)
    assert np.abs(made - expected)[100:-100].max() < 2e-3
    noise = np.random.default_rng(0).standard_normal(2_003)
    smooth = resample_poly(noise, 1, 3)  # nothing above a third of what the rate holds, which all filters pass
    smooth = resample_poly(smooth, 3, 1).astype(np.float32)
    ours = change_speed(torch.from_numpy(smooth)[None], faster, than)[0].numpy()
    theirs = resample_poly(smooth.astype(float), than, faster, window=("kaiser", 9.0))
    assert np.abs(ours - theirs)[50:-50].max() < 0.02 * smooth.std()


def test_speed_leaves_no_echo_of_what_is_too_high():
    rate = 8_000
    high = torch.sin(2 * torch.pi * 3_900 * torch.arange(rate) / rate)[None]  # twice as fast, it would be heard at 200 Hz
    assert change_speed(high, 2, 1)[0, 100:-100].abs().max() < 2e-3  # -54 dB
    torch.testing.assert_close(change_speed(high, 7, 7), high)
