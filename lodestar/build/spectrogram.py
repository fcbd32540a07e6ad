"""Log-mel spectrograms: what a recogniser hears of the samples, and what hides a part of it in training.

Axes: B batch, N samples, F frames, M mel bands, K frequencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 1e-6
"""The least power of a band whose logarithm is taken as it is."""


@dataclass(frozen=True)
class MelSettings:
    """How samples become a spectrogram. The defaults are Whisper's (Radford et al. 2022, https://arxiv.org/abs/2212.04356)."""

    rate: int = 16_000
    """Samples a second."""
    bands: int = 80
    window: int = 400
    """Samples that a frame sees, through a Hann window: 25 ms."""
    transform: int = 400
    """Samples of the Fourier transform, of which the window is the middle; the others are zero."""
    hop: int = 160
    """Samples from one frame to the next: 10 ms."""
    lowest: float = 0.0
    """Hertz; where the bands begin."""
    highest: float | None = None
    """Hertz; where they end. Half of the rate where None."""
    edges: Literal["reflect", "silence"] = "reflect"
    """What is before and after the samples: themselves, backwards (Whisper's, over the padding of its 30 s); or nothing, so that padding
    changes no frame."""
    scale: Literal["whisper", "bands", "log"] = "whisper"
    """whisper: tenfold logarithms, the lowest 8 under the highest of the recording, to about -1 … 1. bands: natural logarithms, each band
    of mean 0 and deviation 1 over the recording, which takes out a microphone's colour and a speaker's loudness. log: natural logarithms
    as they are, no lower than that of `FLOOR`: sound can be made of them again."""

    def __post_init__(self) -> None:
        top = self.rate / 2 if self.highest is None else self.highest
        if not 0 <= self.lowest < top <= self.rate / 2:
            what = f"the bands go from {self.lowest:g} to {top:g} Hz, and {self.rate} samples a second hold {self.rate / 2:g}"
            raise ValueError(f"{what}; give lowest < highest ≤ {self.rate / 2:g}")
        if not self.hop <= self.window <= self.transform:
            sizes = f"a hop of {self.hop}, a window of {self.window} and a transform of {self.transform} samples"
            raise ValueError(f"{sizes} do not fit into each other; give hop ≤ window ≤ transform")

    @classmethod
    def at(cls, rate: int, bands: int) -> MelSettings:
        """Those of a recogniser of our own at a rate: 25 ms every 10 ms, each band set to mean 0 and deviation 1."""
        window = rate // 40
        transform = max(512 * rate // 16_000, window)
        return cls(rate, bands, window, transform, rate // 100, lowest=20.0, edges="silence", scale="bands")

    @classmethod
    def of_synthesis(cls, rate: int, bands: int) -> MelSettings:
        """Those of a synthesiser at a rate: 50 ms every 12.5 ms, as in Tacotron (Wang et al. 2017, https://arxiv.org/abs/1703.10135)."""
        hop = rate // 80
        return cls(rate, bands, 4 * hop, 1 << (4 * hop - 1).bit_length(), hop, edges="silence", scale="log")

    def frames(self, samples: Tensor) -> Tensor:
        """How many frames become of so many samples, each a whole number: one at every hop, as long as samples last."""
        return torch.div(samples + self.hop - 1, self.hop, rounding_mode="floor")


class LogMel(nn.Module):
    """Samples → log-mel spectrograms, batched. It has no weights."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: MelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.make_buffers()

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute the window and the filters, which follow from the settings and so are not part of the state."""
        settings = self.settings
        before = (settings.transform - settings.window) // 2
        window = F.pad(torch.hann_window(settings.window, periodic=True), (before, settings.transform - settings.window - before))
        self.register_buffer("window", window.to(device), persistent=False)
        self.register_buffer("filters", torch.tensor(mel_filters(settings), dtype=torch.float32).to(device), persistent=False)

    def forward(self, samples_BN: Tensor, sample_mask: Tensor | None = None) -> Tensor:
        """Samples (B, N) in -1 … 1 → (B, M, F), F = ⌈N / hop⌉; 0 on the frames of padding.

        Args:
            sample_mask: (B, N), True on real samples, which stand before the padding; None where there is none.
        """
        settings, half = self.settings, self.settings.transform // 2
        frames = -(-samples_BN.shape[1] // settings.hop)
        real_BF = None
        if sample_mask is not None:
            samples_BN = samples_BN.masked_fill(~sample_mask, 0.0)
            real_BF = torch.arange(frames, device=samples_BN.device) < settings.frames(sample_mask.sum(-1))[:, None]
        mode = "reflect" if settings.edges == "reflect" else "constant"
        padded = F.pad(samples_BN[:, None], (half, half), mode=mode)[:, 0]
        spectrum = torch.stft(
            padded, settings.transform, settings.hop, window=self.window, center=False, return_complex=True
        )  # fmt: skip
        power_BKF = spectrum[..., :frames].abs().square()
        return self._scaled(self.filters @ power_BKF, real_BF)

    def _scaled(self, mel_BMF: Tensor, real_BF: Tensor | None) -> Tensor:
        real_B1F = torch.ones_like(mel_BMF[:, :1], dtype=torch.bool) if real_BF is None else real_BF[:, None]
        if self.settings.scale == "whisper":
            log_BMF = mel_BMF.clamp(min=1e-10).log10()
            highest = log_BMF.masked_fill(~real_B1F, -torch.inf).amax((1, 2), keepdim=True)
            return ((torch.maximum(log_BMF, highest - 8.0) + 4.0) / 4.0).masked_fill(~real_B1F, 0.0)
        if self.settings.scale == "log":
            return mel_BMF.clamp(min=FLOOR).log().masked_fill(~real_B1F, 0.0)
        log_BMF = mel_BMF.clamp(min=1e-8).log().masked_fill(~real_B1F, 0.0)
        frames = real_B1F.sum(-1, keepdim=True).clamp(min=1)
        apart_BMF = (log_BMF - log_BMF.sum(-1, keepdim=True) / frames).masked_fill(~real_B1F, 0.0)
        deviation = (apart_BMF.square().sum(-1, keepdim=True) / frames).sqrt()
        return apart_BMF / (deviation + 1e-2)  # silence, which has no deviation, stays 0


def mel_filters(settings: MelSettings) -> np.ndarray:
    """Triangles over the frequencies of the transform, (M, K), float64, each of area 1.

    The mel scale is Slaney's (1998, "Auditory Toolbox"): linear to 1 kHz, logarithmic above; as in librosa and Whisper.
    """
    top = settings.rate / 2 if settings.highest is None else settings.highest
    begin, end = _mel(np.array([settings.lowest, top]))
    corners = _hertz(np.linspace(begin, end, settings.bands + 2))
    frequencies = np.linspace(0, settings.rate / 2, settings.transform // 2 + 1)
    rising = (frequencies - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - frequencies) / (corners[2:] - corners[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (corners[2:] - corners[:-2]))[:, None]


_LINEAR = 200 / 3  # Hertz in one mel below 1 kHz, which is 15 mel
_STEP = math.log(6.4) / 27  # of the logarithm of hertz in one mel above


def _mel(hertz: np.ndarray) -> np.ndarray:
    return np.where(hertz < 1_000, hertz / _LINEAR, 15 + np.log(np.maximum(hertz, 1_000) / 1_000) / _STEP)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * _LINEAR, 1_000 * np.exp(_STEP * (mel - 15)))


@dataclass(frozen=True)
class SpecAugment:
    """Bands of frequencies and stretches of time that are hidden in training. Park et al. 2019, https://arxiv.org/abs/1904.08779."""

    frequency_masks: int = 2
    frequency_width: int = 27
    """F: a mask hides from 0 to F bands, each as likely."""
    time_masks: int = 2
    time_width: int = 40
    """T: a mask hides from 0 to T frames, each as likely …"""
    time_share: float = 0.2
    """… but at most this share of a recording's own frames."""

    def __call__(self, mel_BMF: Tensor, frames_B: Tensor) -> Tensor:
        """(B, M, F) with other parts of each recording at 0, which is the mean of a band; drawn from torch's generator, as dropout is.

        Args:
            frames_B: of each recording, those that are no padding.
        """
        _, bands, longest = mel_BMF.shape
        device = mel_BMF.device
        most_bands = torch.full((len(mel_BMF),), min(self.frequency_width, bands), device=device)
        hidden_BM = _stretches(most_bands, torch.full_like(most_bands, bands), bands, self.frequency_masks)
        most_frames = (frames_B * self.time_share).long().clamp(max=self.time_width)
        hidden_BF = _stretches(most_frames, frames_B, longest, self.time_masks)
        return mel_BMF.masked_fill(hidden_BM[:, :, None] | hidden_BF[:, None], 0.0)


def _stretches(most_B: Tensor, lengths_B: Tensor, places: int, count: int) -> Tensor:
    """(B, places), True within `count` stretches of 0 … most places, each somewhere within the row's length."""
    size = (len(most_B), count)
    widths = (torch.rand(size, device=most_B.device) * (most_B[:, None] + 1)).long()
    starts = (torch.rand(size, device=most_B.device) * (lengths_B[:, None] - widths + 1)).long()
    place = torch.arange(places, device=most_B.device)
    return ((place >= starts[..., None]) & (place < (starts + widths)[..., None])).any(1)


def change_speed(samples_BN: Tensor, numerator: int, denominator: int) -> Tensor:
    """Samples (B, N) played numerator / denominator times as fast, (B, ⌈N · denominator / numerator⌉), pitch and all.

    Ko et al. 2015, "Audio augmentation for speech recognition". Each output is a windowed sinc's sum over 16 zero crossings on each side.
    """
    common = math.gcd(numerator, denominator)
    down, up = numerator // common, denominator // common  # samples taken and given in one period
    if up == down:
        return samples_BN
    cutoff, reach = min(1.0, up / down), 16
    half = math.ceil(reach / cutoff)
    # Output p of a period stands at p · down / up of the input; the kernel's taps stand at whole inputs around the period's first.
    times = torch.arange(-half, half + down, dtype=torch.float64)[None] - torch.arange(up, dtype=torch.float64)[:, None] * down / up
    scaled = times * cutoff
    taper = torch.cos(scaled.clamp(-reach, reach) * math.pi / (2 * reach)).square()
    kernel = (cutoff * torch.sinc(scaled) * taper)[:, None].to(samples_BN)
    wanted = -(-samples_BN.shape[1] * up // down)
    periods = -(-wanted // up)
    behind = max((periods - 1) * down + half + down - samples_BN.shape[1], 0)
    made_BUP = F.conv1d(F.pad(samples_BN[:, None], (half, behind)), kernel, stride=down)
    return made_BUP.mT.flatten(1)[:, :wanted]
