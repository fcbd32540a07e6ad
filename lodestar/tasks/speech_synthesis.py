"""Speech synthesis: text in English and Chinese to sound, in the voices of the recordings that it learnt from."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..contracts.config import Config
from ..contracts.errors import UserError, unknown
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.media import SOUND_TYPES, Recording, SoundFormat
from ..contracts.progress import note, track
from ..contracts.score import Metric
from ..contracts.symbols import EDGE, Symbol
from ..contracts.task import MODEL_LENGTH, ArrayShape, Batch, Example, Row, Task, Variant
from ..evaluate.error_rate import CER, WER
from ..evaluate.mel_cepstral import HEARD_MCD, LENGTH_ERROR, MCD
from ..prepare.pronunciation import known, pronounce, sentences

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.reading_aloud import Chunk, Piece, Reader, SpeechRequest, Whole
    from ..build.spectrogram import LogMel, MelSettings
    from ..build.synthesis import Voices
    from ..contracts.tokenizer import Tokenizer
    from ..evaluate.spoken_picture import Shown
    from ..model.config import ModelConfig

ONLY_VOICE = "default"
"""What the voice of recordings is called whose records name none."""
MEASURED = 128
"""Recordings that the means of spectrogram and pitch are taken from."""
MEASURED_SECONDS = 30
"""A longer recording is no sentence to be compared with one: the comparison is of each frame with each."""


class Reading(Example):
    """A recording, what is said in it, and by whom. In a folder without a table, a file's folder is named for what is said in it."""

    audio: Recording
    """WAV, FLAC, Ogg, MP3 or AIFF, at any rate, with any number of channels."""
    text: str
    voice: str = ""
    """The speaker's name, where there are several."""

    @classmethod
    def of_file(cls, path: str) -> Mapping[str, Any]:
        folder = PurePosixPath(path).parent.name
        return {"text": folder.replace("_", " ")} if folder else {}


class Options(Config):
    """venture.yaml: `options`."""

    rate: int = Field(16_000, ge=4_000, le=48_000)
    """Samples a second of what is said; recordings are resampled."""
    bands: int = Field(80, ge=20, le=256)
    """Mel bands of the spectrogram."""
    vocoder: Literal["neural", "griffin-lim"] = "neural"
    """What makes sound of a spectrogram: a small network, learnt in the same run; or Griffin and Lim's algorithm, which learns nothing."""
    recognizer: str = ""
    """The folder of a release of the task speech-recognition that writes down what is said, to measure `wer` and `cer`; not measured where
    empty."""


