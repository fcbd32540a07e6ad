"""Two toy tasks, so that the step is tested on the `Task` interface alone, and files to feed them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.language import Words
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.task import Example, Task
from lodestar.prepare import prepare
from lodestar.prepare.sources import SourceFile, find_sources


class Note(Example):
    text: str


class Review(Example):
    text: str
    label: str
    stars: int | None = None


class Page(Example):
    text: str
    path: str | None = None


class _Toy(Task):
    """All that preparing needs of a task; models are other tests' business."""

    words = Words("toy", "玩具")
    metrics = ()
    endpoint = "completions"
    template = {}
    records: Sequence[Example] = ()

    @classmethod
    def sample(cls) -> Sequence[Example]:
        return cls.records

    def texts(self, example: Any) -> Iterator[str]:
        yield example.text

    def encode(self, example: Any, tokenizer: Any) -> Mapping[str, Sequence[int] | int]:
        return {"tokens": [*tokenizer.encode(example.text), tokenizer.end_of_text]}

    def architecture(self) -> Any: ...
    def build(self, config: Any) -> Any: ...
    def loss(self, model: Any, batch: Any) -> Any: ...
    def measure(self, model: Any, tokenizer: Any, examples: Any) -> Any: ...
    def baseline(self, train: Any, examples: Any) -> Any: ...
    def request(self, example: Any) -> Any: ...
    def answer(self, model: Any, tokenizer: Any, request: Any) -> Any: ...


class TextToy(_Toy):
    example = Note
    batching = "packed"
    records = tuple(Note(text=f"note {number}: 第{number}条") for number in range(30))


class PageToy(_Toy):
    example = Page
    batching = "packed"


class LabelToy(_Toy):
    """A sequence beside the tokens, and a number a record."""

    example = Review
    batching = "padded"

    def fit(self, examples: Iterable[Any]) -> None:
        self.state["labels"] = sorted({example.label for example in examples})

    def encode(self, example: Any, tokenizer: Any) -> Mapping[str, Sequence[int] | int]:
        tokens = [*tokenizer.encode(example.text), tokenizer.end_of_text]
        return {"tokens": tokens, "places": list(range(len(tokens))), "label": self.state["labels"].index(example.label)}


@pytest.fixture
def text_task() -> Task:
    return TextToy()


@pytest.fixture
def label_task() -> Task:
    return LabelToy()


@pytest.fixture
def page_task() -> Task:
    return PageToy()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of the test's folder, and give its path."""

    def writer(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return writer


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[SourceFile]]:
    """The files that sources of the test's folder resolve to."""

    def finder(*sources: str, **settings: Any) -> list[SourceFile]:
        return find_sources(DataSettings(sources=list(sources), **settings), tmp_path).files

    return finder


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """The sentence that preparing is refused with; nothing may be left of the attempt."""

    def refused(task: Task, **settings: Any) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError) as caught:
            prepare(task, DataSettings(**{"sources": ["data"], **settings}), tmp_path, tmp_path / "out")
        assert sorted(tmp_path.rglob("*")) == before, "something was left half-written"
        return str(caught.value)

    return refused
