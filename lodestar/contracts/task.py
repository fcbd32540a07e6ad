"""What an application is. Each file in `lodestar/tasks/` holds one `Task`; the file's name is the task's name.

A value's way: file → example → `encode` → batch → `loss` → checkpoint (`calibrate`) → `measure` → scorecard → `answer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, get_args

from .config import Config
from .errors import UserError
from .findings import Findings
from .language import Words
from .media import Media
from .score import Columns, Metric

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from .reading import Reading
    from .tokenizer import Tokenizer

Batch = Mapping[str, "Tensor"]
"""Tensors by name.

Packed and whole (rows of documents, end to end): `tokens`, `targets` (B, T; -100 where nothing is to be learnt), and, where a
row holds more than one document, `document_ids` and `positions` (B, T).
Padded (one example a row): `tokens`, `attention_mask` (B, T; True on real tokens), and each scalar field of the example (B,).
Paired (one pair a row): `source_tokens`, `source_mask` (B, S; True on real tokens), and `tokens`, `targets`, `attention_mask` (B, T).
Padded and paired rows have the arrays of the task, too: those of one shape (B, …); those of any length (B, longest, …), 0 where a row is
shorter, with `NAME_mask` (B, longest; True on what is real). Padded rows without tokens have no `attention_mask`.
"""

IGNORE = -100
"""The target that the loss skips, as in torch's cross-entropy."""


Reply = tuple[Sequence[int], Sequence[bool]]
"""A prompt and a reply to it as tokens, and which of them are the reply's."""


class ArrayShape(NamedTuple):
    """What each row holds beside tokens and numbers: pixels, samples of sound, boxes."""

    dtype: str
    """A NumPy type: uint8, int16, float32, …"""
    shape: tuple[int | None, ...]
    """None in the first place: of any length."""

    @property
    def ragged(self) -> bool:
        """Whether rows may differ in length."""
        return self.shape[0] is None


MODEL_LENGTH = "model_length"
"""A number of a row: the positions of the model that it takes, where they are not its tokens."""
Row = Mapping[str, "Sequence[int] | int | np.ndarray"]
"""What `Task.encode` gives."""


class Problem(NamedTuple):
    """A prompt whose replies can be checked."""

    prompt: Sequence[int]
    """As tokens, the mark that begins a text included."""
    expected: Any
    """What a reply is held against, as JSON: the right number, tests, …"""
    solution: str = ""
    """The record's own reply."""


class Variant(NamedTuple):
    """Another template of a task, for another use of it."""

    template: Mapping[str, Any]
    """As the task's own."""
    files: Mapping[str, Path] = {}
    """What else is put into the new venture's folder: its name there → the file."""


Endpoint = Literal[
    "completions", "chat/completions", "classify", "translate", "summarize", "answer", "embeddings", "recommend", "detect",
    "audio/transcriptions", "audio/speech", "images/generations",
]  # fmt: skip
"""How an application is asked. The first two write their answer token by token and stream it; each of the others gives it whole."""


