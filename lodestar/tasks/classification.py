"""Classification: sentiment, topic, intent. An encoder that gives a text one label of a fixed set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.metrics import ACCURACY, F1, LOG_LOSS, PRECISION, RECALL

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig


class LabelledText(Example):
    """A text and the label that a person gave it."""

    text: str
    """What is to be classified."""
    label: str
    """Its label; the labels of the training records are the ones that the model can give."""


class Classification(Task):
    words = Words("Give a text one label of a fixed set: sentiment, topic, intent.", "给文本打上一个标签：情感、主题、意图。")
    example = LabelledText
    metrics = (ACCURACY, PRECISION, RECALL, F1, LOG_LOSS)
    batching = "padded"
    endpoint = "classify"
    template = {
        "task": "classification",
        "vision": {
            "audience": "a support team that reads every review by hand",
            "promise": "sorts reviews in English and Chinese into praise and complaint, on their own machine",
        },
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 512},
        "model": {"size": "tiny", "context": 128},
        "train": {"minutes": 1.0},
        "targets": [
            {"metric": "accuracy", "at_least": 0.5, "why": "better than a coin"},
            {"metric": "latency_ms_p95", "at_most": 200, "unit": "ms", "why": "a queue is sorted while it is read"},
            {"metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes", "why": "runs on the team's own machine"},
        ],
    }

    @classmethod
    def sample(cls) -> Sequence[LabelledText]:
        return [LabelledText(text=text, label=label) for label, texts in SAMPLE.items() for text in texts]

    def texts(self, example: LabelledText) -> Iterator[str]:
        yield example.text


SAMPLE: Mapping[str, Sequence[str]] = {}
