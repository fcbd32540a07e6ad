"""Object detection: an encoder over a picture's patches that proposes a set of boxes, each with its label, in one pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.media import STORE, ImagePart, Picture
from ..contracts.progress import note, track
from ..contracts.reading import Reading
from ..contracts.task import MODEL_LENGTH, ArrayShape, Batch, Example, Row, Task
from ..evaluate.detection import MAP_50, MAP_50_95, Boxed, best_threshold, detection_columns
from ..evaluate.labelling import label_index

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.box_augment import BoxAlterations
    from ..build.stems import PatchShape
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig
    from ..prepare.boxes import Frame, Framed, Upright

LABELS_AT_MOST = 10_000
"""More distinct labels than this are a column of something else."""
SAMPLE, SAMPLE_SIZE, SAMPLE_SIGNS = 24, 48, ("circle", "star", "大", "中")
"""Pictures of the sample, their side in pixels, and what is in them."""
SIGNS, SIGNS_SIZE = 400, 96
"""The same of the further data, which has all signs."""


class Box(Config):
    """An object in a picture."""

    label: str
    """What it is. A number is taken as its text."""
    left: float
    top: float
    right: float
    bottom: float
    """Its edges, as the record's `units` say: x grows rightwards, y downwards."""
    ignored: bool = False
    """It is to be neither found nor missed: too hard to tell (VOC's `difficult`), or a crowd of many (COCO's `iscrowd`)."""
    place: str = Field("", exclude=True)
    """What an error calls it, where its file knows better than “box 3”."""

    @field_validator("label", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class BoxedPicture(Example):
    """A picture and what is where in it."""

    image: Picture
    """The picture: a path relative to the file that names it, or `data:image/…;base64,…`."""
    boxes: list[Box]
    """Its objects; none is a picture without any, which is learnt from, too."""
    units: Literal["pixels", "relative"] = "pixels"
    """What the edges count: pixels of the picture as its file has it, the first from 0 to 1; or shares of its width and height, 0 to 1."""
    width: int | None = Field(None, ge=1)
    height: int | None = Field(None, ge=1)
    """The size of the picture that the boxes were drawn on, where it is known: another picture is refused. One that its camera wants turned
    (EXIF) is turned with its boxes; where this size is the turned one's, they are right already."""

    boxed = True
    repaired = Words("boxes that reach out of their pictures, clipped to them", "超出图片边界、已裁剪的框")
    _clipped: int = PrivateAttr(0)

    @model_validator(mode="after")
    def _boxes_are_inside(self, info: ValidationInfo) -> Self:
        if STORE not in (info.context or {}):  # a kept record was looked at before it was kept
            self._clipped = self.upright().clipped
        return self

    def upright(self) -> Upright:
        """The boxes on the upright picture, clipped to it; raises `UserError` where one is empty, or wholly outside."""
        import numpy as np

        from ..prepare.boxes import Drawn, upright
        from ..prepare.pictures import Header

        edges = np.array([(box.left, box.top, box.right, box.bottom) for box in self.boxes], np.float64).reshape(-1, 4)
        size = (self.width, self.height) if self.width is not None and self.height is not None else None
        places = [box.place or f"box {number}" for number, box in enumerate(self.boxes, 1)]
        return upright(Drawn(edges, places, self.units == "relative", size), Header.of(self.image.read(), self.image.name or None))

    def repairs(self) -> int:
        return self._clipped


class Options(Config):
    """venture.yaml: `options`."""

    width: int = Field(320, ge=8, le=2048)
    height: int = Field(320, ge=8, le=2048)
    """Pixels that the model reads: every picture is brought to this shape."""
    fit: Literal["pad", "stretch"] = "pad"
    """How a picture takes that shape: it is shown whole, with grey beside it, or stretched."""
    patch: int = Field(16, ge=2, le=64)
    """Pixels a side of a patch, of which the model reads each as one position: halving it makes four times as many."""
    cells: int = Field(2, ge=1, le=8)
    """Each patch proposes `cells` × `cells` objects: two objects whose middles are in one cell cannot both be found."""
    stem: Literal["convolutions", "patches"] = "convolutions"
    """What makes a patch one embedding: small convolutions that overlap (patches of 2, 4, 8 … pixels), or one linear layer, as in ViT."""
    positions: Literal["grid", "learned"] = "grid"
    """Where a patch stands: sinusoids of its row and its column, or a table that is learnt."""
    flip: Literal["no", "horizontal", "both"] = "horizontal"
    """Half of the training pictures are mirrored, sideways or also upside down. Wrong where that changes what is seen: letters, arrows."""
    zoom: float = Field(1.5, ge=1, le=4)
    """Training pictures are shown up to so many times nearer or farther; 1: as they are."""
    colour: float = Field(0.2, ge=0, lt=1)
    """Light, contrast and colours of training pictures change by up to this share."""
    mosaic: float = Field(0.5, ge=0, le=1)
    """The share of training pictures that are put together of four."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        for name, size in (("width", self.width), ("height", self.height)):
            if self.patch > size:
                raise ValueError(f"patch ({self.patch}) is larger than {name} ({size}); make it smaller")
            if size % self.patch:
                near = size // self.patch * self.patch
                raise ValueError(f"patch ({self.patch}) does not divide {name} ({size}); the nearest smaller {name} that it does is {near}")
        if self.stem == "convolutions" and self.patch & (self.patch - 1):
            raise ValueError(f"patch is {self.patch}, and convolutions halve a picture; give 2, 4, 8, 16 …, or stem: patches")
        if self.patch % self.cells:
            raise ValueError(f"cells ({self.cells}) does not divide patch ({self.patch}); change one of them")
        return self


class DetectRequest(Config):
    """One picture, or several, as OpenAI's clients send them."""

    input: ImagePart | list[ImagePart]
    threshold: float | None = Field(None, ge=0, le=1)
    """The least score of what is answered; where absent, the one that was fitted on validation."""


_TEMPLATE: dict[str, Any] = {
    "task": "object-detection",
    "statement": Words("Finds signs in a picture and says where they are.", "找出图片中的符号，并标出各自的位置。"),
    "audience": Words("a team that counts and marks things in pictures by hand", "手工在图片上清点、标注物体的团队"),
    "north_star": "map_50",
    # A mirrored arrow or character is another one.
    "options": {"width": 96, "height": 96, "patch": 8, "flip": "no", "zoom": 1.3},
    "data": {"sources": ["builtin:signs"], "validation": 0.1, "test": 0.1},
    "model": {"size": "tiny", "overrides": {"depth": 3, "width": 96, "heads": 3}},
    "train": {"tokens": 2_400_000, "batch_tokens": 2304, "learning_rate": 0.005},
    "targets": [
        {
            "metric": "map_50",
            "at_least": 0.8,
            "why": Words("eight signs and little data; raise it with your own", "只有八种符号、少量数据；换成您自己的数据后请调高"),
        },
        {
            "metric": "latency_ms_p95",
            "at_most": 300,
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


class ObjectDetection(Task):
    words = Words("Find the objects in a picture: a box and a label for each.", "找出图片中的物体：为每个物体给出框与标签。")
    example = BoxedPicture
    metrics = (MAP_50, MAP_50_95)
    batching = "padded"
    shaped_by_data = True
    endpoint = "detect"
    tokenized = False
    passes = 200  # assumed: boxes take longer to learn than labels
    template = _TEMPLATE

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")

    @classmethod
    def sample(cls) -> Sequence[BoxedPicture]:
        return _scenes(SAMPLE, SAMPLE_SIGNS, SAMPLE_SIZE, 2, "sample")

    @classmethod
    def builtins(cls) -> Mapping[str, Callable[[], Sequence[Example]]]:
        """`signs`: 400 pictures of 96 × 96 pixels with up to four of the eight signs of the sample of image classification."""
        from ..prepare.signs import SIGNS as KNOWN

        return {"signs": lambda: _scenes(SIGNS, list(KNOWN), SIGNS_SIZE, 4, "signs")}

    @property
    def labels(self) -> list[str]:
        """The labels that the model can give, in the order of its outputs."""
        return list(self.state["labels"])

    @property
    def shape(self) -> PatchShape:
        """How pictures are cut."""
        from ..build.stems import PatchShape

        return PatchShape(self.chosen.height, self.chosen.width, self.chosen.patch, self.chosen.patch, prefix=0)

    @property
    def alterations(self) -> BoxAlterations:
        """How training pictures are altered."""
        from ..build.box_augment import BoxAlterations

        given = self.chosen
        return BoxAlterations(flip=given.flip, zoom=given.zoom, colour=given.colour, mosaic=given.mosaic)

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:
        return {"pixels": ArrayShape("uint8", (3, self.chosen.height, self.chosen.width)), "objects": ArrayShape("float32", (None, 6))}

    def texts(self, example: BoxedPicture) -> Iterator[str]:
        for box in example.boxes:
            yield box.label

    def fit(self, examples: Iterable[BoxedPicture]) -> None:
        """Learn the label set, and the size of the usual object: the geometric mean of all, in pixels of what the model reads.

        Raises:
            UserError: there is no object, or so many labels that they are none.
        """
        import numpy as np

        labels: set[str] = set()
        logs: list[np.ndarray] = []
        for example in examples:
            labels |= {box.label for box in example.boxes}
            edges = self._frame(example).to_model(example.upright().edges)[[not box.ignored for box in example.boxes]]
            logs.append(np.log(np.maximum(edges[:, 2:] - edges[:, :2], 1.0)))
        sizes = np.concatenate(logs) if logs else np.empty((0, 2))
        if not len(sizes):
            raise UserError("the training records have no boxes", where="data", fix="give pictures with boxes beside those without")
        if len(labels) > LABELS_AT_MOST:
            fix = "give each box the label of what it is, not a name of its own"
            raise UserError(f"the training records have {len(labels)} different labels", where="data", fix=fix)
        self.state["labels"] = sorted(labels)
        self.state["usual"] = np.exp(sizes.mean(0)).round(2).tolist()

    def encode(self, example: BoxedPicture, tokenizer: Tokenizer) -> Row:
        import numpy as np

        framed, truth = self._read(example.image.read(), example.image.name or None), self._truth(example)
        objects = np.concatenate([framed.frame.to_model(truth.boxes), truth.labels[:, None], truth.scores[:, None]], 1)
        return {"pixels": framed.pixels, "objects": objects.astype(np.float32), MODEL_LENGTH: self.shape.tokens}

    def _frame(self, example: BoxedPicture) -> Frame:
        from ..prepare.boxes import Frame
        from ..prepare.pictures import Header

        where = example.image.name or None
        return Frame.of(Header.of(example.image.read(), where).upright, self.chosen.height, self.chosen.width, self.chosen.fit, where)

    def _read(self, content: bytes, where: str | None) -> Framed:
        from ..prepare.boxes import read_framed

        return read_framed(content, self.chosen.height, self.chosen.width, self.chosen.fit, where)

    def _truth(self, example: BoxedPicture) -> Boxed:
        """The objects on the upright picture."""
        import numpy as np

        labels = [label_index(box.label, self.labels, "boxes") for box in example.boxes]
        ignored = np.array([float(box.ignored) for box in example.boxes])
        return Boxed(example.upright().edges, np.array(labels, np.int64), ignored)

    def architecture(self) -> Mapping[str, Any]:
        position = "learned" if self.chosen.positions == "learned" else "none"
        return {"architecture": "encoder", "vocabulary_size": 0, "context": self.shape.tokens, "position": position}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.detector import Detector

        width, height = self.state["usual"]
        return Detector(
            config, self.shape, len(self.labels), cells=self.chosen.cells, usual=(width, height), stem=self.chosen.stem,
            grid=self.chosen.positions == "grid",
        )  # fmt: skip

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.detection import detection_loss

        return detection_loss(model, batch, self.alterations)

    def calibrate(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[BoxedPicture]) -> None:
        score, words = best_threshold(self.measure(model, tokenizer, examples))
        self.state["threshold"] = score
        note(str(words))

    @property
    def threshold(self) -> float:
        """The least score of what is answered; a half where nothing was fitted."""
        return float(self.state.get("threshold", 0.5))

    def _detected(self, model: nn.Module, pictures: Iterable[Framed]) -> Iterator[Boxed]:
        """What is found in each picture, on the upright one."""
        from ..build.detection import detect

        frames: deque[Frame] = deque()

        def pixels() -> Iterator[np.ndarray]:
            for framed in pictures:
                frames.append(framed.frame)
                yield framed.pixels

        for found in detect(model, pixels()):
            yield Boxed(frames.popleft().to_picture(found.boxes), found.labels, found.scores)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[BoxedPicture]) -> dict[str, np.ndarray]:
        from ..build.detection import MOST_DETECTIONS

        pictures = (self._read(example.image.read(), example.image.name or None) for example in track(examples, "look", "picture"))
        return detection_columns(
            list(self._detected(model, pictures)), [self._truth(example) for example in examples], len(self.labels), MOST_DETECTIONS
        )  # fmt: skip

    def baseline(self, train: Sequence[BoxedPicture], examples: Sequence[BoxedPicture]) -> tuple[str, dict[str, np.ndarray]]:
        """Windows on oriented gradients (Dalal and Triggs 2005)."""
        from ..build.detection import MOST_DETECTIONS
        from ..evaluate.sliding import WindowDetector

        def looked(each: BoxedPicture) -> tuple[np.ndarray, Boxed, Frame]:
            (pixels, frame, _), truth = self._read(each.image.read(), each.image.name or None), self._truth(each)
            return pixels, truth._replace(boxes=frame.to_model(truth.boxes)), frame

        learnt = WindowDetector([looked(each)[:2] for each in train], len(self.labels))
        found = []
        for example in track(examples, "slide windows", "picture"):
            pixels, _, frame = looked(example)
            boxed = learnt.find(pixels, MOST_DETECTIONS)
            found.append(boxed._replace(boxes=frame.to_picture(boxed.boxes)))
        truth = [self._truth(example) for example in examples]
        return "windows on oriented gradients", detection_columns(found, truth, len(self.labels), MOST_DETECTIONS)

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[BoxedPicture], train: Sequence[BoxedPicture]) -> Findings:
        from ..evaluate.detection_findings import detection_findings
        from ..prepare.pictures import Header, thumbnail

        def drawn(row: int) -> tuple[str, int, int]:
            content = examples[row].image.read()
            return thumbnail(content, 320), *Header.of(content).upright

        names = [example.image.name for example in examples]
        return detection_findings(columns, names, self.labels, self.threshold, [self._truth(each) for each in examples], drawn)

    def request(self, example: BoxedPicture) -> dict[str, Any]:
        from ..prepare.pictures import media_type

        return {"input": ImagePart.of(example.image, media_type(example.image.read()))}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`detections`, best first, and `width` and `height` of the upright picture, in whose pixels they are; `frames` of one that moves,
        whose first is read.

        Of a list, `results` with these for each.

        Raises:
            UserError: a picture cannot be read.
        """
        body = DetectRequest.parse(request, where="request")
        parts = body.input if isinstance(body.input, list) else [body.input]
        if not parts:
            raise UserError("the list of inputs is empty", where="request", fix="send at least one picture")
        names = ["input"] if len(parts) == 1 else [f"input.{place}" for place in range(len(parts))]
        pictures = [self._read(part.content, name) for part, name in zip(parts, names, strict=True)]
        threshold = self.threshold if body.threshold is None else body.threshold
        results = [self._answer(framed, found, threshold) for framed, found in zip(pictures, self._detected(model, pictures), strict=True)]
        usage = {"prompt_tokens": self.shape.tokens * len(parts)}
        return {"results": results, "usage": usage} if isinstance(body.input, list) else {**results[0], "usage": usage}

    def _answer(self, framed: Framed, found: Boxed, threshold: float) -> dict[str, Any]:
        best = sorted(range(len(found.scores)), key=lambda place: -found.scores[place])
        detections = [
            {
                "label": self.labels[int(found.labels[place])], "score": float(found.scores[place]),
                "box": dict(zip(("left", "top", "right", "bottom"), found.boxes[place].round(2).tolist(), strict=True)),
            }
            for place in best
            if found.scores[place] >= threshold
        ]  # fmt: skip
        width, height = framed.frame.size
        moving = {"frames": framed.frames} if framed.frames > 1 else {}
        return {"detections": detections, "width": width, "height": height, **moving}

    def choices(self) -> dict[str, Any]:
        return {"labels": self.labels, "threshold": self.threshold}

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.reading import read_detection

        asked = DetectRequest.parse(request, where="request").input
        if not isinstance(asked, ImagePart):
            raise UserError("several pictures were sent, and one is explained at a time", where="request", fix="send one as input")
        return read_detection(model, self._read(asked.content, "input").pixels, self.labels, output)


def _scenes(count: int, names: Sequence[str], size: int, most: int, folder: str) -> Sequence[BoxedPicture]:
    from ..prepare.signs import scenes

    return [
        BoxedPicture(
            image=Picture.of(content, f"{folder}/{number}.png"),
            boxes=[Box(label=name, left=left, top=top, right=right, bottom=bottom) for name, left, top, right, bottom in placed],
        )
        for number, (content, placed) in enumerate(scenes(count, names, size=size, most=most))
    ]
