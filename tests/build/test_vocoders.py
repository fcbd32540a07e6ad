"""Griffin and Lim's algorithm against librosa; the vocoder's parts against closed forms."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from lodestar.build.griffin_lim import griffin_lim, linear_magnitudes, sound_of
from lodestar.build.spectrogram import LogMel, MelSettings
from lodestar.build.vocoder import Vocoder, minimum_phase, pulse_train, spectral_loss
from lodestar.prepare.robot_voice import RATE, Voice, say

SETTINGS = MelSettings.of_synthesis(RATE, 40)
FRONT = LogMel(SETTINGS)
SAMPLES = torch.from_numpy(say(["yes", "moon"], Voice(120), 0))[None]


def magnitudes(samples: torch.Tensor) -> torch.Tensor:
    return torch.stft(
        samples, SETTINGS.transform, SETTINGS.hop, window=FRONT.window, pad_mode="constant", return_complex=True
    ).abs()  # fmt: skip


def test_griffin_lim_is_librosas() -> None:
    wanted = magnitudes(SAMPLES)
    ours = griffin_lim(wanted, SETTINGS, FRONT.window, iterations=8, phases_BKF=torch.zeros_like(wanted))
    theirs = librosa.griffinlim(
        wanted[0].numpy(), n_iter=8, hop_length=SETTINGS.hop, win_length=SETTINGS.window, n_fft=SETTINGS.transform, init=None,
        momentum=0.99, pad_mode="constant",
    )  # fmt: skip
    np.testing.assert_allclose(ours[0].numpy(), theirs, atol=1e-3 * float(np.abs(theirs).max()))


def test_more_rounds_come_nearer_to_the_magnitudes() -> None:
    wanted = magnitudes(SAMPLES)
    errors = [
        float(torch.linalg.vector_norm(magnitudes(griffin_lim(wanted, SETTINGS, FRONT.window, iterations=rounds)) - wanted))
        for rounds in (1, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_magnitudes_have_the_bands_that_they_were_made_of() -> None:
    log_mel = FRONT(SAMPLES)
    made = linear_magnitudes(log_mel, FRONT.filters)
    assert (made >= 0).all()
    again = (FRONT.filters @ made.square()).clamp(min=1e-6).log()
    loud = log_mel > log_mel.max() - 7
    assert float((again - log_mel)[loud].abs().mean()) < 0.15  # bands overlap, so that not every spectrogram is one of powers
    sound = sound_of(log_mel, FRONT)
    assert sound.shape == (1, (log_mel.shape[-1] - 1) * SETTINGS.hop)


def test_pulses_are_the_sum_of_all_harmonics_below_half_of_the_rate() -> None:
    hertz, rate = 437.0, 8_000
    pulses = pulse_train(torch.full((1, 2_000), hertz, dtype=torch.float64), rate)[0].numpy()
    phase = 2 * np.pi * hertz / rate * np.arange(1, 2_001)
    count = int(rate / 2 / hertz)
    expected = sum(np.cos(k * phase) for k in range(1, count + 1)) * np.sqrt(2 / count)
    np.testing.assert_allclose(pulses, expected, atol=1e-6)


def test_a_gain_becomes_a_response_that_is_over_soonest() -> None:
    """H = 1 / (1 - 0.9 e^{-iω}) answers as soon as any filter with its gain can; it is found from its gain alone."""
    frequencies = torch.linspace(0, torch.pi, 257, dtype=torch.float64)
    response = 1 / (1 - 0.9 * torch.exp(-1j * frequencies))
    found = minimum_phase(response.abs().log()[None, :, None])[0, :, 0]
    torch.testing.assert_close(found, response, rtol=1e-4, atol=1e-4)


def test_the_spectral_loss_is_zero_of_equal_sounds_and_blind_to_phase() -> None:
    time = torch.arange(8_000) / RATE
    tone, shifted, other = (torch.sin(2 * torch.pi * hertz * time + start)[None] for hertz, start in ((440, 0.0), (440, 1.5), (600, 0.0)))
    assert float(spectral_loss(tone, tone, 512)[0]) == 0.0
    assert float(spectral_loss(shifted, tone, 512)[0]) < 0.2 * float(spectral_loss(other, tone, 512)[0])


def test_the_vocoder_makes_a_hop_for_each_frame_in_any_company_and_always_the_same() -> None:
    torch.manual_seed(0)
    vocoder = Vocoder(SETTINGS, width=16, depth=1).eval()
    mel, pitch, voiced = torch.randn(2, 40, 12), torch.full((2, 12), 130.0), torch.ones(2, 12)

    def made(rows: slice) -> torch.Tensor:
        return vocoder(mel[rows], pitch[rows], voiced[rows], generator=torch.Generator().manual_seed(0)).detach()

    both = made(slice(0, 2))
    assert both.shape == (2, 11 * SETTINGS.hop)
    torch.testing.assert_close(made(slice(1, 2)), both[1:], rtol=1e-4, atol=1e-5)
    assert torch.equal(made(slice(0, 2)), both)


def test_a_vocoder_learns_a_voice_better_than_griffin_lim_says_it() -> None:
    """One word by heart: after some steps its spectra are nearer to the recording's."""
    from lodestar.prepare.pitch import pitch_of

    torch.manual_seed(0)
    vocoder, mel = Vocoder(SETTINGS, width=32, depth=1), FRONT(SAMPLES)
    pitch = torch.from_numpy(pitch_of(SAMPLES[0].numpy(), RATE, SETTINGS.hop))[None]
    voiced = (pitch > 0).float()
    filled = pitch.where(pitch > 0, 120.0)
    wanted = SAMPLES[:, : (mel.shape[-1] - 1) * SETTINGS.hop]
    optimizer = torch.optim.Adam(vocoder.parameters(), lr=0.01)
    for _ in range(60):
        loss = spectral_loss(vocoder((mel + 6) / 3, filled, voiced), wanted, SETTINGS.transform).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    peer = float(spectral_loss(sound_of(mel, FRONT), wanted, SETTINGS.transform)[0])
    assert float(loss.detach()) < 0.8 * peer


@pytest.mark.parametrize("frames", [2, 3])
def test_the_shortest_sounds_are_made(frames: int) -> None:
    mel = FRONT(SAMPLES)[..., :frames]
    assert sound_of(mel, FRONT).shape[1] == (frames - 1) * SETTINGS.hop
