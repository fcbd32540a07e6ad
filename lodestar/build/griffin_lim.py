"""Sound from a spectrogram without any training: the phases that fit its magnitudes best.

Axes: B batch, M mel bands, K frequencies, F frames, N samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .spectrogram import LogMel, MelSettings

ITERATIONS, MOMENTUM = 32, 0.99
"""Perraudin et al. 2013 find the fastest gains at a momentum of 0.99; after 32 rounds little more is gained."""
_UPDATES = 32
"""Of the magnitudes that a mel spectrogram was made of. # measured: further ones change nothing that MCD shows"""


def griffin_lim(
    magnitudes_BKF: Tensor, settings: MelSettings, window: Tensor, *, iterations: int = ITERATIONS, phases_BKF: Tensor | None = None
) -> Tensor:
    """Magnitudes (B, K, F) → samples (B, (F - 1) · hop) whose short-time Fourier transform has nearly these.

    Griffin and Lim 1984, accelerated: Perraudin, Balazs and Søndergaard 2013, https://doi.org/10.1109/WASPAA.2013.6701851.

    Args:
        window: of the transform's size, which the magnitudes were made with.
        phases_BKF: in radians, to begin with; drawn, always the same, where None.
    """
    if phases_BKF is None:
        phases_BKF = torch.rand(magnitudes_BKF.shape, generator=torch.Generator().manual_seed(0)).to(magnitudes_BKF) * (2 * torch.pi)
    spectrum_BKF, before_BKF = torch.polar(magnitudes_BKF, phases_BKF), torch.zeros((), dtype=torch.complex64)
    for _ in range(iterations):
        rebuilt_BKF = _forward(_inverse(spectrum_BKF, settings, window), settings, window)
        ahead_BKF = rebuilt_BKF - MOMENTUM / (1 + MOMENTUM) * before_BKF.to(rebuilt_BKF)
        spectrum_BKF = magnitudes_BKF * ahead_BKF / ahead_BKF.abs().clamp(min=1e-16)
        before_BKF = rebuilt_BKF
    return _inverse(spectrum_BKF, settings, window)


def _forward(samples_BN: Tensor, settings: MelSettings, window: Tensor) -> Tensor:
    return torch.stft(samples_BN, settings.transform, settings.hop, window=window, pad_mode="constant", return_complex=True)


def _inverse(spectrum_BKF: Tensor, settings: MelSettings, window: Tensor) -> Tensor:
    return torch.istft(spectrum_BKF, settings.transform, settings.hop, window=window)


def linear_magnitudes(log_mel_BMF: Tensor, filters_MK: Tensor) -> Tensor:
    """The magnitudes (B, K, F), none below 0, that give nearly this logarithm of a mel power spectrogram (B, M, F).

    Multiplicative updates of non-negative least squares: Lee and Seung 2001, of the powers.
    """
    mel_BMF = log_mel_BMF.exp()
    wanted_BKF = filters_MK.mT @ mel_BMF
    reach_K1 = filters_MK.sum(0)[:, None].clamp(min=1e-12)
    power_BKF = wanted_BKF / (reach_K1 * filters_MK.sum(1).mean())
    for _ in range(_UPDATES):
        power_BKF = power_BKF * wanted_BKF / (filters_MK.mT @ (filters_MK @ power_BKF)).clamp(min=1e-12)
    return power_BKF.sqrt()


def sound_of(log_mel_BMF: Tensor, front: LogMel) -> Tensor:
    """A log-mel spectrogram (B, M, F) as samples (B, (F - 1) · hop) in -1 … 1."""
    magnitudes_BKF = linear_magnitudes(log_mel_BMF, front.filters)
    return griffin_lim(magnitudes_BKF, front.settings, front.window).clamp(-1, 1)
