"""Image classification: an encoder over a picture's patches that gives it one label of a fixed set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.media import ImagePart, Picture
from ..contracts.progress import note, track
from ..contracts.reading import Reading
from ..contracts.task import MODEL_LENGTH, ArrayShape, Batch, Example, Row, Task, Variant
from ..evaluate.labelling import Calibration, OneLabel, label_index
from ..evaluate.picture_labels import PICTURE_METRICS, PICTURES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.picture_labels import Alterations
    from ..build.stems import PatchShape
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig

LABELS_AT_MOST = 10_000
"""More distinct labels than this are a column of something else."""
SAMPLE_OF_EACH = 8
"""Pictures of each sign in the sample."""


class LabelledPicture(Example):
    """A picture and what it shows."""

    image: Picture
    """The picture: a path relative to the file that names it, or `data:image/…;base64,…`. A folder of pictures, or a tar archive of one,
    needs no table: each picture's label is the name of the folder that it is in."""
    label: str
    """What it shows; the labels of the training records are the ones that the model can give. A number is taken as its text."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        label = fields.get("label")
        # A column of integers with a gap is one of floats.
        if isinstance(label, int) or (isinstance(label, float) and label.is_integer()):
            return {**fields, "label": str(int(label))}
        return fields

    @classmethod
    def of_file(cls, path: str) -> Mapping[str, Any]:
        folder = PurePosixPath(path).parent.name
        return {"label": folder} if folder else {}


class Options(Config):
    """venture.yaml: `options`."""

    size: int = Field(32, ge=4, le=512)
    """Pixels a side that the model reads: every picture is brought to this size."""
    patch: int = Field(4, ge=1, le=64)
    """Pixels a side of a patch, of which the model reads each as one position: halving it makes four times as many."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture becomes square: its middle is kept; it is shown whole, with grey beside it; or its sides are made alike."""
    stem: Literal["convolutions", "patches"] = "convolutions"
    """What makes a patch one embedding: small convolutions that overlap (patches of 2, 4, 8, 16 … pixels), or one linear layer, as in ViT.
    Convolutions learn faster, and from fewer pictures."""
    positions: Literal["grid", "learned"] = "grid"
    """Where a patch stands: sinusoids of its row and its column, or a table that is learnt."""
    pooling: Literal["mean", "token"] = "mean"
    """What decides: the mean of all patches' states, or the state of a token before them."""
    flip: bool = True
    """Half of the training pictures are mirrored. Wrong where left and right mean something: letters, digits, arrows."""
    crop: int | None = Field(None, ge=0)
    """Training pictures are moved by up to so many pixels; an eighth of the size where absent."""
    erase: float = Field(0.0, ge=0, le=1)
    """The share of training pictures that a rectangle of noise hides a part of."""
    mixup: float = Field(0.0, ge=0)
    """Training pictures are averaged in pairs, and their labels with them, by shares from Beta(mixup, mixup); 0: none."""
    cutmix: float = Field(0.0, ge=0)
    """A part of each training picture is replaced by that of another, and their labels shared by the areas; the part's share of the area
    is from Beta(cutmix, cutmix); 0: none. With `mixup`, each batch is mixed in one of the two ways."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """The share of each training label that is given to all labels alike."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.patch > self.size:
            raise ValueError(f"patch ({self.patch}) is larger than size ({self.size}); make it smaller")
        if self.size % self.patch:
            near = self.size // self.patch * self.patch
            raise ValueError(f"patch ({self.patch}) does not divide size ({self.size}); the nearest smaller size that it does is {near}")
        if self.stem == "convolutions" and self.patch & (self.patch - 1):
            raise ValueError(f"patch is {self.patch}, and convolutions halve a picture; give 1, 2, 4, 8 …, or stem: patches")
        if self.crop is not None and self.crop >= self.size:
            raise ValueError(f"crop ({self.crop}) moves a picture of size {self.size} out of sight; make it smaller")
        return self


class ClassifyRequest(Config):
    """One picture, or several, as OpenAI's clients send them."""

    input: ImagePart | list[ImagePart]


