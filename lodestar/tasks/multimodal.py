"""Multimodal: a decoder that reads pictures or recordings among its text, and answers in text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.media import ImagePart, Media, Picture, Recording, SoundPart
from ..contracts.progress import track
from ..contracts.task import ArrayShape, Batch, Example, Row, Task, Variant
from ..evaluate.file_answers import METRICS, columns, kind_findings
from ..prepare.exchanges import recognise, with_parts, without_files

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.chat import ChatRequest, Question
    from ..build.chat_template import ChatFormat
    from ..build.multimodal import Tower
    from ..build.spectrogram import MelSettings
    from ..build.stems import PatchShape
    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig
    from ..prepare.exchange_files import FileReader
    from ..prepare.scenes import Asked

ANSWER_TOKENS = 128
"""Of an answer that is measured; half of the context where that is less."""
SCENES, HELD_OUT = 1_500, 150
"""Scenes, or tunes, of the builtin sources to learn from, and of those to judge on."""
SAMPLE_SCENES = 4
SHOWN = 6
"""Records that are offered to try."""


class Exchange(Example):
    """A conversation about pictures or recordings; LLaVA's records and plain ones become it."""

    messages: list[dict[str, Any]]
    """`role` and `content`, with `<image>` or `<audio>` where a file stands; the model learns what the assistant says, and no more."""
    images: list[Picture] = []
    audios: list[Recording] = []
    kind: str = ""
    """What kind of question it is, where figures are wanted for each kind."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return recognise(fields)

    @property
    def question(self) -> str:
        """The last one, without its files."""
        return without_files(self.messages[-2]["content"])

    @property
    def answer(self) -> str:
        return str(self.messages[-1]["content"])


class Options(Config):
    """venture.yaml: `options`."""

    reads: Literal["pictures", "sounds"] = "pictures"
    """What stands among the text: the model has one kind of tower."""
    size: int = Field(32, ge=4, le=1024)
    """Pixels a side that the model reads: every picture is brought to this size."""
    patch: int = Field(4, ge=1, le=64)
    """Pixels a side of a patch, of which the tower reads each as one position."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture becomes square: its middle is kept; it is shown whole, with grey beside it; or its sides are made alike."""
    stem: Literal["convolutions", "patches"] = "convolutions"
    """What makes a patch one embedding: small convolutions that overlap (patches of 2, 4, 8 … pixels), or one linear layer, as in ViT."""
    positions: Literal["grid", "learned"] = "grid"
    """Where a patch stands: sinusoids of its row and its column, or a table that is learnt."""
    rate: int = Field(16_000, ge=4_000, le=48_000)
    """Samples a second that the model hears; recordings are resampled."""
    bands: int = Field(40, ge=10, le=256)
    """Mel bands of the spectrogram."""
    seconds: float = Field(30.0, gt=0, le=600)
    """Of the longest recording that is heard."""
    merge: int | None = Field(None, ge=1, le=64)
    """Neighbours that become one position of the decoder: of pictures, patches along each side of a square (2 where absent: a quarter as
    many positions); of sounds, frames of 20 ms (4 where absent)."""
    projector: Literal["linear", "mlp"] = "mlp"
    """What brings the tower's states to the decoder: one linear layer, or two."""
    tower_depth: int = Field(2, ge=1, le=48)
    """Layers of a tower that begins at random."""
    tower_width: int | None = Field(None, ge=4)
    """Its width; the decoder's where absent."""
    front: str = ""
    """The folder of a release of image-classification, or of speech-recognition, as whose encoder the tower begins; at random where
    empty."""
    frozen: bool = False
    """The tower stays as it began; the projector and the decoder alone are trained."""

    @property
    def merged(self) -> int:
        """`merge`, or what stands for it."""
        return self.merge or (2 if self.reads == "pictures" else 4)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.frozen and not self.front:
            raise ValueError("frozen keeps a tower as it began, and without front it began at random; name a front, or set frozen: false")
        if self.reads == "sounds":
            return self
        if self.patch > self.size or self.size % self.patch:
            raise ValueError(f"patch ({self.patch}) does not divide size ({self.size}); choose one that does")
        if self.stem == "convolutions" and self.patch & (self.patch - 1):
            raise ValueError(f"patch is {self.patch}, and convolutions halve a picture; give 1, 2, 4, 8 …, or stem: patches")
        if self.size // self.patch % self.merged:
            side = self.size // self.patch
            raise ValueError(f"merge ({self.merged}) does not divide the {side} patches along a side; choose one that does, or 1")
        return self


