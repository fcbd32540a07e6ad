"""A recogniser of our own: log-mel spectrogram, encoder, and for each frame one of the tokens or none; perhaps a decoder that writes what
was heard; and how it hears recordings.

Axes: B batch, N samples, M mel bands, F frames of the spectrogram, T frames of the model (half as many), U tokens of a text, V vocabulary,
W model width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.task import IGNORE, device_of
from ..contracts.text import UNSPACED
from ..contracts.tokenizer import END_OF_TEXT, PAD, SPECIAL_TOKENS, Tokenizer
from ..model.beam import BeamSettings, beam_search
from ..model.config import ModelConfig
from ..model.steps import make_step
from .ctc import Fusion, PrefixBeam, Span, align, frames_needed, greedy, words
from .measuring import batches_by_length, evaluating
from .spectrogram import LogMel, MelSettings, SpecAugment, change_speed
from .speech_encoder import SpeechEncoder

END = SPECIAL_TOKENS.index(END_OF_TEXT)
"""What a decoder writes last, and is given before it writes."""
BLANK = SPECIAL_TOKENS.index(PAD)
"""What a frame says that says nothing: padding, which no text holds."""
BLANK_BIAS = -3.0
"""What the blank's logit begins with. From 0, training first learns to say nothing, and long says nothing else; so it first learns to say
something. # measured: three words by heart in 60 steps, where 0 knows none
"""
SILENCE = 1e-3
"""A recording whose highest sample is below this (-60 dB of full scale) says nothing, and the model is not asked. # assumed"""
INT16 = 32_768
"""Full scale of the samples that are kept for training."""


