"""Speech recognition: an encoder over a spectrogram that writes what is said in a recording."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.media import Recording
from ..contracts.progress import track
from ..contracts.task import MODEL_LENGTH, ArrayShape, Batch, Example, Row, Task
from ..evaluate.error_rate import CER, WER, columns, normalize

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.ctc import Fusion, Scorer
    from ..build.spectrogram import MelSettings
    from ..build.speech import Augmentation, Listener, Segment
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig

TOGETHER = 256
"""Recordings that are decoded before they are heard: some minutes of samples."""
CTC_SHARE = 0.3
"""What CTC counts in an encoder-decoder's loss; the rest is the decoder's. Watanabe et al. 2017."""
TRANSCRIPTS = "transcripts"
"""The language model that is made of the training texts."""
REMEMBERED = 1_000_000
"""Characters of the training texts that it is made of."""


class Utterance(Example):
    """A recording, and what is said in it. In a folder without a table, a file's folder is named for what is said in it."""

    audio: Recording
    """WAV, FLAC, Ogg, MP3 or AIFF, at any rate, with any number of channels."""
    text: str
    """What is said."""

    @classmethod
    def of_file(cls, path: str) -> Mapping[str, Any]:
        folder = PurePosixPath(path).parent.name
        return {"text": folder.replace("_", " ")} if folder else {}


class Options(Config):
    """venture.yaml: `options`."""

    architecture: Literal["ctc", "encoder-decoder"] = "ctc"
    """ctc: the encoder names what each frame says. encoder-decoder: a decoder writes the text from what it heard; where there is much to
    learn from."""
    rate: int = Field(16_000, ge=4_000, le=48_000)
    """Samples a second that the model hears; recordings are resampled. 8000 for telephones."""
    bands: int = Field(40, ge=10, le=256)
    """Mel bands of the spectrogram; 80 where there are many hours to learn from."""
    normalize: bool = True
    """Learn and write what is said alone: lower case, no punctuation. Otherwise texts are learnt as they stand."""
    slowest: float = Field(1.0, gt=0.5, le=1)
    """In training each batch is played at another speed, pitch and all, from this …"""
    fastest: float = Field(1.0, ge=1, lt=2)
    """… to this."""
    masks: int = Field(0, ge=0, le=10)
    """In training so many bands of frequency and stretches of time are hidden in each recording (Park et al. 2019)."""
    noise: float = Field(0.0, ge=0, le=2)
    """In training, white noise is added to each recording: up to this deviation over that of the recording."""
    beams: int = Field(8, ge=1, le=256)
    """Texts that are held while one is looked for; 1 takes the likeliest symbol of each frame."""
    language_model: str = ""
    """What says which words are likely (shallow fusion): `transcripts`, n-grams of the training texts; or the folder of a release of the
    task text-generation. None where empty."""
    language_weight: float = Field(0.5, ge=0, le=10)
    """How much its log-probability counts."""
    word_bonus: float = Field(1.0, ge=-10, le=10)
    """What each word adds to a text's score in nats, for what a language model takes off it."""

    @model_validator(mode="after")
    def _one_language_model(self) -> Self:
        if self.language_model and self.architecture != "ctc":
            raise ValueError("the decoder of an encoder-decoder is its language model; leave language_model out, or set architecture: ctc")
        return self


ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]


class TranscriptionRequest(Config):
    """One recording: OpenAI's parameters, but for those that no model here has."""

    file: Recording
    """The recording; in JSON as data:audio/wav;base64,…"""
    response_format: ResponseFormat = "json"
    """json: the text. verbose_json: with segments and their times. text, srt, vtt: as a file of that kind."""
    timestamp_granularities: list[Literal["word", "segment"]] = ["segment"]
    """Of verbose_json: whether each word is told with its time, too."""
    language: str | None = None
    """Taken, and of no effect: a model hears the languages that it was trained on."""
    prompt: str = ""
    temperature: float = Field(0.0, ge=0, le=0)
    """The likeliest text is always taken."""
    stream: bool = False
    """Over HTTP: tell each segment as soon as it is heard."""

    @model_validator(mode="after")
    def _has_no_prompt(self) -> Self:
        if self.prompt:
            raise ValueError("the model takes no prompt; leave it out")
        return self


