"""Image generation: a Transformer over a picture's patches that leads noise to a picture of what is asked for, a label or a text."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..build.sampling import Sampling
from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.media import Picture
from ..contracts.progress import track
from ..contracts.task import MODEL_LENGTH, ArrayShape, Batch, Example, Row, Task, Variant
from ..evaluate.generated import AMONG_OTHERS, GENERATION_METRICS
from ..evaluate.labelling import label_index

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.stems import PatchShape
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig

LABELS_AT_MOST = 10_000
"""More distinct labels than this are texts."""
SAMPLE_OF_EACH, SIGNS_OF_EACH = 8, 250
"""Pictures of each sign in the sample, and in the larger sources that every installation has."""
PREVIEW_ROWS, PREVIEW_ACROSS = 8, 8
MADE_AT_ONCE = 64
MOST_PICTURES = 10
"""In one request: OpenAI's limit."""


class ShownPicture(Example):
    """A picture and what it shows."""

    image: Picture
    """The picture: a path relative to the file that names it, or `data:image/…;base64,…`. A folder of pictures, or a tar archive of one,
    needs no table: what each shows is the name of the folder that it is in."""
    prompt: str
    """What it shows: a label, or a sentence where `conditioning` is texts. A column called `label`, `caption` or `text` is taken for it
    where there is none of this name; a number is taken as its text."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        name = next((name for name in ("prompt", "label", "caption", "text") if name in fields), None)
        if name is None:
            return fields
        prompt = fields[name]
        # A column of integers with a gap is one of floats.
        if isinstance(prompt, int) or (isinstance(prompt, float) and prompt.is_integer()):
            prompt = str(int(prompt))
        return {**{key: value for key, value in fields.items() if key != name}, "prompt": prompt}

    @classmethod
    def of_file(cls, path: str) -> Mapping[str, Any]:
        folder = PurePosixPath(path).parent.name
        return {"prompt": folder} if folder else {}


class Options(Config):
    """venture.yaml: `options`."""

    size: int = Field(32, ge=4, le=256)
    """Pixels a side of what is made; every picture that is learnt from is brought to this size."""
    patch: int = Field(4, ge=1, le=64)
    """Pixels a side of a patch, of which the model reads and writes each as one position: halving it makes four times as many."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture becomes square: its middle is kept; it is shown whole, with grey beside it; or its sides are made alike."""
    conditioning: Literal["labels", "texts"] = "labels"
    """What is asked for: one of the labels of the training records, or any text."""
    text_tokens: int = Field(32, ge=4, le=512)
    """The longest text that is read, in tokens."""
    flip: bool = True
    """Half of the training pictures are mirrored. Wrong where left and right mean something: letters, digits, arrows."""
    unconditional: float = Field(0.1, ge=0, lt=1)
    """The share of the training pictures that are learnt with nothing asked for, which guidance leads away from."""
    sampling: Sampling = Sampling()
    """How pictures are made where a request does not say."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.patch > self.size:
            raise ValueError(f"patch ({self.patch}) is larger than size ({self.size}); make it smaller")
        if self.size % self.patch:
            near = self.size // self.patch * self.patch
            raise ValueError(f"patch ({self.patch}) does not divide size ({self.size}); the nearest smaller size that it does is {near}")
        if self.sampling.guidance > 1 and not self.unconditional:
            raise ValueError("guidance needs pictures that are learnt with nothing asked for; set unconditional above 0, or guidance to 1")
        return self


class ImagesRequest(Config):
    """The body of POST /v1/images/generations: OpenAI's, with a seed and how the picture is made."""

    prompt: str
    """What is to be shown: a label, or a text."""
    n: int = Field(1, ge=1, le=MOST_PICTURES)
    """Pictures."""
    size: str = "auto"
    """WIDTHxHEIGHT, of which the model makes one."""
    seed: int = Field(0, ge=0, lt=2**63)
    """The same seed gives the same pictures, the first ones of them however many are asked for."""
    steps: int | None = None
    sampler: str | None = None
    guidance: float | None = None
    guidance_interval: tuple[float, float] | None = None
    """These four as in the options, which stand where they are left out."""
    output_format: Literal["png", "jpeg", "webp"] = "png"
    partial_images: int = Field(0, ge=0, le=250)
    """Pictures on the way that are told of, evenly spaced over the steps."""


class Partial(Config):
    """Pictures on their way."""

    step: int
    """Steps taken, of `steps`."""
    steps: int
    pictures: list[str]
    """Files in base64; none where no picture is told of after this step."""


