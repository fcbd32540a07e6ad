"""A small neural vocoder: pulses at the voice's pitch and a hiss, each in a filter that a network reads off the spectrogram.

A source and filters, as a throat has them: the harmonics, whose phases a network of few minutes of training would never get right, are
right by construction. Engel et al. 2020 (DDSP), https://arxiv.org/abs/2001.04643; Wang et al. 2019 (neural source-filter),
https://arxiv.org/abs/1904.12088. The filters act in the short-time Fourier transform, and its inverse makes the samples, as in iSTFTNet
(Kaneko et al. 2022, https://arxiv.org/abs/2203.02395) and Vocos. Why not another: decisions/0012-synthesis.md.

Axes: B batch, M mel bands, F frames, K frequencies, N samples, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .convolutions import KERNEL, ConvStack
from .spectrogram import MelSettings

HARMONIC_BIAS, NOISE_BIAS = -3.0, -5.0
"""Log gains that the filters begin with: near those of speech at -20 dB. # assumed"""
LEAST = 3e-3
"""Magnitudes below this count as this, in the loss: a digital silence is as good as a quiet one."""


class Vocoder(nn.Module):
    """Normalised log-mel spectrogram, pitch and voicing → samples."""

    window: Tensor

    def __init__(self, settings: MelSettings, *, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.settings, frequencies = settings, settings.transform // 2 + 1
        self.entrance = nn.Conv1d(settings.bands + 2, width, KERNEL, padding=KERNEL // 2)
        self.stack = ConvStack(width, depth)
        self.norm = nn.LayerNorm(width)
        self.gains = nn.Linear(width, 2 * frequencies)
        nn.init.normal_(self.gains.weight, std=0.02)
        with torch.no_grad():
            self.gains.bias[:frequencies] = HARMONIC_BIAS
            self.gains.bias[frequencies:] = NOISE_BIAS
        self.make_buffers()

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute the window, which follows from the settings."""
        before = (self.settings.transform - self.settings.window) // 2
        window = F.pad(torch.hann_window(self.settings.window), (before, self.settings.transform - self.settings.window - before))
        self.register_buffer("window", window.to(device), persistent=False)

    def forward(self, mel_BMF: Tensor, pitch_BF: Tensor, voiced_BF: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Samples (B, (F - 1) · hop).

        Args:
            pitch_BF: in hertz; where nothing is voiced, any.
            voiced_BF: from 0 to 1.
            generator: of the hiss, which is then the same in each row.
        """
        harmonic_BKF, noise_BKF = self._log_gains(mel_BMF, pitch_BF, voiced_BF)
        samples = (mel_BMF.shape[-1] - 1) * self.settings.hop
        pulses_BN = pulse_train(_upsampled(pitch_BF, samples), self.settings.rate) * _upsampled(voiced_BF, samples)
        rows = len(mel_BMF) if generator is None else 1
        hiss_BN = torch.randn((rows, samples), generator=generator).to(pulses_BN).expand_as(pulses_BN)
        spectrum_BKF = self._transform(pulses_BN) * minimum_phase(harmonic_BKF) + self._transform(hiss_BN) * noise_BKF.exp()
        settings = self.settings
        return torch.istft(spectrum_BKF, settings.transform, settings.hop, window=self.window, length=samples)

    def _log_gains(self, mel_BMF: Tensor, pitch_BF: Tensor, voiced_BF: Tensor) -> tuple[Tensor, Tensor]:
        octaves_BF = (pitch_BF.clamp(min=1.0) / 200).log2() * voiced_BF
        x_BWF = self.entrance(torch.cat((mel_BMF, octaves_BF[:, None], voiced_BF[:, None]), 1))
        everything_BF = torch.ones_like(voiced_BF, dtype=torch.bool)
        gains_BKF = self.gains(self.norm(self.stack(x_BWF.mT, everything_BF))).mT.float()
        harmonic_BKF, noise_BKF = gains_BKF.clamp(-14, 6).chunk(2, 1)
        return harmonic_BKF, noise_BKF

    def _transform(self, samples_BN: Tensor) -> Tensor:
        settings = self.settings
        return torch.stft(
            samples_BN, settings.transform, settings.hop, window=self.window, pad_mode="constant", return_complex=True
        )  # fmt: skip


def _upsampled(frames_BF: Tensor, samples: int) -> Tensor:
    """A value a frame → one a sample, on straight lines (B, N); frame f stands at sample f · hop."""
    return F.interpolate(frames_BF[:, None], samples + 1, mode="linear", align_corners=True)[:, 0, :-1]


def pulse_train(pitch_BN: Tensor, rate: int) -> Tensor:
    """Pulses (B, N) of a pitch in hertz that have no frequency above half of the rate, with a power of 1.

    The sum of all harmonics' cosines in closed form (Dirichlet's kernel): Σ cos kφ = (sin((n + ½)φ) / sin(φ/2) - 1) / 2, k = 1 … n.
    """
    phase_BN = (pitch_BN.double() / rate).cumsum(-1) % 1.0 * (2 * torch.pi)
    count_BN = (rate / 2 / pitch_BN.double()).floor().clamp(min=1)
    half_BN = (phase_BN / 2).sin()
    near_BN = half_BN.abs() < 1e-6
    ratio_BN = ((count_BN + 0.5) * phase_BN).sin() / half_BN.masked_fill(near_BN, 1.0)
    summed_BN = torch.where(near_BN, count_BN, (ratio_BN - 1) / 2)
    return (summed_BN * (2 / count_BN).sqrt()).to(pitch_BN.dtype)


def minimum_phase(log_gains_BKF: Tensor) -> Tensor:
    """The frequency response (B, K, F), complex, with these log gains that answers as soon as any can: as a throat does.

    By the cepstrum: Oppenheim and Schafer, "Discrete-Time Signal Processing", section 12.
    """
    size = 2 * (log_gains_BKF.shape[1] - 1)
    cepstrum_BNF = torch.fft.irfft(log_gains_BKF, size, dim=1)
    fold_N = torch.zeros(size, device=log_gains_BKF.device)
    fold_N[0] = fold_N[size // 2] = 1.0
    fold_N[1 : size // 2] = 2.0
    return torch.fft.rfft(cepstrum_BNF * fold_N[:, None], dim=1).exp()


def spectral_loss(made_BN: Tensor, wanted_BN: Tensor, transform: int) -> Tensor:
    """Of each row (B,): how far the spectrograms of two sounds are apart, at three resolutions around `transform`.

    Yamamoto et al. 2020 (Parallel WaveGAN), https://arxiv.org/abs/1910.11480, equations 4 to 6: the relative error of the magnitudes, and
    the mean difference of their logarithms.
    """
    parts = []
    for size in (transform // 2, transform, 2 * transform):
        window = torch.hann_window(size, device=made_BN.device)
        made, wanted = (
            torch.stft(each, size, size // 4, window=window, pad_mode="constant", return_complex=True).abs().clamp(min=LEAST)
            for each in (made_BN, wanted_BN)
        )
        convergence_B = torch.linalg.vector_norm(wanted - made, dim=(1, 2)) / torch.linalg.vector_norm(wanted, dim=(1, 2))
        parts.append(convergence_B + (wanted.log() - made.log()).abs().mean((1, 2)))
    return torch.stack(parts).mean(0)