class SpeechRecognition(Task):
    words = Words("Write down what is said in a recording, and when.", "把录音中说的话写成文字，并标出时间。")
    example = Utterance
    metrics = (WER, CER)
    batching = "padded"
    endpoint = "audio/transcriptions"
    page_form = "transcriptions"
    single_characters = True  # a character of Chinese is a syllable, which is what is heard
    template = {
        "task": "speech-recognition",
        "statement": Words(
            "Writes down a few words of a robot, in English and Chinese, on our own machine.",
            "在自己的机器上，听写一台机器人说的几个中英文词语。",
        ),
        "audience": Words("a crew whose hands are on the ropes", "双手都在缆绳上的船员"),
        "north_star": "wer",
        "options": {"rate": 8000, "slowest": 0.9, "fastest": 1.1, "masks": 1},
        "data": {"sources": ["builtin:sample"], "validation": 0.1, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 256, "overrides": {"depth": 2, "width": 96, "heads": 3}},
        "train": {"tokens": 2_000_000, "batch_tokens": 4096},
        "targets": [
            {
                "metric": "wer",
                "at_most": 0.5,
                "why": Words(
                    "the robot's words are few; hold it to more with your own recordings",
                    "机器人只会说几个词；换成您自己的录音后请提高要求",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 1000,
                "unit": "ms",
                "why": Words("a word is written before the next one is said", "下一个词出口之前，这个词已经写好"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the ship's own computer", "能在船上的电脑上运行"),
            },
        ],
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")

    @classmethod
    def sample(cls) -> Sequence[Utterance]:
        """A robot's, made by formula: see prepare/robot_voice.py."""
        from ..prepare.robot_voice import sample

        return [Utterance(audio=Recording.of(content, name), text=text) for name, text, content in sample()]

    # Data

    def written(self, text: str) -> str:
        """What is learnt of a text."""
        return normalize(text) if self.chosen.normalize else text.strip()

    def texts(self, example: Utterance) -> Iterator[str]:
        if written := self.written(example.text):
            yield written

    def fit(self, examples: Iterable[Utterance]) -> None:
        if self.chosen.language_model == TRANSCRIPTS:
            kept: dict[str, None] = {}
            size = 0
            for example in examples:
                text = self.written(example.text)
                size += len(text)
                if size > REMEMBERED:
                    break
                kept[text] = None
            self.state[TRANSCRIPTS] = list(kept)
        elif self.chosen.language_model:
            self._load_scorer()

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:
        return {"samples": ArrayShape("int16", (None,))}

    def encode(self, example: Utterance, tokenizer: Tokenizer) -> Row:
        """The samples, and the tokens of what is said; of a recording too short for its text the tokens are left out, and counted."""
        from ..build.ctc import frames_needed

        samples = self._whole_numbers(self.hear(example.audio))
        tokens = tokenizer.encode(self.written(example.text))
        frames = -(-len(samples) // (2 * self.mel.hop))
        lost = 0 if frames_needed(tokens) <= frames else len(tokens)
        return {"samples": samples, "tokens": [] if lost else tokens, MODEL_LENGTH: 0 if lost else frames, "lost": lost}

    def rows(self, example: Utterance, tokenizer: Tokenizer, context: int | None) -> Sequence[Row]:
        """Its one row; of a recording that is longer than the context at the slowest speed, none of it, since half a recording is not half
        of its text.
        """
        import numpy as np

        row = self.encode(example, tokenizer)
        frames = row[MODEL_LENGTH]
        assert isinstance(frames, int)
        slow = math.ceil(frames / self.chosen.slowest) + (self.chosen.slowest < 1)  # one for the rounding of samples
        if context is None or slow <= context:
            return [row]
        return [{"samples": np.zeros(0, np.int16), "tokens": [], MODEL_LENGTH: 0, "lost": slow}]

    def hear(self, recording: Recording) -> np.ndarray:
        """Its samples (N,) at the model's rate, float32 in -1 … 1."""
        from ..prepare.sound import read_sound

        try:
            return read_sound(recording.read(), self.chosen.rate)
        except UserError as error:
            raise UserError(error.what, where=recording.name or error.where, fix=error.fix) from None

    @staticmethod
    def _whole_numbers(samples: np.ndarray) -> np.ndarray:
        import numpy as np

        from ..build.speech import INT16

        return np.clip(np.round(samples * INT16), -INT16, INT16 - 1).astype(np.int16)

    # Model

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "encoder" if self.chosen.architecture == "ctc" else "encoder-decoder", "dropout": 0.1}

    @cached_property
    def mel(self) -> MelSettings:
        from ..build.spectrogram import MelSettings

        return MelSettings.at(self.chosen.rate, self.chosen.bands)

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.speech import SpeechRecognizer

        return SpeechRecognizer(config, self.mel)

    @cached_property
    def augmentation(self) -> Augmentation:
        from ..build.spectrogram import SpecAugment
        from ..build.speech import Augmentation

        chosen = self.chosen
        masks = SpecAugment(chosen.masks, chosen.bands // 4, chosen.masks, 40) if chosen.masks else None
        return Augmentation((chosen.slowest, chosen.fastest), masks, chosen.noise)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.ctc import ctc_loss
        from ..build.speech import BLANK, INT16, SpeechRecognizer, writing_loss

        samples, mask, masks = batch["samples"].float() / INT16, batch["samples_mask"], None
        if model.training:
            samples, mask = self.augmentation.samples(samples, mask)
            masks = self.augmentation.masks
        assert isinstance(model, SpeechRecognizer)
        lengths = batch["attention_mask"].sum(-1)
        memory, frames = model.encode(samples, mask, masks)
        loss, terms = ctc_loss(model.named(memory), frames, batch["tokens"], lengths, BLANK)
        if not model.writes:
            return loss, terms
        writing = writing_loss(model, memory, frames, batch["tokens"], lengths)
        return CTC_SHARE * loss + (1 - CTC_SHARE) * writing, terms

    # Quality

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Utterance]) -> dict[str, np.ndarray]:
        return columns(self.heard(model, tokenizer, examples), [example.text for example in examples])

    def heard(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Utterance]) -> list[str]:
        """What the model writes of each recording."""
        listener = self._listener(model, tokenizer)
        found: list[str] = []
        for start in track(range(0, len(examples), TOGETHER), "transcribe", "batch"):
            found += listener.texts([self.hear(example.audio) for example in examples[start : start + TOGETHER]])
        return found

    def baseline(self, train: Sequence[Utterance], examples: Sequence[Utterance]) -> tuple[str, dict[str, np.ndarray]]:
        """The text of the training recording that sounds most alike, by the means of its spectrogram in eight equal parts."""
        from ..build.speech import nearest

        def sounds(chosen: Sequence[Utterance]) -> Iterator[np.ndarray]:
            return (self.hear(example.audio) for example in chosen)

        known = train[:: max(1, len(train) // 1_000)]
        places = nearest(sounds(known), sounds(examples), self.mel)
        return "nearest recording", columns([known[place].text for place in places], [example.text for example in examples])

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[Utterance], train: Sequence[Utterance]) -> Findings | None:
        errors = columns["word_errors"]
        right = int((errors == 0).sum())
        return Findings(
            sentences=[
                Words(
                    f"{right:,} of {len(errors):,} recordings are written down without an error.",
                    f"{len(errors):,} 段录音中有 {right:,} 段一字不差。",
                )
            ]
        )

    # Product

    def choices(self) -> dict[str, Any]:
        """`rate`: the samples a second that the model hears, so that a client need not send more."""
        return {"rate": self.chosen.rate}

    def request(self, example: Utterance) -> dict[str, Any]:
        return {"file": example.audio.data_url("audio/wav")}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`text`, and with verbose_json `duration`, `segments` and `words`; of the other forms `text` is the file's content."""
        asked = TranscriptionRequest.parse(request, where="request")
        pieces = self._pieces(asked.file)
        segments = list(self._listener(model, tokenizer).segments(pieces))
        return self.told(asked, segments, pieces.seconds)

    def transcribe(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> Iterator[Segment | dict[str, Any]]:
        """As `answer`, but each segment as soon as it is heard, and the answer last."""
        asked = TranscriptionRequest.parse(request, where="request")
        pieces, segments = self._pieces(asked.file), []
        for segment in self._listener(model, tokenizer).segments(pieces):
            segments.append(segment)
            yield segment
        yield self.told(asked, segments, pieces.seconds)

    def told(self, asked: TranscriptionRequest, segments: Sequence[Segment], seconds: float) -> dict[str, Any]:
        """The answer in the form asked for."""
        from ..build.speech import joined
        from ..build.transcripts import subrip, verbose, webvtt

        usage = {"usage": {"type": "duration", "seconds": round(seconds, 3)}}
        if asked.response_format == "verbose_json":
            told = {"task": "transcribe", "language": asked.language or ""}
            return told | verbose(segments, seconds, by_word="word" in asked.timestamp_granularities) | usage
        forms = {"srt": subrip, "vtt": webvtt}
        if asked.response_format in forms:
            return {"text": forms[asked.response_format](segments)} | usage
        return {"text": joined(segment.text for segment in segments)} | usage

    def _pieces(self, recording: Recording) -> _Pieces:
        return _Pieces(recording, self.chosen.rate)

    def _listener(self, model: nn.Module, tokenizer: Tokenizer) -> Listener:
        from ..build.speech import Listener

        return Listener(model, tokenizer, beams=self.chosen.beams, fusion=self._fusion(tokenizer))

    def _fusion(self, tokenizer: Tokenizer) -> Fusion | None:
        from ..build.ctc import Fusion

        if not self.chosen.language_model:
            return None
        return Fusion(self._scorer, tokenizer.decode, self.chosen.language_weight, self.chosen.word_bonus)

    @cached_property
    def _scorer(self) -> Scorer:
        from ..evaluate.ngram import ByteNGram

        return ByteNGram(self.state[TRANSCRIPTS]) if TRANSCRIPTS in self.state else self._load_scorer()

    def _load_scorer(self) -> Scorer:
        from ..build.scorer import TransformerScorer

        return TransformerScorer.load(Path(self.chosen.language_model).expanduser())


class _Pieces:
    """A recording, piece by piece, and how long it was found to be."""

    def __init__(self, recording: Recording, rate: int) -> None:
        self.recording, self.rate, self.seconds = recording, rate, 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        from ..prepare.sound import stream_sound

        for piece in stream_sound(self.recording.read(), self.rate):
            self.seconds += len(piece) / self.rate
            yield piece