class Example(Config):
    """Base of a task's record as its user writes it; the file formats follow from its fields."""

    boxed: ClassVar[bool] = False
    """Whether it is a picture with boxes (`image`, `boxes`, `units`, `width`, `height`), which comes in the forms of other tools, too."""
    repaired: ClassVar[Words] = Words("parts of records brought into order", "已修正的记录内容")
    """What `repairs` counts, as the data card says it before the number."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """A file's record → the fields of this class, for a task whose records come in several forms.

        Raises:
            UserError: it is in none of them.
        """
        return fields

    @classmethod
    @cache
    def media_fields(cls) -> Mapping[str, type[Media]]:
        """The fields that hold files, or lists of them, and of which kind."""
        found: dict[str, type[Media]] = {}
        for name, field in cls.model_fields.items():
            for part in (field.annotation, *(part for each in get_args(field.annotation) for part in (each, *get_args(each)))):
                if isinstance(part, type) and issubclass(part, Media):
                    found[name] = part
        return found

    @classmethod
    def of_file(cls, path: str) -> Mapping[str, Any]:
        """What the path of a file, which is a record of its own, says of it: fields beside the one for the file.

        Args:
            path: from the venture, or from the archive that it is in, with `/` between the folders.
        """
        return {}

    def media(self) -> Iterator[Media]:
        """The files that it holds."""
        for name in self.media_fields():
            value = getattr(self, name)
            yield from value if isinstance(value, list | tuple) else () if value is None else (value,)

    def repairs(self) -> int:
        """How much of it was brought into order, rather than refused: never in silence."""
        return 0

    def kinship(self) -> str | None:
        """What this record has in common with those that must not stand in another split: the document that it is a part of, the text
        that it asks about, or the file that it holds. None where it stands alone.
        """
        path: str | None = getattr(self, "path", None)
        if path is None and self.media_fields():
            return next((media.sha256 for media in self.media()), None)
        return path


class Loader(Protocol):
    """Batches, for ever and in a fixed order; its state is part of the checkpoint."""

    def next_batch(self) -> Batch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Objective(Protocol):
    """What the training loop asks of a task, and of a loss that is none (preferences, rewards)."""

    def describe(self) -> dict[str, Any]:
        """What shapes the loss, as JSON: part of what tells one run from another."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss (a scalar with gradient) and the number of terms in it (a scalar)."""
        ...


