"""A synthesiser of our own: symbols to a spectrogram and a pitch, all frames at once, and sound from these.

One Transformer reads the symbols; each is said for as many frames as is predicted; another makes the frames: Ren et al. 2020
(FastSpeech 2), https://arxiv.org/abs/2006.04558. How long each symbol lasts is learnt from nothing but recordings and their texts, in the
same run: see alignment.py.

Axes: B batch, S symbols, F frames, M mel bands, N samples, W model width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.errors import UserError
from ..contracts.symbols import TONES
from ..contracts.task import Batch, device_of
from ..model.config import ModelConfig
from ..model.transformer import Transformer
from .alignment import Aligner, durations_of, forward_sum
from .convolutions import ConvStack
from .griffin_lim import sound_of
from .measuring import evaluating
from .spectrogram import FLOOR, LogMel, MelSettings
from .vocoder import Vocoder, spectral_loss

INT16 = 32_768
"""Full scale of the samples that are kept for training."""
CONVOLUTIONS = 2
"""Blocks before each Transformer, which tell it what stands beside what. # assumed"""
CROP_FRAMES = 40
"""Frames of a recording that the vocoder learns from in one step: half a second."""
ALIGNMENT, DURATION, PITCH, VOICING, VOCODER = 0.05, 0.1, 0.1, 0.1, 0.1
"""What each part of the loss counts beside the mean square of a frame's error. # assumed; FastPitch has 0.1 for durations and pitch"""
LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0
"""Where a predicted pitch is kept."""


@dataclass(frozen=True)
class Voices:
    """What of the training recordings the numbers in the model stand for."""

    mel_mean: float = -6.0
    """Of the log-mel spectrograms …"""
    mel_deviation: float = 3.0
    pitch_mean: float = 5.0
    """… and of the natural logarithms of the pitches in hertz."""
    pitch_deviation: float = 0.3
    count: int = 1

    @classmethod
    def measured(cls, mels_MF: Sequence[np.ndarray], pitches_F: Sequence[np.ndarray], count: int) -> Voices:
        """The means and deviations over some recordings."""
        mel = np.concatenate([each.ravel() for each in mels_MF])
        pitch = np.concatenate([each[each > 0] for each in pitches_F])
        logs = np.log(pitch) if len(pitch) else np.full(1, cls.pitch_mean)
        return cls(float(mel.mean()), max(float(mel.std()), 0.1), float(logs.mean()), max(float(logs.std()), 0.05), count)


class Frames(NamedTuple):
    """What is to be heard, frame by frame."""

    mel: Tensor
    """(B, M, F), normalised: mean 0 and deviation 1 over the training recordings."""
    pitch: Tensor
    """(B, F): its logarithm, normalised so."""
    voicing: Tensor
    """(B, F): logits."""