def _template(
    statement: Words, source: str, model: Mapping[str, Any], options: Mapping[str, Any], train: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "task": "speech-synthesis",
        "statement": statement,
        "audience": Words("a helmsman whose eyes are on the water", "眼睛不能离开水面的舵手"),
        "north_star": "mcd",
        "options": options,
        "data": {"sources": [source], "validation": 0.1, "test": 0.2},
        "model": model,
        "train": train,
        "targets": [
            {
                "metric": "mcd",
                "at_most": 6.0,
                "unit": "dB",
                "why": Words(
                    "a few recordings teach no more; hold it to less with your own",
                    "录音很少，只能学到这个程度；换成您自己的录音后请提高要求",
                ),
            },
            {
                "metric": "real_time_factor",
                "at_most": 0.3,
                "why": Words("a sentence is made before the one before it has been heard", "上一句还没听完，下一句已经合成好"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the ship's own computer", "能在船上的电脑上运行"),
            },
        ],
    }  # fmt: skip


class SpeechSynthesis(Task):
    words = Words("Read a text aloud, in English and Chinese, in the voices of your recordings.", "用您录音中的声音朗读中英文文本。")
    example = Reading
    metrics: tuple[Metric, ...] = (MCD, HEARD_MCD, LENGTH_ERROR, WER, CER)
    batching = "padded"
    tokenized = False
    endpoint = "audio/speech"
    page_form = "speech"
    template = _template(
        Words("Says a few words in the voice of a robot, in English and Chinese.", "用机器人的声音说几个中英文词语。"),
        "builtin:sample",
        {"size": "tiny", "context": 256, "overrides": {"depth": 2, "width": 96, "heads": 3}},
        {"rate": 8000, "bands": 40},
        {"tokens": 1_000_000, "batch_tokens": 4096, "learning_rate": 0.006},
    )
    variants = {
        "espeak": Variant(
            _template(
                Words("Reads notices of a harbor aloud, in English and Chinese.", "朗读港口的中英文告示。"),
                "builtin:espeak",
                {"size": "tiny", "context": 512, "overrides": {"depth": 3, "width": 128, "heads": 4}},
                {"rate": 16000},
                {"minutes": 20, "batch_tokens": 8192, "learning_rate": 0.006},
            )
        )
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")
        if not self.chosen.recognizer:
            self.metrics = (MCD, HEARD_MCD, LENGTH_ERROR)
        self._shown: Shown | None = None
        """The first sentence that was measured, for the report's picture."""

    @classmethod
    def sample(cls) -> Sequence[Reading]:
        """A robot's, made by formula: see prepare/robot_reader.py."""
        from ..prepare.robot_reader import sample

        return [Reading(audio=Recording.of(made.content, made.name), text=made.text, voice=made.voice) for made in sample()]

    @classmethod
    def builtins(cls) -> Mapping[str, Callable[[], Sequence[Reading]]]:
        """`espeak`: sentences of a small grammar, said by espeak-ng, where it is installed."""

        def made() -> Sequence[Reading]:
            from ..prepare.espeak import sample

            return [Reading(audio=Recording.of(content, name), text=text, voice=name[:2]) for name, text, content in sample()]

        return {"espeak": made}

    # Data

    def adopt(self, folder: Path) -> None:
        raise UserError("a synthesiser learns its own symbols, and begins from no open model", where="model.base", fix="remove it")

    def texts(self, example: Reading) -> Iterator[str]:
        if example.text.strip():
            yield example.text

    def fit(self, examples: Iterable[Reading]) -> None:
        """The symbols, the voices, and the means of spectrogram and pitch; what no model can say is left out, and counted."""
        if self.chosen.recognizer:
            _ = self._recognizer  # refused now, not after hours of training
        names, voices, sounds = {EDGE}, set[str](), list[Reading]()
        refused: list[UserError] = []
        chosen = list(examples)
        for example in track(chosen, "read texts", "record"):
            try:
                said = pronounce(example.text)
            except UserError as error:
                refused.append(error)
                continue
            if len(said) > 2:
                names |= {symbol.name for symbol in said}
                voices.add(example.voice or ONLY_VOICE)
                sounds.append(example)
        if not sounds:
            fix = f"write texts in English or Chinese ({refused[0].what})" if refused else "give records with texts"
            raise UserError("no training record has a text that can be said", where="data", fix=fix)
        if refused:
            note(f"{len(refused):,} of {len(chosen):,} texts cannot be said and are left out; the first: {refused[0].what}")
        self.state |= {"symbols": sorted(names), "voices": sorted(voices), "measured": self._measured(sounds, len(voices))}

    def _measured(self, examples: Sequence[Reading], voices: int) -> dict[str, float | int]:
        import dataclasses

        from ..build.synthesis import Voices

        mels, pitches = [], []
        for example in track(examples[:: max(1, len(examples) // MEASURED)], "measure voices", "recording"):
            samples, pitch = self.spoken(example.audio, self._longest)
            if len(samples):
                mels.append(self.log_mel(samples))
                pitches.append(pitch)
        if not mels:
            raise UserError("nothing is said in the training recordings", where="data", fix="give recordings that are not silent")
        return dataclasses.asdict(Voices.measured(mels, pitches, voices))

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:
        return {
            "symbols": ArrayShape("int16", (None,)), "tones": ArrayShape("int16", (None,)),
            "samples": ArrayShape("int16", (None,)), "pitch": ArrayShape("float32", (None,)),
        }  # fmt: skip

    def encode(self, example: Reading, tokenizer: Tokenizer) -> Row:
        """Symbols with their tones, samples, the pitch of each frame, and whose voice it is."""
        return self._row(example, None)

    def rows(self, example: Reading, tokenizer: Tokenizer, context: int | None) -> Sequence[Row]:
        """Its one row; nothing of a record that cannot be learnt from: longer than the context, shorter than its symbols, silent, or with
        a text that nobody can say.
        """
        return [self._row(example, context)]

    def _row(self, example: Reading, context: int | None) -> Row:
        import numpy as np

        from ..build.synthesis import INT16

        try:
            said = self.said(example.text)
        except UserError:
            return self._nothing(len(example.text))
        samples, pitch = self.spoken(example.audio, None if context is None else context * self.mel.hop)
        frames, voice, symbols = len(pitch), example.voice or ONLY_VOICE, self.state["symbols"]
        if len(said) < 3 or frames < len(said) or (context is not None and frames > context) or voice not in self.state["voices"]:
            return self._nothing(max(frames, 1))
        return {
            "symbols": np.array([symbols.index(symbol.name) for symbol in said]), "tones": np.array([symbol.tone for symbol in said]),
            "samples": np.round(samples * (INT16 - 1)).astype(np.int16), "pitch": pitch, "voice": self.state["voices"].index(voice),
            MODEL_LENGTH: frames, "lost": 0,
        }  # fmt: skip

    def _nothing(self, lost: int) -> Row:
        import numpy as np

        return {name: np.zeros(0, array.dtype) for name, array in self.arrays.items()} | {"voice": 0, MODEL_LENGTH: 0, "lost": lost}

    def said(self, text: str) -> list[Symbol]:
        """The symbols of a text that the model says; raises `UserError` where it cannot."""
        return known(pronounce(text), set(self.state["symbols"]), text)

    def spoken(self, recording: Recording, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What is said in a recording, float32 (N,) at the model's rate, and the pitch of each frame: `prepare.pitch.heard`."""
        from ..prepare.pitch import heard

        try:
            return heard(recording.read(), self.chosen.rate, self.mel.hop, most)
        except UserError as error:
            raise UserError(error.what, where=recording.name or error.where, fix=error.fix) from None

    # Model

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "encoder", "vocabulary_size": max(len(self.state.get("symbols", ())), 1), "dropout": 0.1}

    @cached_property
    def mel(self) -> MelSettings:
        from ..build.spectrogram import MelSettings

        return MelSettings.of_synthesis(self.chosen.rate, self.chosen.bands)

    @property
    def voices(self) -> Voices:
        from ..build.synthesis import Voices

        return Voices(**self.state.get("measured", {}))

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.synthesis import SpeechSynthesizer

        return SpeechSynthesizer(config, self.mel, self.voices, vocoder=self.chosen.vocoder == "neural")

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.synthesis import synthesis_loss

        return synthesis_loss(model, batch)

    # Quality

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Reading]) -> dict[str, np.ndarray]:
        """Each is said as it is served: alone."""
        self._shown = None

        def say(example: Reading) -> tuple[np.ndarray, np.ndarray]:
            reader, said = self.reader(model, example.voice), self.said(example.text)
            whole = reader.whole(said)
            if self._shown is None:
                self._shown = self._picture(example, reader, said, whole)
            return whole.log_mel, whole.samples

        return self._columns(say, examples, "say")

    def _picture(self, example: Reading, reader: Reader, said: Sequence[Symbol], whole: Whole) -> Shown:
        from ..evaluate.spoken_picture import Shown

        samples, _ = self.spoken(example.audio)
        names = [symbol.shown for symbol in whole.said]
        return Shown(
            example.text, names, self.log_mel(samples), reader.align(whole.said, samples), whole.log_mel, whole.durations
        )  # fmt: skip

    def baseline(self, train: Sequence[Reading], examples: Sequence[Reading]) -> tuple[str, dict[str, np.ndarray]]:
        """Each symbol is the mean of its frames, where all symbols of a recording last as long: `evaluate.mel_cepstral.MeanSounds`."""
        import torch

        from ..build.griffin_lim import sound_of
        from ..evaluate.mel_cepstral import MeanSounds

        means = MeanSounds()
        for example in track(train[:: max(1, len(train) // 1_000)], "learn mean sounds", "recording"):
            if (symbols := self._names(example.text)) and len(samples := self.spoken(example.audio, self._longest)[0]):
                means.learn(symbols, self.log_mel(samples))

        def say(example: Reading) -> tuple[np.ndarray, np.ndarray]:
            mel = means.say(self._names(example.text))
            return mel, sound_of(torch.from_numpy(mel).float()[None], self._front)[0].numpy()

        return "mean sounds", self._columns(say, examples, "say by means")

    @property
    def _longest(self) -> int:
        """Samples of the longest recording that is measured."""
        return MEASURED_SECONDS * self.chosen.rate

    def _names(self, text: str) -> list[str]:
        """The symbols of a text with their tones; none where it cannot be said."""
        try:
            return [symbol.shown for symbol in self.said(text)]
        except UserError:
            return []

    @cached_property
    def _front(self) -> LogMel:
        from ..build.spectrogram import LogMel

        return LogMel(self.mel)

    def log_mel(self, samples: np.ndarray) -> np.ndarray:
        """The logarithm of the mel power spectrogram (M, F) of samples (N,)."""
        import torch

        mel: np.ndarray = self._front(torch.from_numpy(samples)[None])[0].numpy()
        return mel

    def _columns(
        self, say: Callable[[Reading], tuple[np.ndarray, np.ndarray]], examples: Sequence[Reading], label: str
    ) -> dict[str, np.ndarray]:
        """Of what is said of each text, as spectrogram and as sound; nothing of a record that is silent, longer than `MEASURED_SECONDS`, by
        an unknown voice, or of a text that cannot be said.
        """
        from ..evaluate.error_rate import columns as error_columns
        from ..evaluate.mel_cepstral import Saying, columns

        sayings: list[Saying | None] = []
        texts: list[str] = []
        for example in track(examples, label, "record"):
            samples = self.spoken(example.audio, self._longest)[0]
            known_voice = (example.voice or ONLY_VOICE) in self.state["voices"]
            if not known_voice or not 0 < len(samples) <= self._longest or not self._names(example.text):
                sayings.append(None)
                texts.append("")
                continue
            mel, made = say(example)
            sayings.append(Saying(mel, self.log_mel(made), self.log_mel(samples)))
            texts.append(self.hear(made) if self.chosen.recognizer else "")
        found = columns(sayings)
        if self.chosen.recognizer:
            found |= error_columns(texts, [example.text for example in examples])
        return found

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[Reading], train: Sequence[Reading]) -> Findings | None:
        from ..evaluate.spoken_picture import findings

        return findings(columns, self._shown)

    @cached_property
    def _recognizer(self) -> tuple[Task, nn.Module, Tokenizer]:
        from ..build.bundle import load_bundle
        from . import load

        folder = Path(self.chosen.recognizer).expanduser()
        bundle = load_bundle(folder, lambda description, config: load(description).build(config))
        task = load(bundle.task)
        if task.endpoint != "audio/transcriptions":
            raise UserError(f"holds a model of the task {task.name}", where=folder, fix="name a release of speech-recognition")
        return task, bundle.model, bundle.tokenizer

    def hear(self, samples: np.ndarray) -> str:
        """What the recogniser that the options name writes down of samples (N,)."""
        from ..prepare.sound_files import write_sound

        task, model, tokenizer = self._recognizer
        recording = Recording.of(write_sound(samples, self.chosen.rate, "wav"))
        return str(task.answer(model, tokenizer, {"file": recording})["text"])

    # Product

    def choices(self) -> dict[str, Any]:
        """`voices`; `formats`; `rate`: samples a second of what is said."""
        return {"voices": self.state.get("voices", [ONLY_VOICE]), "formats": list(SOUND_TYPES), "rate": self.chosen.rate}

    def request(self, example: Reading) -> dict[str, Any]:
        return {"input": example.text, "voice": example.voice or ONLY_VOICE, "response_format": "wav"}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`audio`: the file in base64, of the `format` asked for; `sounds`: each symbol that is said, and when, in seconds."""
        import numpy as np

        from ..build.reading_aloud import SpeechRequest
        from ..prepare.sound_files import write_sound

        asked = SpeechRequest.parse(request, where="request")
        pieces = list(self.reader(model, asked.voice, asked.speed).pieces(self._rows(asked)))
        samples = np.concatenate([piece.samples for piece in pieces])
        content = write_sound(samples, self.chosen.rate, asked.response_format)
        sounds = [sound._asdict() for piece in pieces for sound in piece.sounds]
        usage = {"prompt_tokens": len(sounds), "seconds": len(samples) / self.chosen.rate}
        return {"audio": base64.b64encode(content).decode(), "format": asked.response_format, "sounds": sounds, "usage": usage}

    def utter(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> Iterator[Chunk]:
        """As `answer`, but each sentence as soon as it is made; what cannot be said is refused before the first one is."""
        from ..build.reading_aloud import SpeechRequest

        asked = SpeechRequest.parse(request, where="request")
        return self._chunks(self.reader(model, asked.voice, asked.speed).pieces(self._rows(asked)), asked.response_format)

    def _chunks(self, pieces: Iterator[Piece], form: SoundFormat) -> Iterator[Chunk]:
        from ..build.reading_aloud import Chunk
        from ..prepare.sound_files import sixteen_bits, wave_header

        head = wave_header(self.chosen.rate) if form == "wav" else b""
        for piece in pieces:
            yield Chunk(head + sixteen_bits(piece.samples), piece.sounds)
            head = b""

    def _rows(self, asked: SpeechRequest) -> list[list[Symbol]]:
        """The symbols of each sentence.

        Raises:
            UserError: one of them cannot be said, there is none, or no such voice.
        """
        self._voice(asked.voice)
        rows = [said for text in sentences(asked.input) if len(said := self.said(text)) > 2]
        if not rows:
            raise UserError("there is nothing to say in the text", where="input", fix="send one with words")
        return rows

    def reader(self, model: nn.Module, voice: str, speed: float = 1.0) -> Reader:
        """Reads symbols aloud in a voice; raises `UserError` where there is none of this name."""
        from ..build.reading_aloud import Reader

        return Reader(model, self.state["symbols"], self._voice(voice), speed)

    def _voice(self, name: str) -> int:
        voices: list[str] = self.state["voices"]
        if not name:
            return 0
        if name not in voices:
            raise unknown("voice", name, voices, where="voice")
        return voices.index(name)