_TARGETS = [
    {
        "metric": "exact_match",
        "at_least": 0.2,
        "why": Words("more than a good guess; train longer, and ask for more", "要比瞎猜答对得多；训练得更久后请调高"),
    },
    {
        "metric": "false_yes",
        "at_most": 0.5,
        "why": Words("what is not there must not be told of", "没有的东西，不能说有"),
    },
    {
        "metric": "latency_ms_p95",
        "at_most": 1000,
        "unit": "ms",
        "why": Words("an answer while one still looks", "还在看的工夫就有回答"),
    },
]
_TEMPLATE: dict[str, Any] = {
    "task": "multimodal",
    "statement": Words("Answers what one asks about a picture, on our own machine.", "在自己的机器上，回答关于一张图片的提问。"),
    "audience": Words("people who cannot look themselves just now", "此刻腾不出眼睛的人"),
    "north_star": "exact_match",
    "options": {"size": 32, "patch": 8, "merge": 1},
    "data": {
        "sources": ["builtin:scenes"], "splits": {"test": ["builtin:held-out-scenes"]}, "validation": 0.05, "test": 0, "vocabulary": 400,
    },
    "model": {"size": "tiny", "context": 128, "overrides": {"depth": 2, "width": 96, "heads": 3}},
    "train": {"tokens": 6_000_000, "batch_tokens": 4096, "learning_rate": 0.002},
    "targets": _TARGETS,
}  # fmt: skip
_SOUNDS: dict[str, Any] = {
    "statement": Words("Answers what one asks about a sound, on our own machine.", "在自己的机器上，回答关于一段声音的提问。"),
    "audience": Words("people who cannot listen themselves just now", "此刻腾不出耳朵的人"),
    "options": {"reads": "sounds", "rate": 8000, "merge": 4, "seconds": 5},
    "data": {**_TEMPLATE["data"], "sources": ["builtin:tunes"], "splits": {"test": ["builtin:held-out-tunes"]}},
}