_TEMPLATE: dict[str, Any] = {
    "task": "image-classification",
    "statement": Words("Knows signs at a glance, on its own machine.", "在自己的机器上，一眼认出图形与文字符号。"),
    "audience": Words("a team that sorts pictures by hand", "手工整理图片的团队"),
    "north_star": "accuracy",
    # An arrow that points left is none of these signs, and a mirrored character is no character.
    "options": {"size": 24, "patch": 4, "flip": False},
    "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2},
    "model": {"size": "tiny", "overrides": {"depth": 2, "width": 64, "heads": 2}},
    "train": {"tokens": 120_000, "batch_tokens": 1152, "learning_rate": 0.01},
    "targets": [
        {
            "metric": "accuracy",
            "at_least": 0.3,
            "why": Words("eight signs and little data; raise it with your own", "只有八种符号、少量数据；换成您自己的数据后请调高"),
        },
        {
            "metric": "latency_ms_p95",
            "at_most": 200,
            "unit": "ms",
            "why": Words("an answer while the picture is still looked at", "看图的工夫就有答案"),
        },
        {
            "metric": "memory_bytes",
            "at_most": 2_000_000_000,
            "unit": "bytes",
            "why": Words("runs on the team's own machine", "在团队自己的机器上运行"),
        },
    ],
}
_DIGITS: dict[str, Any] = {
    "statement": Words("Reads handwritten digits.", "识别手写数字。"),
    "audience": Words("an office that types numbers off paper forms", "把纸质表格上的数字录入电脑的办公室"),
    "options": {"size": 16, "patch": 2, "flip": False, "crop": 2},
    "data": {"sources": ["builtin:digits"], "validation": 0.1, "test": 0.2},
    "model": {"size": "tiny", "overrides": {"depth": 3, "width": 96, "heads": 3}},
    "train": {"tokens": 1_600_000, "batch_tokens": 4096, "learning_rate": 0.01},
}


