"""A task whose every answer is known, in a module that another process can import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lodestar.contracts.language import Words
from lodestar.contracts.task import Batch, Example, Task
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.metrics import ACCURACY, F1


class Word(Example):
    text: str
    label: int


class Parity(Task):
    """Whether a word has an odd number of letters: a rule, so that the test knows every answer; the model is right `skill` often."""

    name = "parity"
    words = Words("Tell odd words from even ones.", "区分奇数长度与偶数长度的词。")
    example = Word
    metrics = (ACCURACY, F1)
    batching, endpoint, template = "padded", "classify", {}

    @classmethod
    def sample(cls) -> Sequence[Word]:
        random = np.random.default_rng(0)
        return [Word(text=f"{number:03}" + "x" * int(size), label=int(size) % 2) for number, size in enumerate(random.integers(1, 9, 120))]

    def texts(self, example: Word) -> Iterator[str]:
        yield example.text

    def encode(self, example: Word, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        raise NotImplementedError

    def architecture(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def build(self, config: Any) -> nn.Module:
        raise NotImplementedError

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Word]) -> dict[str, np.ndarray]:
        return self._columns(examples, [self.answer(model, tokenizer, self.request(example))["label"] for example in examples])

    def baseline(self, train: Sequence[Word], examples: Sequence[Word]) -> tuple[str, dict[str, np.ndarray]]:
        most = int(np.mean([example.label for example in train]) >= 0.5)
        return "the commonest label", self._columns(examples, [most] * len(examples))

    def _columns(self, examples: Sequence[Word], predicted: Sequence[int]) -> dict[str, np.ndarray]:
        return {"label": np.array([example.label for example in examples]), "predicted": np.array(predicted)}

    def request(self, example: Word) -> dict[str, Any]:
        return {"input": example.text}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        text = request["input"]
        right = int(text[:3]) % 100 < int(next(model.parameters()).item())
        return {"label": (len(text) - 3) % 2 if right else 1 - (len(text) - 3) % 2}


def model(skill: int) -> nn.Module:
    """Right on `skill` of each hundred examples, the same ones first."""
    module = nn.Module()
    module.skill = nn.Parameter(torch.tensor(float(skill)))
    return module


class KindOfWord(Word):
    """A word of one of ten kinds."""

    def kinship(self) -> str:
        return f"the kind {int(self.text[:3]) // 12}"


class KinParity(Parity):
    """As that, of words that share their luck by kind."""

    name = "kin-parity"
    example = KindOfWord

    @classmethod
    def sample(cls) -> Sequence[KindOfWord]:
        return [KindOfWord(text=word.text, label=word.label) for word in Parity.sample()]
