"""What hears a recording: log-mel spectrogram, two convolutions, and an encoder over the frames.

Axes: B batch, N samples, M mel bands, F frames of the spectrogram, T frames of the model (half as many), W model width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..model.config import ModelConfig
from ..model.transformer import Transformer
from .spectrogram import LogMel, MelSettings
from .stems import MelStem


class SpeechEncoder(nn.Module):
    """The states of a recording's frames. The front end is Whisper's (Radford et al. 2022, https://arxiv.org/abs/2212.04356).

    Args:
        config: of an encoder, or an encoder-decoder; its context is the most frames that are heard at once.
        writes: the Transformer has the vocabulary of a decoder that writes beside it.
    """

    def __init__(self, config: ModelConfig, settings: MelSettings, *, writes: bool = False) -> None:
        super().__init__()
        self.config = config
        self.front = LogMel(settings)
        self.stem = MelStem(settings.bands, config.width, initial_std=config.width**-0.5)
        self.transformer = Transformer(config if writes else dataclasses.replace(config, vocabulary_size=0))

    @property
    def settings(self) -> MelSettings:
        return self.front.settings

    @property
    def frame_samples(self) -> int:
        """Samples from one frame of the model to the next."""
        return 2 * self.settings.hop

    @property
    def frame_seconds(self) -> float:
        return self.frame_samples / self.settings.rate

    def encode(
        self, samples: Tensor, sample_mask: Tensor | None = None, augment: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Samples (B, N) → the encoder's states (B, T, W), and of each row the frames that are no padding (B,).

        Args:
            sample_mask: (B, N), True on real samples, which stand before the padding.
            augment: spectrogram (B, M, F) and its rows' frames (B,) → another spectrogram.

        Raises:
            ValueError: there are more frames than the context.
        """
        lengths_B = torch.full((len(samples),), samples.shape[1], device=samples.device) if sample_mask is None else sample_mask.sum(-1)
        with torch.no_grad(), torch.autocast(samples.device.type, enabled=False):
            mel_BMF = self.front(samples.float(), sample_mask)
            mel_frames_B = self.settings.frames(lengths_B)
            if augment is not None:
                mel_BMF = augment(mel_BMF, mel_frames_B)
        frames_B = self.stem.frames(mel_frames_B)
        embedded_BTW = self.stem(mel_BMF, mel_frames_B)
        mask_BT = torch.arange(embedded_BTW.shape[1], device=samples.device) < frames_B[:, None]
        return self.transformer.encode(None, mask_BT, embeddings=embedded_BTW), frames_B