class ImageClassification(Task):
    words = Words("Say what a picture shows, as one label of a fixed set.", "说出图片里是什么：从固定的标签中选一个。")
    example = LabelledPicture
    metrics = PICTURE_METRICS
    batching = "padded"
    shaped_by_data = True
    endpoint = "classify"
    page_form = "picture"
    tokenized = False
    passes = 60  # assumed: altered pictures are new for so long
    template = _TEMPLATE
    variants: ClassVar[Mapping[str, Variant]] = {
        "digits": Variant({**_TEMPLATE, **_DIGITS, "targets": [{**_TEMPLATE["targets"][0], "at_least": 0.95}, *_TEMPLATE["targets"][1:]]})
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")
        self._labelling = OneLabel(abstains=False)

    @classmethod
    def sample(cls) -> Sequence[LabelledPicture]:
        from ..prepare.signs import signs

        return [
            LabelledPicture(image=Picture.of(content, f"{label}/{number}.png"), label=label)
            for number, (label, content) in enumerate(signs(SAMPLE_OF_EACH))
        ]

    @classmethod
    def builtins(cls) -> Mapping[str, Callable[[], Sequence[Example]]]:
        """`digits`: 1,797 handwritten digits of 8 × 8 pixels, which come with scikit-learn (Alpaydin and Kaynak 1998)."""
        return {"digits": _digits}

    @property
    def labels(self) -> list[str]:
        """The labels that the model can give, in the order of its outputs."""
        return list(self.state["labels"])

    @property
    def shape(self) -> PatchShape:
        """How pictures are cut."""
        from ..build.stems import PatchShape

        size, patch = self.chosen.size, self.chosen.patch
        return PatchShape(size, size, patch, patch, prefix=int(self.chosen.pooling == "token"))

    @property
    def alterations(self) -> Alterations:
        """How training pictures are altered."""
        from ..build.picture_labels import Alterations

        given = self.chosen
        crop = given.size // 8 if given.crop is None else given.crop
        return Alterations(
            flip=given.flip, crop=crop, erase=given.erase, mixup=given.mixup, cutmix=given.cutmix, label_smoothing=given.label_smoothing
        )

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:
        return {"pixels": ArrayShape("uint8", (3, self.chosen.size, self.chosen.size))}

    def texts(self, example: LabelledPicture) -> Iterator[str]:
        yield example.label

    def fit(self, examples: Iterable[LabelledPicture]) -> None:
        """Learn the label set.

        Raises:
            UserError: there is one label alone, or so many that they are no labels.
        """
        counts = Counter(example.label for example in examples)
        if len(counts) < 2:
            only = f"one label alone, {next(iter(counts))!r}" if counts else "no records"
            raise UserError(f"the training records have {only}", where="data", fix="give pictures of at least two labels")
        if len(counts) > LABELS_AT_MOST:
            fix = "put the pictures into one folder a label, or name the column that holds the labels: data.columns: {label: COLUMN}"
            raise UserError(f"the training records have {len(counts)} different labels", where="data", fix=fix)
        self.state["labels"] = sorted(counts)

    def encode(self, example: LabelledPicture, tokenizer: Tokenizer) -> Row:
        shape = self.shape
        return {"pixels": self._pixels(example), "label": self._index(example.label), MODEL_LENGTH: shape.tokens}

    def _pixels(self, example: LabelledPicture) -> np.ndarray:
        from ..prepare.pictures import read_square

        return read_square(example.image.read(), self.chosen.size, self.chosen.fit, example.image.name or None)[0]

    def _index(self, label: str) -> int:
        return label_index(label, self.labels, "pictures")

    def _truth(self, examples: Sequence[LabelledPicture]) -> np.ndarray:
        import numpy as np

        return np.array([self._index(example.label) for example in examples], np.int64)

    def architecture(self) -> Mapping[str, Any]:
        position = "learned" if self.chosen.positions == "learned" else "none"
        return {"architecture": "encoder", "vocabulary_size": 0, "context": self.shape.tokens, "position": position}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.towers import PictureClassifier

        stem = self.chosen.stem
        return PictureClassifier(config, self.shape, len(self.labels), stem=stem, grid=self.chosen.positions == "grid")

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from torch import ones_like

        from ..build.picture_labels import picture_loss

        return picture_loss(model, batch["pixels"], batch["label"], self.alterations), ones_like(batch["label"]).sum()

    def calibrate(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledPicture]) -> None:
        calibration, said = self._labelling.fit(self._logits(model, examples), self._truth(examples), None)
        self.state["calibration"] = calibration.model_dump(mode="json")
        for words in said:
            note(str(words))

    @property
    def calibration(self) -> Calibration:
        """What was fitted on validation; the model's own word where nothing was."""
        return Calibration.parse(self.state.get("calibration", {}), where="task.json")

    def _logits(self, model: nn.Module, examples: Sequence[LabelledPicture]) -> np.ndarray:
        from ..build.picture_labels import picture_logits

        return picture_logits(model, (self._pixels(example) for example in track(examples, "look", "picture")))

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledPicture]) -> dict[str, np.ndarray]:
        return self._columns(self._logits(model, examples), examples, self.calibration)

    def _columns(self, logits: np.ndarray, examples: Sequence[LabelledPicture], calibration: Calibration | None) -> dict[str, np.ndarray]:
        truth = self._truth(examples)
        likelier = logits > logits[range(len(truth)), truth][:, None]
        return {**self._labelling.columns(logits, truth, calibration), "rank": likelier.sum(1)}

    def baseline(self, train: Sequence[LabelledPicture], examples: Sequence[LabelledPicture]) -> tuple[str, dict[str, np.ndarray]]:
        """Logistic regression on histograms of oriented gradients (Dalal and Triggs 2005)."""
        from ..evaluate.hog import hog_logits

        learnt, held_out = (map(self._pixels, each) for each in (train, examples))
        logits = hog_logits(learnt, self._truth(train), held_out, len(self.labels))
        return "logistic regression on oriented gradients", self._columns(logits, examples, None)

    def findings(
        self, columns: Mapping[str, np.ndarray], examples: Sequence[LabelledPicture], train: Sequence[LabelledPicture]
    ) -> Findings:
        from ..evaluate.wrong_labels import label_findings
        from ..prepare.pictures import thumbnail

        names = [example.image.name for example in examples]
        return label_findings(
            columns, names, self.labels, things=PICTURES, picture=lambda row: thumbnail(examples[row].image.read())
        )  # fmt: skip

    def request(self, example: LabelledPicture) -> dict[str, Any]:
        from ..prepare.pictures import media_type

        return {"input": ImagePart.of(example.image, media_type(example.image.read()))}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`label` and `probabilities` of a picture; `frames` of one that moves, whose first is read.

        Of a list, `results` with these for each.

        Raises:
            UserError: a picture cannot be read.
        """
        from ..build.picture_labels import picture_logits
        from ..prepare.pictures import read_square

        asked = ClassifyRequest.parse(request, where="request").input
        parts = asked if isinstance(asked, list) else [asked]
        if not parts:
            raise UserError("the list of inputs is empty", where="request", fix="send at least one picture")
        read = [
            read_square(part.content, self.chosen.size, self.chosen.fit, "input" if len(parts) == 1 else f"input.{place}")
            for place, part in enumerate(parts)
        ]
        logits = picture_logits(model, (pixels for pixels, _ in read))
        results = self._labelling.answers(logits, self.labels, self.calibration)
        for result, (_, frames) in zip(results, read, strict=True):
            if frames > 1:
                result["frames"] = frames
        usage = {"prompt_tokens": self.shape.tokens * len(parts)}
        return {**results[0], "usage": usage} if isinstance(asked, ImagePart) else {"results": results, "usage": usage}

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.reading import read_picture
        from ..prepare.pictures import read_square

        asked = ClassifyRequest.parse(request, where="request").input
        if not isinstance(asked, ImagePart):
            raise UserError("several pictures were sent, and one is explained at a time", where="request", fix="send one as input")
        picture, _ = read_square(asked.content, self.chosen.size, self.chosen.fit, "input")
        return read_picture(model, picture, self.labels, output, self.calibration.temperature)


def _digits() -> Sequence[LabelledPicture]:
    import numpy as np
    from sklearn.datasets import load_digits

    from ..prepare.pictures import png

    digits = load_digits()
    # Ink from 0 to 16, on paper.
    pictures = (255 - digits.images * (255 / 16)).round().astype(np.uint8)
    return [
        LabelledPicture(image=Picture.of(png(np.repeat(picture[None], 3, axis=0)), f"digits/{number}.png"), label=str(label))
        for number, (picture, label) in enumerate(zip(pictures, digits.target, strict=True))
    ]