class SpeechSynthesizer(nn.Module):
    """Symbols → frames → samples.

    Args:
        config: of an encoder; its vocabulary is the symbols, its context the most frames that are made at once, its depth that of either
            Transformer.
        vocoder: whether it learns one of its own; otherwise sound is made by Griffin and Lim's algorithm.
    """

    def __init__(self, config: ModelConfig, settings: MelSettings, voices: Voices, *, vocoder: bool = True) -> None:
        super().__init__()
        self.config, self.voices, width = config, voices, config.width
        self.front = LogMel(settings)
        self.symbol = nn.Embedding(config.vocabulary_size, width)
        self.tone = nn.Embedding(TONES, width)
        self.voice = nn.Embedding(voices.count, width)
        for table in (self.symbol, self.tone, self.voice):
            nn.init.normal_(table.weight, std=width**-0.5)
        bare = dataclasses.replace(config, vocabulary_size=0)
        self.reading, self.reader = ConvStack(width, CONVOLUTIONS), Transformer(bare)
        self.lasting, self.duration = ConvStack(width, 1), nn.Linear(width, 1)
        self.place = nn.Linear(3, width)
        self.saying, self.sayer = ConvStack(width, CONVOLUTIONS), Transformer(bare)
        self.frame = nn.Linear(width, settings.bands + 2)
        self.aligner = Aligner(width, settings.bands)
        self.vocoder = Vocoder(settings) if vocoder else None

    @property
    def settings(self) -> MelSettings:
        return self.front.settings

    def embed(self, symbols_BS: Tensor, tones_BS: Tensor, voice_B: Tensor) -> Tensor:
        """(B, S, W)."""
        return self.symbol(symbols_BS.long()) + self.tone(tones_BS.long()) + self.voice(voice_B)[:, None]

    def read(self, embedded_BSW: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
        """The states of the symbols (B, S, W), and the logarithm of the frames that each lasts (B, S)."""
        states_BSW = self.reader.encode(None, mask_BS, embeddings=self.reading(embedded_BSW, mask_BS)).float()
        return states_BSW, self.duration(self.lasting(states_BSW, mask_BS))[..., 0]

    def say(self, states_BSW: Tensor, durations_BS: Tensor, voice_B: Tensor) -> Frames:
        """The frames, as many of each symbol as its duration says; those behind a row's last one are padding."""
        places_BF, along_BF3, mask_BF = spread(durations_BS)
        spread_BFW = states_BSW.gather(1, places_BF[..., None].expand(-1, -1, states_BSW.shape[-1]))
        x_BFW = spread_BFW + self.place(along_BF3) + self.voice(voice_B)[:, None]
        hidden_BFW = self.sayer.encode(None, mask_BF, embeddings=self.saying(x_BFW, mask_BF)).float()
        made_BFM = self.frame(hidden_BFW)
        return Frames(made_BFM[..., :-2].mT, made_BFM[..., -2], made_BFM[..., -1])

    def heard(self, samples_BN: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Samples → the normalised log-mel spectrogram (B, M, F); 0 on padding."""
        with torch.no_grad(), torch.autocast(samples_BN.device.type, enabled=False):
            mel_BMF = (self.front(samples_BN.float(), mask_BN) - self.voices.mel_mean) / self.voices.mel_deviation
        if mask_BN is None:
            return mel_BMF
        frames_B = self.settings.frames(mask_BN.sum(-1))
        return mel_BMF * (torch.arange(mel_BMF.shape[-1], device=mel_BMF.device) < frames_B[:, None])[:, None]

    def log_mel(self, mel_BMF: Tensor) -> Tensor:
        """Normalised → as `LogMel` gives it."""
        return mel_BMF * self.voices.mel_deviation + self.voices.mel_mean

    def hertz(self, pitch_BF: Tensor) -> Tensor:
        """Normalised logarithms → hertz."""
        return (pitch_BF * self.voices.pitch_deviation + self.voices.pitch_mean).exp().clamp(LOWEST_HZ, HIGHEST_HZ)

    def normalised_pitch(self, hertz_BF: Tensor) -> Tensor:
        """The inverse of `hertz`; of frames without a pitch some number."""
        return (hertz_BF.clamp(min=1.0).log() - self.voices.pitch_mean) / self.voices.pitch_deviation

    def analysed(self, samples_N: np.ndarray, hertz_F: np.ndarray) -> Spoken:
        """A recording as what it would be made of: its own frames."""
        with evaluating(self):
            samples_BN, hertz_BF = (torch.from_numpy(each)[None].to(device_of(self)) for each in (samples_N, hertz_F))
            mel_BMF = self.heard(samples_BN)
            voicing_BF = torch.where(hertz_BF > 0, 10.0, -10.0)
            return Spoken(Frames(mel_BMF, self.normalised_pitch(hertz_BF), voicing_BF), torch.tensor([len(hertz_F)]))

    def sound(self, frames: Frames) -> Tensor:
        """Samples (B, (F - 1) · hop) in -1 … 1, always the same of the same frames."""
        if self.vocoder is None:
            return sound_of(self.log_mel(frames.mel), self.front)
        voiced_BF = frames.voicing.sigmoid()
        made_BN = self.vocoder(
            frames.mel, self.hertz(frames.pitch), (voiced_BF > 0.5).float(), generator=torch.Generator().manual_seed(0)
        )  # fmt: skip
        return made_BN.clamp(-1, 1)


def spread(durations_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which symbol each frame says (B, F), where in it the frame stands (B, F, 3), and whether it is no padding (B, F).

    Where: the share of the symbol behind the frame's middle and before it, and the logarithm of its frames.
    """
    ends_BS = durations_BS.cumsum(-1)
    frames_B = ends_BS[:, -1]
    frame_BF = torch.arange(int(frames_B.max()), device=durations_BS.device).expand(len(durations_BS), -1).contiguous()
    places_BF = torch.searchsorted(ends_BS, frame_BF, right=True).clamp(max=durations_BS.shape[1] - 1)
    lasts_BF = durations_BS.gather(1, places_BF).clamp(min=1)
    share_BF = (frame_BF - (ends_BS.gather(1, places_BF) - lasts_BF) + 0.5) / lasts_BF
    along_BF3 = torch.stack((share_BF, 1 - share_BF, lasts_BF.float().log() / 2), -1)
    return places_BF, along_BF3, frame_BF < frames_B[:, None]


# Learning


def synthesis_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss summed over frames, and how many there are.

    Of each frame the mean square over bands, of voiced ones that of the pitch, and the voicing's cross-entropy; of the symbols the
    alignment's nats and the square of the logarithm of their durations; of the vocoder its spectra's distance.
    """
    assert isinstance(model, SpeechSynthesizer)
    samples_BN, mask_BN = batch["samples"].float() / INT16, batch["samples_mask"]
    mask_BS, voice_B = batch["symbols_mask"], batch["voice"]
    symbols_B, frames_B = mask_BS.sum(-1), batch["pitch_mask"].sum(-1)
    longest = int(frames_B.max())  # some of a batch's rows may be looked at alone, and are padded for the others
    mask_BF, pitch_BF = batch["pitch_mask"][:, :longest], batch["pitch"][:, :longest]
    mel_BMF = model.heard(samples_BN, mask_BN)[..., :longest]
    embedded_BSW = model.embed(batch["symbols"], batch["tones"], voice_B)
    alignment_BFS = model.aligner(embedded_BSW, mask_BS, mel_BMF, mask_BF).float()
    durations_BS = durations_of(alignment_BFS, symbols_B, frames_B)
    states_BSW, lasts_BS = model.read(embedded_BSW, mask_BS)
    made = model.say(states_BSW, durations_BS, voice_B)
    voiced_BF = (pitch_BF > 0) & mask_BF
    mel = ((made.mel.float() - mel_BMF).square().mean(1) * mask_BF).sum()
    pitch = ((made.pitch.float() - model.normalised_pitch(pitch_BF)).square() * voiced_BF).sum()
    voicing = (F.binary_cross_entropy_with_logits(made.voicing.float(), voiced_BF.float(), reduction="none") * mask_BF).sum()
    lasting = ((lasts_BS.float() - durations_BS.clamp(min=1).float().log()).square() * mask_BS).sum()
    aligning = forward_sum(alignment_BFS, symbols_B, frames_B).sum()
    loss = mel + PITCH * pitch + VOICING * voicing + DURATION * lasting + ALIGNMENT * aligning
    if model.vocoder is not None:
        loss = loss + VOCODER * (vocoder_losses(model, model.vocoder, samples_BN, mask_BN, mel_BMF, pitch_BF, frames_B) * frames_B).sum()
    return loss, frames_B.sum()


def vocoder_losses(
    model: SpeechSynthesizer, vocoder: Vocoder, samples_BN: Tensor, mask_BN: Tensor, mel_BMF: Tensor, pitch_BF: Tensor, frames_B: Tensor
) -> Tensor:
    """Of each row (B,), how far a stretch of its recording is from what the vocoder makes of its spectrogram.

    In training the stretch is drawn; otherwise it is the middle, so that a row's loss does not depend on its company.
    """
    hop, device = model.settings.hop, samples_BN.device
    spare_B = (frames_B - CROP_FRAMES).clamp(min=0)
    share_B = torch.rand(len(spare_B), device=device) if model.training else torch.full((len(spare_B),), 0.5, device=device)
    start_B = (share_B * (spare_B + 1)).long().clamp(max=spare_B)
    frames_BC = start_B[:, None] + torch.arange(CROP_FRAMES, device=device)
    inside_BC = frames_BC < frames_B[:, None]
    quiet = (math.log(FLOOR) - model.voices.mel_mean) / model.voices.mel_deviation
    chosen_BC = frames_BC.clamp(max=mel_BMF.shape[-1] - 1)
    cut_BMC = mel_BMF.gather(2, chosen_BC[:, None].expand(-1, mel_BMF.shape[1], -1)).where(inside_BC[:, None], quiet)
    hertz_BC = pitch_BF.gather(1, chosen_BC) * inside_BC
    voiced_BC = (hertz_BC > 0).float()
    filled_BC = hertz_BC.where(hertz_BC > 0, model.hertz(torch.zeros(())).item())
    generator = None if model.training else torch.Generator().manual_seed(0)
    made_BN = vocoder(cut_BMC, filled_BC, voiced_BC, generator=generator)
    places_BN = (start_B * hop)[:, None] + torch.arange((CROP_FRAMES - 1) * hop, device=device)
    real_BN = places_BN < mask_BN.sum(-1, keepdim=True)
    wanted_BN = samples_BN.gather(1, places_BN.clamp(max=samples_BN.shape[1] - 1)) * real_BN
    return spectral_loss(made_BN * real_BN, wanted_BN, model.settings.transform)


# Speaking


class TooLongError(UserError):
    """More than the model says at once."""

    def __init__(self, what: str) -> None:
        super().__init__(what, fix="put a full stop or a comma in between, or set a higher speed")


class Spoken(NamedTuple):
    """What became of one row of symbols."""

    frames: Frames
    durations: Tensor
    """Frames of each symbol (S,)."""


def speak(model: SpeechSynthesizer, symbols: Sequence[int], tones: Sequence[int], voice: int, speed: float = 1.0) -> Spoken:
    """The frames of a row of symbols, said `speed` times as fast as in the recordings.

    Raises:
        TooLongError: they are more than the model makes at once.
    """
    context, device = model.config.context, device_of(model)
    if len(symbols) > context:
        raise TooLongError(f"a sentence of {len(symbols)} sounds is longer than the model says at once ({context} frames)")
    with evaluating(model):
        symbols_BS, tones_BS = (torch.tensor([list(each)], device=device) for each in (symbols, tones))
        voice_B = torch.tensor([voice], device=device)
        mask_BS = torch.ones_like(symbols_BS, dtype=torch.bool)
        states_BSW, lasts_BS = model.read(model.embed(symbols_BS, tones_BS, voice_B), mask_BS)
        durations_BS = (lasts_BS.exp() / speed).round().clamp(min=1, max=context).long()
        frames = int(durations_BS.sum())
        if frames > context:
            raise TooLongError(f"a sentence of {frames} frames is longer than the model says at once ({context})")
        return Spoken(model.say(states_BSW, durations_BS, voice_B), durations_BS[0])


def sound_of_spoken(model: SpeechSynthesizer, spoken: Spoken) -> np.ndarray:
    """Float samples (N,) in -1 … 1."""
    with evaluating(model):
        samples: np.ndarray = model.sound(spoken.frames)[0].cpu().numpy()
    return samples


def aligned(model: SpeechSynthesizer, symbols: Sequence[int], tones: Sequence[int], voice: int, samples: np.ndarray) -> np.ndarray:
    """How many frames of a recording (N,) say each symbol (S,), in the likeliest alignment; 0 where there are fewer frames than symbols."""
    device = device_of(model)
    with evaluating(model):
        mel_BMF = model.heard(torch.from_numpy(samples)[None].to(device))
        if mel_BMF.shape[-1] < len(symbols):
            return np.zeros(len(symbols), np.int64)
        symbols_BS, tones_BS = (torch.tensor([list(each)], device=device) for each in (symbols, tones))
        mask_BS, mask_BF = (torch.ones(1, count, dtype=torch.bool, device=device) for count in (len(symbols), mel_BMF.shape[-1]))
        embedded_BSW = model.embed(symbols_BS, tones_BS, torch.tensor([voice], device=device))
        log_BFS = model.aligner(embedded_BSW, mask_BS, mel_BMF, mask_BF)
        durations: np.ndarray = durations_of(log_BFS, mask_BS.sum(-1), mask_BF.sum(-1))[0].cpu().numpy()
    return durations
