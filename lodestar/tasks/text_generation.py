"""Text generation: stories, poems, scripts, domain text. A decoder that continues what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.metrics import BITS_PER_BYTE, PERPLEXITY

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig


class Document(Example):
    """One text: a poem, a story, a chapter."""

    text: str
    """What the model learns to write."""


class TextGeneration(Task):
    words = Words(
        "Continue a text: stories, poems, scripts, the text of your domain.", "续写文本：故事、诗词、剧本，以及你所在领域的文字。"
    )
    example = Document
    metrics = (BITS_PER_BYTE, PERPLEXITY)
    batching = "packed"
    endpoint = "completions"
    template = {
        "task": "text-generation",
        "vision": {
            "audience": "people who write, and want a first draft of the next line",
            "promise": "continues a poem or a story in its own style, on a laptop, with no text leaving it",
        },
        "data": {"sources": ["builtin:sample"], "deduplicate": "exact", "vocabulary": 512},
        "model": {"size": "tiny"},
        "train": {"minutes": 2.0},
        "targets": [
            {"metric": "bits_per_byte", "at_most": 4.0, "why": "better than knowing single characters"},
            {"metric": "latency_ms_p95", "at_most": 2000, "unit": "ms", "why": "a line appears before the writer looks up"},
            {"metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes", "why": "runs beside an editor on a laptop"},
        ],
    }

    @classmethod
    def sample(cls) -> Sequence[Document]:
        return [Document(text=text) for text in SAMPLE]

    def texts(self, example: Document) -> Iterator[str]:
        yield example.text

    def encode(self, example: Document, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        from ..build.language import document_tokens

        return {"tokens": document_tokens(example.text, tokenizer)}

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder"}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..model.transformer import Transformer

        return Transformer(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.language import next_token_loss

        return next_token_loss(model, batch)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Document]) -> dict[str, np.ndarray]:
        from ..build.language import document_columns

        return document_columns(model, tokenizer, [example.text for example in examples])

    def baseline(self, train: Sequence[Document], examples: Sequence[Document]) -> tuple[str, dict[str, np.ndarray]]:
        from ..evaluate.ngram import ByteNGram

        counted = ByteNGram([document.text for document in train])
        return counted.name, counted.document_columns([document.text for document in examples])

    def request(self, example: Document) -> dict[str, Any]:
        """The first half of the text, to be continued."""
        return {"prompt": example.text[: len(example.text) // 2], "max_tokens": 32}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        from ..build.completion import CompletionRequest, complete

        return complete(model, tokenizer, CompletionRequest.parse(request, where="request"))


SAMPLE = ()