class Task(ABC):
    """One application, the whole way from record to answer.

    A task is created with its `options` (venture.yaml: `options`), learns its `state` (a label set, say) from the training examples in
    `fit`, and may fit some of it (a threshold, say) to the trained model in `calibrate`; both are JSON and travel with the data, the
    checkpoint and the release.
    """

    name: ClassVar[str] = ""
    """The file's name with hyphens, set when the task is found."""
    words: ClassVar[Words]
    """What the task does, in one sentence."""
    example: ClassVar[type[Example]]
    metrics: tuple[Metric, ...]
    """The first one is the headline. The class has all that there are; an object may have those that its options ask for."""
    batching: Literal["packed", "padded", "whole", "paired"]
    """Rows cut from a stream of all documents; one example a row; rows of as many whole examples as fit; or one pair a row, of a source
    that is read and tokens that are written.
    """
    among_others: ClassVar[Sequence[str]] = ()
    """Columns of `measure` that say where a row stands among those that are measured with it: of another company they are others."""
    draws: ClassVar[bool] = False
    """Whether it answers with a draw from what it has learnt (a picture), where others have one answer that is right: what it is asked for
    then comes out as some record of that kind, and is judged among many."""
    compares_rows: ClassVar[bool] = False
    """Whether a row's loss depends on the others of its batch, which it is told apart from: its micro-batches are part of the recipe."""
    endpoint: ClassVar[Endpoint]
    """The HTTP route that serves it, /v1/ENDPOINT, and the form of the page."""
    page_form: ClassVar[str] = ""
    """The form of the page, where it is not the endpoint's own: deploy/page/forms/FORM.js."""
    tokenized: bool = True
    """Whether it reads or writes text. Where not, its tokenizer has the two special tokens alone, `vocabulary_size` is one of the fields
    that `architecture` decides, and `texts` are for people: what stands in the data card."""
    passes: ClassVar[int | None] = None
    """Passes over the data that are trained on where the user names no budget; as the size derives where None."""
    checked_by: ClassVar[str] = ""
    """The fields of a record whose replies can be checked (`problem`), in words; empty where the task has no such records."""
    special_tokens: tuple[str, ...] = ()
    """What a tokenizer that is trained for the task has beside the special tokens of every one; `fit` may add some."""
    single_characters: ClassVar[bool] = False
    """Whether such a tokenizer keeps each character of Chinese and Japanese apart, so that any of them can begin or end an answer."""
    shaped_by_data: ClassVar[bool] = False
    """Whether `build` needs what `fit` learnt of the data, such as the number of labels."""
    separable: bool = False
    """Whether what is read may have another vocabulary than what is written (`data.source_vocabulary`): `sides` tells the texts apart."""
    template: ClassVar[Mapping[str, Any]]
    """venture.yaml of `lodestar new --template NAME`, less the name."""
    variants: ClassVar[Mapping[str, Variant]] = {}
    """What `lodestar new --template NAME:VARIANT` knows besides."""

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        self.options = dict(options or {})
        self.state: dict[str, Any] = dict(state or {})

    def describe(self) -> dict[str, Any]:
        """The JSON that `lodestar.tasks.load` makes this task from again."""
        return {"task": self.name, "options": self.options, "state": self.state}

    # Data

    def adopt(self, folder: Path) -> None:  # noqa: B027 - most tasks take nothing but the weights
        """Take from an open checkpoint's folder what the task needs of it to be fine-tuned from it, into `state`."""

    @classmethod
    @abstractmethod
    def sample(cls) -> Sequence[Example]:
        """A tiny data set of the project's own, in English and Chinese, so that the task runs with no other data."""

    def gather(self, records: Iterator[tuple[Any, str]], shares: Mapping[str, float]) -> Iterator[tuple[Any, str | None]] | None:
        """The examples that the records of the sources make together, each with its split, where it takes several to make one; None, and
        nothing is taken of them, where each record is an example and falls into a split by itself.

        Args:
            records: each with its place.
            shares: of `validation` and `test`, as the user set them.
        """
        return None

    @classmethod
    def builtins(cls) -> Mapping[str, Callable[[], Sequence[Example]]]:
        """Further data that every installation has, as the source `builtin:NAME`."""
        return {}

    @abstractmethod
    def texts(self, example: Any) -> Iterator[str]:
        """The texts of an example that the tokenizer is trained on."""

    def sides(self, example: Any) -> tuple[Sequence[str], Sequence[str]]:
        """Of `texts`, those that are read and those that are written."""
        raise NotImplementedError(f"{self.name} has one vocabulary")

    def fit(self, examples: Iterable[Any]) -> None:  # noqa: B027 - most tasks have nothing to learn here
        """Learn `state` from the training examples; raise `UserError` where they cannot train the task."""

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:
        """The arrays of each row, by name; of padded and paired rows alone."""
        return {}

    @abstractmethod
    def encode(self, example: Any, tokenizer: Tokenizer) -> Row:
        """`tokens`, other sequences of the same length, and scalars. Where there is a sequence `targets`, it says for each token which
        one is to be predicted from it, or `IGNORE`; otherwise the next one is. Of a pair, `source` is what is read, of any length.
        A number `lost` says how many tokens were left out for the others to fit; it is counted, and not stored.

        And the `arrays`. A row of them may do without tokens; a number `model_length` then says how many positions of the model it takes:
        batches and budgets are counted in these.
        """

    def rows(self, example: Any, tokenizer: Tokenizer, context: int | None) -> Sequence[Row]:
        """What is learnt of an example, each as `encode` says: its one row, or the windows of one that is longer than the context.

        Args:
            context: tokens that the model sees at once; None where that is not known.
        """
        return [self.encode(example, tokenizer)]

    def preference(self, example: Any, tokenizer: Tokenizer) -> tuple[Reply, Reply] | None:
        """The better and the worse of two replies to one prompt; None where the example is no such pair."""
        return None

    def judged(self, example: Any, tokenizer: Tokenizer) -> tuple[Reply, bool] | None:
        """A reply and whether it is wanted; None where the example does not say."""
        return None

    def problem(self, example: Any, tokenizer: Tokenizer) -> Problem | None:
        """The prompt of an example, and what replies to it are held against; None where the example cannot be checked."""
        return None

    def rewards(self, replies: Sequence[str], expected: Sequence[Any], *, partial: bool = False) -> Sequence[float]:
        """From 0 to 1 for each reply to a `problem`.

        Args:
            partial: a reply that is right in part, where there is such a thing, is rewarded for that part.

        Raises:
            UserError: nothing here can judge them.
        """
        raise NotImplementedError(f"{self.name} has no problems")

    # Model

    @abstractmethod
    def architecture(self) -> Mapping[str, Any]:
        """The fields of ModelConfig that the task decides (`architecture`, say); the size decides the rest."""

    @abstractmethod
    def build(self, config: Any) -> nn.Module:
        """A `ModelConfig` → the module to train, with its heads."""

    def begin(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Any]) -> None:  # noqa: B027 - most learn it all by training
        """Solve for what of the new model follows from the training records without any training; called before it."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss in nats (a scalar with gradient) and the number of terms in it (a scalar)."""

    # Quality

    def calibrate(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Any]) -> None:  # noqa: B027 - most answer as they are
        """Fit to the trained model what in `state` decides on its answers: a temperature, a threshold.

        Called once, after training and before the model is saved and judged; not at all where no record validates, so that `state` has
        to do without.

        Args:
            examples: the validation records, which the weights were not learnt from and no score is reported on.
        """

    @abstractmethod
    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Any]) -> dict[str, np.ndarray]:
        """Columns that `metrics` compute from, one row an example, in the order given."""

    def signatures(self) -> dict[str, str]:
        """Metric → how exactly it is computed, where one name stands for several ways."""
        return {}

    @abstractmethod
    def baseline(self, train: Sequence[Any], examples: Sequence[Any]) -> tuple[str, dict[str, np.ndarray]]:
        """The name of the simplest method worth beating, and its columns on `examples`, of the same form as `measure`'s."""

    def instruction(self, example: Any) -> str:
        """What a model that was not trained for the task is told to do, in words, with the record's own text: how a bought API is asked.

        Raises:
            UserError: answers to this task that are given in words cannot be measured.
        """
        raise UserError(
            f"the task {self.name} does not measure answers that are given in words",
            fix="quote the quality instead: the strategy's evidence",
        )

    def answered(self, answers: Sequence[str], examples: Sequence[Any]) -> dict[str, np.ndarray]:
        """The columns of answers that another model gave to `instruction`, or rules to `request`, of the same form as `measure`'s."""
        raise NotImplementedError(f"{self.name} is not asked in words")

    def possible_answers(self) -> Sequence[str]:
        """All answers in words that there are, where they are a fixed set; none where any text is one."""
        return ()

    def findings(self, columns: Columns, examples: Sequence[Any], train: Sequence[Any]) -> Findings | None:
        """What the report shows of an evaluation beyond its scores: pictures, sentences, the worst mistakes; None where there is nothing.

        Args:
            columns: as `measure` gave them of the examples.
            train: the training records.
        """
        return None

    def preview(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Any]) -> bytes | None:
        """What the model makes as it is now, for a person who follows its training: a PNG; None where there is nothing to look at.

        Drawn at each evaluation in training, of the weights that are evaluated; it draws from no generator that the training does.

        Args:
            examples: the validation records, or where there are none the training records.
        """
        return None

    # Product

    def shown(self) -> Sequence[Example]:
        """Records that a person is offered to try: those of the sample, which a task whose options rule some of them out leaves out."""
        return self.sample()

    def choices(self) -> dict[str, Any]:
        """What a client can choose between when it asks, as JSON: the languages of a translator, say."""
        return {}

    @abstractmethod
    def request(self, example: Any) -> dict[str, Any]:
        """The request of a user whose record this is: what `answer` and the HTTP route take."""

    @abstractmethod
    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """The response to one request; what is served equals what this returns."""

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        """What the model reads for one request, and which answer to it `lodestar explain` looks into.

        Args:
            output: the answer to be explained in place of the model's own (a label, a text).

        Raises:
            UserError: it does not fit the context, there is no such answer, or the task has no answers that can be explained.
        """
        raise UserError(f"the answers of the task {self.name} cannot be explained", fix="explain one of a task that gives labels or text")


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device