class Multimodal(Task):
    words = Words("Answer questions about a picture or a recording, and describe it.", "回答关于图片或录音的提问，并描述其内容。")
    example = Exchange
    metrics = METRICS
    batching = "padded"
    endpoint = "chat/completions"
    page_form = "multimodal"
    special_tokens = ("<|im_start|>", "<|im_end|>")
    single_characters = True  # a few characters are an answer
    template = _TEMPLATE
    variants: ClassVar[Mapping[str, Variant]] = {"sounds": Variant({**_TEMPLATE, **_SOUNDS})}

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")

    @property
    def form(self) -> ChatFormat:
        """How the model reads conversations: its base's template, else ours."""
        from ..build.chat_template import ChatFormat

        return ChatFormat.from_json(self.state["format"]) if "format" in self.state else ChatFormat()

    # Data

    @classmethod
    def sample(cls) -> Sequence[Exchange]:
        return _drawn("pictures", SAMPLE_SCENES)

    @classmethod
    def builtins(cls) -> Mapping[str, Callable[[], Sequence[Example]]]:
        """`scenes` and `tunes`: drawn and played by formula (prepare/scenes.py, prepare/tunes.py); `held-out-` those to judge on."""
        return {
            "scenes": partial(_drawn, "pictures", SCENES), "held-out-scenes": partial(_drawn, "pictures", HELD_OUT, held_out=True),
            "tunes": partial(_drawn, "sounds", SCENES), "held-out-tunes": partial(_drawn, "sounds", HELD_OUT, held_out=True),
        }  # fmt: skip

    def shown(self) -> Sequence[Example]:
        return _drawn(self.chosen.reads, SHOWN, held_out=True)

    def texts(self, example: Exchange) -> Iterator[str]:
        for message in example.messages:
            yield without_files(message["content"])

    def adopt(self, folder: Path) -> None:
        from ..build.chat_template import ChatFormat

        self.state["format"] = ChatFormat.load(folder, make=True).to_json()

    def fit(self, examples: Iterable[Exchange]) -> None:
        """Look at the front end.

        Raises:
            UserError: it cannot be one, or the records hold files of the other kind alone.
        """
        from ..build.front_end import read_front_end

        other = {"pictures": "sounds", "sounds": "pictures"}[self.chosen.reads]
        found = {kind: any(self._of_kind(example, kind) for example in examples) for kind in (self.chosen.reads, other)}
        if found[other]:
            what = f"the training records hold {other}, and the model reads {self.chosen.reads}"
            raise UserError(what, where="options.reads", fix=f"set it to {other}, or leave these records out")
        if not found[self.chosen.reads]:
            what = f"the training records hold no {self.chosen.reads}"
            raise UserError(what, where="data", fix="give records with files, or take the task chat")
        self.state.setdefault("format", self.form.to_json())
        if self.chosen.front:
            names = ("size", "patch", "fit", "stem", "positions") if self.chosen.reads == "pictures" else ("rate", "bands")
            asked = {name: getattr(self.chosen, name) for name in names}
            self.state["front"] = read_front_end(Path(self.chosen.front).expanduser(), self.chosen.reads, asked)

    @staticmethod
    def _of_kind(example: Exchange, kind: str) -> Sequence[Media]:
        return example.images if kind == "pictures" else example.audios

    @cached_property
    def reader(self) -> FileReader:
        """What reads the files."""
        from ..prepare.exchange_files import PictureReader, SoundReader

        chosen = self.chosen
        if chosen.reads == "pictures":
            return PictureReader(chosen.size, chosen.fit, (chosen.size // chosen.patch // chosen.merged) ** 2)
        return SoundReader(chosen.rate, chosen.seconds, 2 * self.mel.hop, chosen.merged)

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:
        return self.reader.arrays

    def encode(self, example: Exchange, tokenizer: Tokenizer) -> Row:
        """The tokens, those that are to be learnt, the places of files among them, and the files."""
        files = self._files(example)
        rendered = self.form.encode(tokenizer, with_parts(example.messages)).with_files(self._positions(files), tokenizer.pad)
        places = [int(place) for place in rendered.files]
        return {"tokens": rendered.ids, "targets": rendered.targets, "places": places, "lost": 0, **self.reader.rows(files)}

    def rows(self, example: Exchange, tokenizer: Tokenizer, context: int | None) -> Sequence[Row]:
        """Its one row; of a conversation that is longer than the context, or with a recording longer than `seconds`, none of it, since an
        answer is not that of half a picture.
        """
        from ..prepare.exchange_files import TooLongError

        try:
            row = self.encode(example, tokenizer)
        except TooLongError as error:
            lost = error.positions
        else:
            assert isinstance(row["tokens"], list)
            lost = len(row["tokens"])
            if context is None or lost <= context:
                return [row]
        return [{"tokens": [], "targets": [], "places": [], "lost": lost, **self.reader.rows([])}]

    def _files(self, example: Exchange) -> list[np.ndarray]:
        """The files of a record, as the tower takes them."""
        return [self.reader.read(media.read(), media.name or None) for media in self._of_kind(example, self.chosen.reads)]

    def _positions(self, files: Sequence[np.ndarray]) -> list[int]:
        return [self.reader.positions(file) for file in files]

    # Model

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder"}

    @cached_property
    def mel(self) -> MelSettings:
        from ..build.spectrogram import MelSettings

        return MelSettings.at(self.chosen.rate, self.chosen.bands)

    @property
    def shape(self) -> PatchShape:
        """How pictures are cut."""
        from ..build.stems import PatchShape

        size, patch = self.chosen.size, self.chosen.patch
        return PatchShape(size, size, patch, patch, prefix=self.state.get("front", {}).get("prefix", 0))

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.multimodal import MultimodalDecoder

        return MultimodalDecoder(config, self._tower(config), self.chosen.projector)

    def _tower(self, config: ModelConfig) -> Tower:
        from ..build.front_end import tower_config
        from ..build.multimodal import PictureTower, SoundTower
        from ..build.speech_encoder import SpeechEncoder
        from ..build.towers import PictureEncoder

        chosen = self.chosen
        shaped = partial(tower_config, config, self.state.get("front"), depth=chosen.tower_depth, width=chosen.tower_width)
        if chosen.reads == "sounds":
            frames = -(-round(chosen.seconds * chosen.rate) // (2 * self.mel.hop))
            return SoundTower(SpeechEncoder(shaped(context=frames + 1, position="rotary"), self.mel), chosen.merged)
        learned = chosen.positions == "learned"
        of_pictures = shaped(context=self.shape.tokens, position="learned" if learned else "none")
        return PictureTower(PictureEncoder(of_pictures, self.shape, stem=chosen.stem, grid=not learned), chosen.merged)

    def begin(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Exchange]) -> None:
        """The front end's weights, where it begins from a model; and none of them trains where it is frozen."""
        from ..build.front_end import load_front_end
        from ..build.multimodal import MultimodalDecoder

        assert isinstance(model, MultimodalDecoder)
        if self.chosen.front:
            load_front_end(model.tower.encoder, Path(self.chosen.front).expanduser(), self.state["front"]["identity"])
        if self.chosen.frozen:
            model.tower.requires_grad_(False)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.multimodal import answer_loss

        return answer_loss(model, batch)

    # Quality

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Exchange]) -> dict[str, np.ndarray]:
        return columns([example.answer for example in examples], self.answers(model, tokenizer, examples))

    def answers(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Exchange]) -> list[str]:
        """The model's answer to the last question of each."""
        from ..build.chat_template import prompted
        from ..build.multimodal import answers

        prompts = [
            prompted(self.form.prompt(tokenizer, with_parts(example.messages[:-1])), self._positions(self._files(example)), tokenizer.pad)
            for example in track(examples, "read", "record")
        ]
        stop_ids = self.form.stop_ids(tokenizer)
        return answers(model, tokenizer, prompts, lambda number: self._files(examples[number]), ANSWER_TOKENS, stop_ids)

    def baseline(self, train: Sequence[Exchange], examples: Sequence[Exchange]) -> tuple[str, dict[str, np.ndarray]]:
        """What is most often answered to the very question; to one that was never asked, what is most often answered at all."""
        counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for example in train:
            counted[example.question][example.answer] += 1
            counted[""][example.answer] += 1
        said = [(counted.get(example.question) or counted[""]).most_common(1)[0][0] for example in examples]
        return "most common answer to the question", columns([example.answer for example in examples], said)

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[Exchange], train: Sequence[Exchange]) -> Findings:
        return kind_findings(columns, [example.kind for example in examples])

    # Product

    def choices(self) -> dict[str, Any]:
        """`reads`: what may stand among the text."""
        return {"reads": self.chosen.reads}

    def request(self, example: Exchange) -> dict[str, Any]:
        """The conversation up to the last answer, its files in OpenAI's parts."""
        files = iter(example.images or example.audios)
        messages = [
            {**message, "content": [_sent(next(files)) if part["type"] == "file" else part for part in message["content"]]}
            if isinstance(message["content"], list)
            else message
            for message in with_parts(example.messages[:-1])
        ]
        return {"messages": messages, "max_tokens": 64}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        from ..build.chat import ChatRequest, answer

        asked = ChatRequest.parse(request, where="request")
        return answer(tokenizer, self.ask(model, tokenizer, asked), asked.seed)

    def ask(self, model: nn.Module, tokenizer: Tokenizer, request: ChatRequest) -> Question:
        """The request as the model reads it.

        Raises:
            UserError: a file cannot be read or is of the other kind, nothing is asked, or all of it does not fit the context.
        """
        from ..build.chat import Files, ask
        from ..build.multimodal import embed_one
        from ..prepare.exchange_files import taken_apart

        messages, files = taken_apart(request.messages, self.reader)
        read = Files(self._positions(files), partial(embed_one, model, files))
        return ask(model, tokenizer, self.form, request.model_copy(update={"messages": messages}), read)

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.chat import ChatRequest
        from ..build.multimodal import read_answer
        from ..prepare.exchange_files import taken_apart

        asked = ChatRequest.parse({**request, "max_tokens": 1}, where="request")
        _, files = taken_apart(asked.messages, self.reader)
        if self.chosen.reads != "pictures" or len(files) != 1:
            what = f"{len(files)} {self.chosen.reads} were sent, and what is explained is an answer about one picture"
            raise UserError(what, where="request", fix="send one picture, and a question about it")
        return read_answer(model, tokenizer, self.ask(model, tokenizer, asked), files[0], output)