_TEMPLATE: dict[str, Any] = {
    "task": "image-generation",
    "statement": Words("Draws the sign that it is asked for, on its own machine.", "在自己的机器上，画出您要的图形与文字符号。"),
    "audience": Words("a team that needs drawings of its own, and knows whose they are", "需要自有图样、并清楚其来源的团队"),
    "north_star": "fid",
    # An arrow that points left is none of these signs, and a mirrored character is no character.
    "options": {"size": 16, "patch": 4, "flip": False, "sampling": {"steps": 12, "guidance": 2}},
    "data": {"sources": ["builtin:signs"], "validation": 0.05, "test": 0.1},
    "model": {"size": "tiny", "overrides": {"depth": 3, "width": 96, "heads": 2}},
    "train": {"tokens": 1_600_000, "batch_tokens": 512, "learning_rate": 0.005, "ema": 0.99},
    "targets": [
        {
            "metric": "fid",
            "at_most": 0.05,
            "why": Words("eight signs and a short training; lower it with your own", "只有八种符号、训练很短；换成您自己的数据后请调低"),
        },
        {
            "metric": "precision",
            "at_least": 0.5,
            "why": Words("what is drawn looks like what was drawn by hand", "画出来的要像真的"),
        },
        {
            "metric": "latency_ms_p95",
            "at_most": 5000,
            "unit": "ms",
            "why": Words("a drawing while one waits for it", "等一会儿就能看到"),
        },
    ],
}
_CAPTIONS: dict[str, Any] = {
    "statement": Words("Draws signs in the colours that a sentence asks for.", "按一句话要求的颜色画出符号。"),
    "options": {**_TEMPLATE["options"], "conditioning": "texts", "text_tokens": 24},
    "data": {"sources": ["builtin:captions"], "validation": 0.05, "test": 0.15, "vocabulary": 400},
}