class SpeechRecognizer(SpeechEncoder):
    """The likeliest token of each frame, or none: an encoder under connectionist temporal classification.

    Graves et al. 2006, https://doi.org/10.1145/1143844.1143891; the front end is Whisper's. The padding token, which no text holds, is
    what a frame says that says nothing.

    An encoder-decoder has both: its decoder writes the text, its encoder says where each token stands, and learns sooner what to listen to
    (Watanabe et al. 2017, https://doi.org/10.1109/JSTSP.2017.2763455).

    Args:
        config: of an encoder, or an encoder-decoder; its context is the most frames that are heard at once.
    """

    def __init__(self, config: ModelConfig, settings: MelSettings) -> None:
        super().__init__(config, settings, writes=config.architecture == "encoder-decoder")
        self.writes = config.architecture == "encoder-decoder"
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.width, config.vocabulary_size)
        nn.init.normal_(self.output.weight, std=config.initial_std)
        nn.init.zeros_(self.output.bias)
        nn.init.constant_(self.output.bias[BLANK], BLANK_BIAS)

    def forward(
        self, samples: Tensor, sample_mask: Tensor | None = None, augment: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Samples (B, N) → logits (B, T, V), and of each row the frames that are no padding (B,). The arguments are those of `encode`."""
        memory_BTW, frames_B = self.encode(samples, sample_mask, augment)
        return self.named(memory_BTW), frames_B

    def named(self, memory_BTW: Tensor) -> Tensor:
        """The encoder's states → logits (B, T, V) of what each frame says."""
        return self.output(self.dropout(memory_BTW))

    def write(self, memory_TW: Tensor, limit: int, beams: int) -> list[int]:
        """The tokens that the decoder writes of one recording's states, at most `limit`."""
        step = make_step(self.transformer, torch.tensor([[END]], device=memory_TW.device), limit, beams=beams, memory=memory_TW[None])
        return beam_search(step, [limit], [END], BeamSettings(beams))[0][0].tokens


def writing_loss(model: SpeechRecognizer, memory_BTW: Tensor, frames_B: Tensor, tokens_BU: Tensor, lengths_B: Tensor) -> Tensor:
    """The summed cross-entropy, in nats, of the texts' tokens and of their ends, each from those before it and from what was heard.

    Args:
        tokens_BU: the texts, padded behind with anything.
        lengths_B: tokens of each.
    """
    places = torch.arange(tokens_BU.shape[1] + 1, device=tokens_BU.device)
    before_BU = nn.functional.pad(tokens_BU, (1, 0), value=END)
    targets_BU = nn.functional.pad(tokens_BU, (0, 1), value=END).where(places < lengths_B[:, None], END)
    targets_BU = targets_BU.masked_fill(places > lengths_B[:, None], IGNORE)
    heard_BT = torch.arange(memory_BTW.shape[1], device=memory_BTW.device) < frames_B[:, None]
    hidden_BUW = model.transformer.hidden(before_BU, memory=memory_BTW, source_mask=heard_BT)
    logits_BUV = model.transformer.logits(hidden_BUW).float()
    return nn.functional.cross_entropy(logits_BUV.flatten(0, 1), targets_BU.flatten(), ignore_index=IGNORE, reduction="sum")


@dataclass(frozen=True)
class Augmentation:
    """How recordings are altered in training, so that no two readings of one are alike."""

    speeds: tuple[float, float] = (1.0, 1.0)
    """From … to: how many times as fast, pitch and all; one for each batch, each as likely."""
    masks: SpecAugment | None = None
    noise: float = 0.0
    """Up to this deviation over that of the recording, white noise is added, as much for each recording as is drawn."""

    def samples(self, samples_BN: Tensor, mask_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Other samples, and their mask; drawn from torch's generator."""
        slowest, fastest = self.speeds
        if slowest != fastest:
            drawn = slowest + (fastest - slowest) * float(torch.rand(()))
            # In steps of a fortieth, so that few filters are ever made, and never slower than asked for.
            numerator, denominator = max(round(40 * drawn), math.ceil(40 * slowest - 1e-9)), 40
            lengths_B = -(-mask_BN.sum(-1) * denominator // numerator)
            samples_BN = change_speed(samples_BN, numerator, denominator)
            mask_BN = torch.arange(samples_BN.shape[1], device=samples_BN.device) < lengths_B[:, None]
        if self.noise:
            loudness_B1 = (samples_BN.square().sum(-1, keepdim=True) / mask_BN.sum(-1, keepdim=True).clamp(min=1)).sqrt()
            share_B1 = self.noise * torch.rand_like(loudness_B1).square()  # more often little
            samples_BN = samples_BN + share_B1 * loudness_B1 * torch.randn_like(samples_BN)
        return samples_BN, mask_BN


class Segment(NamedTuple):
    """What is said between two pauses."""

    text: str
    start: float
    """Seconds from the beginning of the recording, as all times."""
    end: float
    words: list[tuple[str, float, float]]
    """Each word, where it begins and where it ends."""
    log_probability: float
    """The mean over the tokens, in nats; 0 without any."""


class Listener:
    """Turns recordings into texts with a model.

    Args:
        beams: 1 takes the likeliest path; more, the likeliest of the texts that are held.
        fusion: a language model that has a say.
    """

    PAUSE_SECONDS = 0.6
    """Frames that say nothing for so long cut one segment from the next. # assumed: longer than a slow speaker's vowel"""
    MARGIN_SECONDS = 1.0
    """What a chunk hears on each side beyond what is taken of it. # assumed: a word or two"""

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, *, beams: int = 8, fusion: Fusion | None = None) -> None:
        assert isinstance(model, SpeechRecognizer)
        self.model, self.tokenizer, self.beams, self.fusion = model, tokenizer, beams, fusion

    def texts(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """The text of each recording of float samples (N,), in the order given; those of like length are heard together."""
        most = self.model.config.context * self.model.frame_samples
        found = [""] * len(recordings)
        short = [place for place, recording in enumerate(recordings) if 0 < len(recording) <= most]
        for batch in batches_by_length([len(recordings[place]) for place in short], budget=most):
            places = [short[each] for each in batch]
            for place, log_TV in zip(places, self._hear([recordings[place] for place in places]), strict=True):
                found[place] = joined(segment.text for segment in self._said([log_TV]))
        for place, recording in enumerate(recordings):
            if len(recording) > most:
                found[place] = joined(segment.text for segment in self.segments([recording]))
        return found

    def segments(self, pieces: Iterable[np.ndarray]) -> Iterator[Segment]:
        """What is said in a recording that comes in pieces of float samples (N,), as soon as a pause follows it.

        No more than a chunk of it is held, which is as long as the model's context.
        """
        return self._said(self._chunks(pieces))

    def _chunks(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Log-probabilities (T, V) of all frames of a recording, each once and in order."""
        step, context = self.model.frame_samples, self.model.config.context
        margin = min(round(self.MARGIN_SECONDS / self.model.frame_seconds), context // 4)
        buffer, given = np.zeros(0, np.float32), 0  # frames at the buffer's beginning that were given already
        for piece in pieces:
            buffer = np.concatenate((buffer, piece))
            while len(buffer) > context * step:  # something follows, so that there is a margin behind, too
                (log_TV,) = self._hear([buffer[: context * step]])
                yield log_TV[given : context - margin]
                buffer, given = buffer[(context - 2 * margin) * step :], margin
        if len(buffer) > given * step:
            (log_TV,) = self._hear([buffer])
            yield log_TV[given:]

    def _hear(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What each frame of each says: log-probabilities (T, V), and beside them, for a decoder, the states that they were made of
        (T, V + W).
        """
        loud = [recording for recording in recordings if float(np.abs(recording).max()) >= SILENCE]
        heard = iter(self._read(loud) if loud else ())
        return [next(heard) if float(np.abs(recording).max()) >= SILENCE else self._nothing(recording) for recording in recordings]

    def _read(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        device = device_of(self.model)
        lengths_B = torch.tensor([len(recording) for recording in recordings], device=device)
        samples_BN = nn.utils.rnn.pad_sequence([torch.from_numpy(recording) for recording in recordings], batch_first=True).to(device)
        mask_BN = torch.arange(samples_BN.shape[1], device=device) < lengths_B[:, None]
        with evaluating(self.model):
            memory_BTW, frames_B = self.model.encode(samples_BN, mask_BN)
            log_BTV = self.model.named(memory_BTW).float().log_softmax(-1)
            rows = torch.cat((log_BTV, memory_BTW.float()), -1) if self.model.writes else log_BTV
        return [row[:frames] for row, frames in zip(rows.cpu().numpy(), frames_B.tolist(), strict=True)]

    def _nothing(self, recording: np.ndarray) -> np.ndarray:
        """What a recording is read as in which nothing is said: for certain, a blank in each frame."""
        frames = -(-len(recording) // self.model.frame_samples)
        rows = np.zeros((frames, self._columns), np.float32)
        rows[:, : self._symbols] = -np.inf
        rows[:, BLANK] = 0.0
        return rows

    @property
    def _symbols(self) -> int:
        return self.model.config.vocabulary_size

    @property
    def _columns(self) -> int:
        """Numbers of a frame."""
        return self._symbols + (self.model.config.width if self.model.writes else 0)

    def _said(self, chunks: Iterable[np.ndarray]) -> Iterator[Segment]:
        """The segments of a recording, whose log-probabilities (T, V) come in chunks."""
        held, start = np.zeros((0, self._columns), np.float32), 0
        for log_TV in chunks:
            held = np.concatenate((held, log_TV))
            stretches, kept = self._ended(held)
            for begin, end in stretches:
                yield from self._segment(held[begin:end], start + begin)
            held, start = held[kept:], start + kept
        for begin, end in self._stretches(held):
            yield from self._segment(held[begin:end], start + begin)

    def _ended(self, log_TV: np.ndarray) -> tuple[list[tuple[int, int]], int]:
        """The stretches that a pause has ended, and the frame from which on all are to be looked at again."""
        stretches, frames = self._stretches(log_TV), len(log_TV)
        if frames > 2 * self.model.config.context:
            return stretches, frames  # somebody who speaks without a pause is cut off
        if stretches and stretches[-1][1] == frames:
            return stretches[:-1], stretches[-1][0]
        return stretches, max(frames - self._pause // 2, stretches[-1][1] if stretches else 0)

    def _stretches(self, log_TV: np.ndarray) -> list[tuple[int, int]]:
        """Where something is said, with half a pause on each side, as far as there is one; shorter pauses lie within."""
        spoken = np.flatnonzero(log_TV[:, : self._symbols].argmax(-1) != BLANK)
        if not len(spoken):
            return []
        cuts, half = np.flatnonzero(np.diff(spoken) > self._pause), self._pause // 2
        begins, ends = spoken[np.concatenate(([0], cuts + 1))] - half, spoken[np.concatenate((cuts, [len(spoken) - 1]))] + 1 + half
        return [(max(int(begin), 0), min(int(end), len(log_TV))) for begin, end in zip(begins, ends, strict=True)]

    @property
    def _pause(self) -> int:
        return max(round(self.PAUSE_SECONDS / self.model.frame_seconds), 2)

    def _segment(self, log_TV: np.ndarray, start: int) -> Iterator[Segment]:
        """What is said in frames without a pause, which begin at frame `start` of the recording; nothing where nothing is."""
        log_TV, memory_TW = log_TV[:, : self._symbols], log_TV[:, self._symbols :]
        if self.model.writes:
            limit = min(len(log_TV) + 1, self.model.config.context - 1)
            with evaluating(self.model):
                tokens = self.model.write(torch.from_numpy(memory_TW).to(device_of(self.model)), limit, self.beams)
        elif self.beams == 1 and self.fusion is None:
            tokens = greedy(log_TV, BLANK)
        else:
            beam = PrefixBeam(BLANK, self.beams, fusion=self.fusion)
            beam.push(log_TV)
            tokens = beam.results()[0].tokens
        text = self.tokenizer.decode(tokens)
        if not text.strip():
            return
        # A decoder may write more than can have been said.
        fits = frames_needed(tokens) <= len(log_TV)
        spans = align(log_TV, tokens, BLANK) if fits else [Span(0, len(log_TV), 0.0)] * len(tokens)

        def seconds(frame: int) -> float:
            return round((start + frame) * self.model.frame_seconds, 3)

        found = [(word.text, seconds(word.start), seconds(word.end)) for word in words(text, tokens, spans, self.tokenizer.decode)]
        mean = float(np.mean([span.log_probability for span in spans]))
        yield Segment(text.strip(), seconds(spans[0].start), seconds(spans[-1].end), found, mean)


def joined(texts: Iterable[str]) -> str:
    """Segments as one text: with a blank between two, but for Chinese and Japanese."""
    made = ""
    for text in filter(None, texts):
        unspaced = bool(made) and _UNSPACED_PAIR.match(made[-1] + text[0])
        made += text if not made or unspaced else f" {text}"
    return made


_UNSPACED_PAIR = re.compile(f"[{UNSPACED}]{{2}}")


def nearest(known: Iterable[np.ndarray], asked: Iterable[np.ndarray], settings: MelSettings) -> list[int]:
    """For each recording of samples (N,) that is asked about, the one of the known that sounds most alike: by the distance between the
    means of their spectrograms in eight equal parts.
    """
    front = LogMel(settings)

    def means(recordings: Iterable[np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return np.stack([_eighths(front(torch.from_numpy(recording)[None])[0]) for recording in recordings])

    known_KE, asked_AE = means(known), means(asked)
    distances_AK = (known_KE**2).sum(1) - 2 * asked_AE @ known_KE.T
    return [int(place) for place in distances_AK.argmin(1)]


def _eighths(mel_MF: Tensor) -> np.ndarray:
    return nn.functional.adaptive_avg_pool1d(mel_MF[None], 8).flatten().numpy()