def _sent(media: Media) -> dict[str, Any]:
    """A file as a part of a request."""
    from ..prepare.pictures import media_type

    if isinstance(media, Picture):
        return ImagePart.of(media, media_type(media.read()))
    assert isinstance(media, Recording)
    return SoundPart.of(media, "wav")


@cache
def _drawn(reads: Literal["pictures", "sounds"], count: int, *, held_out: bool = False) -> Sequence[Exchange]:
    """All questions about so many scenes or tunes."""
    from ..prepare.scenes import scenes
    from ..prepare.tunes import tunes

    made: list[tuple[str, dict[str, Any], Iterable[Asked]]]
    if reads == "pictures":
        made = [
            ("<image>", {"images": [Picture.of(scene.png(), f"scenes/{number}.png")]}, scene.questions())
            for number, scene in enumerate(islice(scenes(held_out=held_out), count))
        ]
    else:
        made = [
            ("<audio>", {"audios": [Recording.of(tune.wav(), f"tunes/{number}.wav")]}, tune.questions())
            for number, tune in enumerate(islice(tunes(held_out=held_out), count))
        ]
    return [
        Exchange(
            messages=[{"role": "user", "content": f"{sign}\n{question}"}, {"role": "assistant", "content": answer}], kind=kind, **files
        )
        for sign, files, questions in made
        for kind, question, answer in questions
    ]