class ImageGeneration(Task):
    words = Words("Make pictures of what is asked for, a label or a text.", "按要求生成图片：给出标签，或一段文字。")
    example = ShownPicture
    metrics = GENERATION_METRICS
    batching = "padded"
    endpoint = "images/generations"
    tokenized = False
    among_others = AMONG_OTHERS
    draws = True
    passes = 200  # assumed: each time with other noise
    template = _TEMPLATE
    variants: ClassVar[Mapping[str, Variant]] = {"captions": Variant({**_TEMPLATE, **_CAPTIONS})}

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")
        self.tokenized = self.chosen.conditioning == "texts"

    @classmethod
    def sample(cls) -> Sequence[ShownPicture]:
        return _signs(SAMPLE_OF_EACH)

    @classmethod
    def builtins(cls) -> Mapping[str, Callable[[], Sequence[Example]]]:
        """`signs`: 2,000 drawn signs of eight kinds. `captions`: 2,000 more in colours that have names, each with a sentence, half in
        English and half in Chinese.
        """
        return {"signs": lambda: _signs(SIGNS_OF_EACH), "captions": _captions}

    @property
    def labels(self) -> list[str]:
        """The labels that can be asked for, in the order of the model's rows; none where texts are."""
        return list(self.state.get("labels", ()))

    @property
    def shape(self) -> PatchShape:
        """How pictures are cut."""
        from ..build.stems import PatchShape

        size, patch = self.chosen.size, self.chosen.patch
        return PatchShape(size, size, patch, patch, prefix=0)

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:
        return {"pixels": ArrayShape("uint8", (3, self.chosen.size, self.chosen.size))}

    def texts(self, example: ShownPicture) -> Iterator[str]:
        yield example.prompt

    def fit(self, examples: Iterable[ShownPicture]) -> None:
        """Learn the label set.

        Raises:
            UserError: there are no records, or so many labels that they are texts.
        """
        if self.tokenized:
            return
        labels = sorted({example.prompt for example in examples})
        if not labels:
            raise UserError("the training records have no pictures", where="data", fix="give some")
        if len(labels) > LABELS_AT_MOST:
            fix = "set options.conditioning to texts, or name the column that holds the labels: data.columns: {prompt: COLUMN}"
            raise UserError(f"the training records have {len(labels)} different labels", where="data", fix=fix)
        self.state["labels"] = labels

    def encode(self, example: ShownPicture, tokenizer: Tokenizer) -> Row:
        row: Row = {"pixels": self._pixels(example), MODEL_LENGTH: self.shape.tokens}
        if not self.tokenized:
            return {**row, "label": label_index(example.prompt, self.labels, "pictures")}
        tokens = self._tokens(example.prompt, tokenizer)
        return {**row, "tokens": tokens[: self.chosen.text_tokens], "lost": max(0, len(tokens) - self.chosen.text_tokens)}

    def _pixels(self, example: ShownPicture) -> np.ndarray:
        from ..prepare.pictures import read_square

        return read_square(example.image.read(), self.chosen.size, self.chosen.fit, example.image.name or None)[0]

    def _tokens(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """The mark, which alone stands for nothing in particular, and the text."""
        return [tokenizer.end_of_text, *tokenizer.encode(text)]

    def architecture(self) -> Mapping[str, Any]:
        common = {"context": self.shape.tokens, "conditioning": "adaptive"}
        if not self.tokenized:
            return {**common, "architecture": "encoder", "vocabulary_size": 0, "position": "none"}
        texts = {"decoder_causal": False, "source_context": self.chosen.text_tokens, "position": "learned"}
        return {**common, **texts, "architecture": "encoder-decoder"}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.denoiser import Denoiser

        return Denoiser(config, self.shape, len(self.labels))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from torch import ones_like

        from ..build.generating import flow_loss

        loss = flow_loss(model, batch, unconditional=self.chosen.unconditional, flip=self.chosen.flip)
        return loss, ones_like(batch[MODEL_LENGTH]).sum()

    def make(
        self, model: nn.Module, tokenizer: Tokenizer, prompts: Sequence[str], noise: Tensor, how: Sampling | None = None
    ) -> np.ndarray:
        """A picture for each prompt, from noise (n, C, Y, X): (n, C, Y, X) uint8."""
        from ..build.generating import as_bytes, sample

        *_, last = sample(model, *self._asked(prompts, tokenizer), noise, how or self.chosen.sampling)
        return as_bytes(last.x).numpy()

    def _asked(self, prompts: Sequence[str], tokenizer: Tokenizer) -> tuple[Tensor, Tensor | None]:
        """What `sample` is asked with: the indices of the labels, or tokens and which of them are real."""
        import torch

        if not self.tokenized:
            return torch.tensor([label_index(prompt, self.labels, "pictures") for prompt in prompts]), None
        rows = [torch.tensor(self._tokens(prompt, tokenizer)[: self.chosen.text_tokens]) for prompt in prompts]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad)
        lengths = torch.tensor([len(row) for row in rows])
        return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[ShownPicture]) -> dict[str, np.ndarray]:
        """A picture is made for what each record shows, from noise that follows from the record."""
        import numpy as np

        from ..build.flow import noise
        from ..evaluate.generated import generation_columns

        def made() -> Iterator[np.ndarray]:
            waiting = iter(examples)
            while part := list(islice(waiting, MADE_AT_ONCE)):
                drawn = noise(0, [example.image.sha256 for example in part], self._shape)
                yield from self.make(model, tokenizer, [example.prompt for example in part], drawn)

        pictures = np.stack(list(track(made(), "make", "picture", total=len(examples))))
        return generation_columns(map(self._pixels, examples), pictures)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (3, self.chosen.size, self.chosen.size)

    def signatures(self) -> dict[str, str]:
        from ..evaluate.features import SIGNATURE

        return dict.fromkeys((metric.name for metric in self.metrics), SIGNATURE)

    def baseline(self, train: Sequence[ShownPicture], examples: Sequence[ShownPicture]) -> tuple[str, dict[str, np.ndarray]]:
        """A Gaussian of each label's pixels; of texts, of all pictures."""
        import numpy as np

        from ..evaluate.generated import generation_columns
        from ..evaluate.pixel_gaussians import PixelGaussians

        gaussians = PixelGaussians(map(self._pixels, train), [example.prompt for example in train])
        made = np.stack([gaussians.draw(example.prompt, 0, example.image.sha256) for example in examples])
        return "Gaussian of each label's pixels", generation_columns(map(self._pixels, examples), made)

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[ShownPicture], train: Sequence[ShownPicture]) -> Findings:
        from ..evaluate.generated import COMPARED, generation_findings
        from ..prepare.pictures import png

        real = [self._pixels(example) for example in examples[:COMPARED]]
        return generation_findings(columns, [example.prompt for example in examples], real, map(self._pixels, train), png)

    def preview(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[ShownPicture]) -> bytes:
        """A row for each of some prompts, from the same noise each time."""
        from ..build.flow import noise
        from ..prepare.pictures import png, sheet

        prompts = self.labels or dict.fromkeys(example.prompt for example in islice(examples, 4 * PREVIEW_ROWS))
        rows = [prompt for prompt in islice(prompts, PREVIEW_ROWS) for _ in range(PREVIEW_ACROSS)]
        return png(sheet(self.make(model, tokenizer, rows, noise(0, range(len(rows)), self._shape)), PREVIEW_ACROSS))

    def choices(self) -> dict[str, Any]:
        return {
            "labels": self.labels, "size": f"{self.chosen.size}x{self.chosen.size}", "most": MOST_PICTURES,
            **self.chosen.sampling.model_dump(mode="json"),
        }  # fmt: skip

    def request(self, example: ShownPicture) -> dict[str, Any]:
        return {"prompt": example.prompt, "seed": 1}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`data`: a file in base64 for each picture, as OpenAI's API has it; their `size`, `output_format` and `seed`.

        Raises:
            UserError: there is no such label, the text is too long, or a parameter is out of its range.
        """
        *_, last = self.generate(model, tokenizer, request)
        assert isinstance(last, dict)
        return last

    def generate(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> Iterator[Partial | dict[str, Any]]:
        """What stands after each step, and at last the answer."""
        from ..build.flow import noise
        from ..build.generating import as_bytes, sample
        from ..prepare.pictures import encoded

        asked = ImagesRequest.parse(request, where="request")
        how = self._sampling(asked)
        read = self._check(asked, tokenizer)
        told = {round((k + 1) * how.steps / (asked.partial_images + 1)) for k in range(asked.partial_images)} - {how.steps}

        def files(pictures: Tensor) -> list[str]:
            return [base64.b64encode(encoded(each, asked.output_format)).decode() for each in as_bytes(pictures).numpy()]

        drawn = noise(asked.seed, range(asked.n), self._shape)
        for number, step in enumerate(sample(model, *self._asked([asked.prompt] * asked.n, tokenizer), drawn, how), 1):
            yield Partial(step=number, steps=how.steps, pictures=files(step.guess) if number in told else [])
        made = asked.n * self.shape.tokens
        yield {
            "data": [{"b64_json": file} for file in files(step.x)],
            "size": f"{self.chosen.size}x{self.chosen.size}",
            "output_format": asked.output_format,
            "seed": asked.seed,
            "usage": {
                "input_tokens": read, "output_tokens": made, "total_tokens": read + made,
                "input_tokens_details": {"text_tokens": read, "image_tokens": 0},
            },
        }  # fmt: skip

    def _sampling(self, asked: ImagesRequest) -> Sampling:
        given = asked.model_dump(include={"steps", "sampler", "guidance", "guidance_interval"}, exclude_none=True)
        how = Sampling.parse({**self.chosen.sampling.model_dump(), **given}, where="request")
        if how.guidance > 1 and not self.chosen.unconditional:
            fix = "set guidance to 1, or train with options.unconditional above 0"
            raise UserError("this model has learnt nothing that guidance could lead away from", where="request", fix=fix)
        return how

    def _check(self, asked: ImagesRequest, tokenizer: Tokenizer) -> int:
        """The tokens of what is asked for; refuses what cannot be made."""
        size = f"{self.chosen.size}x{self.chosen.size}"
        if asked.size not in ("auto", size):
            raise UserError(f"the size {asked.size!r} is not made here", where="request", fix=f"ask for {size}, or auto")
        if not asked.prompt.strip():
            raise UserError("the prompt is empty", where="request", fix="say what is to be shown")
        if not self.tokenized:
            label_index(asked.prompt, self.labels, "pictures")
            return 1
        count = len(self._tokens(asked.prompt, tokenizer))
        if count > self.chosen.text_tokens:
            what = f"the prompt has {count} tokens, and the model reads {self.chosen.text_tokens}"
            raise UserError(what, where="request", fix="shorten it")
        return count


def _signs(of_each: int) -> Sequence[ShownPicture]:
    from ..prepare.signs import signs

    return [
        ShownPicture(image=Picture.of(content, f"{label}/{number}.png"), prompt=label)
        for number, (label, content) in enumerate(signs(of_each))
    ]


def _captions() -> Sequence[ShownPicture]:
    from ..prepare.signs import SIGNS, captioned_signs

    return [
        ShownPicture(image=Picture.of(content, f"{number}.png"), prompt=caption[(number + number // len(SIGNS)) % 2])
        for number, (caption, content) in enumerate(captioned_signs(SIGNS_OF_EACH))
    ]
