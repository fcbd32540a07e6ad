"""Code generation: a decoder that continues a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.metrics import BITS_PER_BYTE, PERPLEXITY, SYNTAX_VALID

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig


class Module(Example):
    """One source file."""

    text: str
    """The source."""
    path: str | None = None
    """Where the file stood: the unit that splits are made by, where given."""


class CodeGeneration(Task):
    words = Words("Continue a program: an assistant for your code base.", "续写程序：面向你的代码库的编程助手。")
    example = Module
    metrics = (BITS_PER_BYTE, SYNTAX_VALID, PERPLEXITY)
    batching = "packed"
    endpoint = "completions"
    template = {
        "task": "code-generation",
        "vision": {
            "audience": "Python programmers whose code may not leave their machine",
            "promise": "continues a function in the style of the standard library, on two CPU cores, offline",
        },
        "data": {"sources": ["builtin:python-stdlib"], "deduplicate": "near", "vocabulary": 4096},
        "model": {"size": "small", "context": 256},
        "train": {"minutes": 6.0},
        "evaluate": {"examples": 100},
        "targets": [
            {"metric": "bits_per_byte", "at_most": 2.2, "why": "half of what a general compressor needs for source code"},
            {"metric": "syntax_valid", "at_least": 0.3, "why": "a suggestion that does not parse wastes the programmer's time"},
            {"metric": "latency_ms_p95", "at_most": 2000, "unit": "ms", "why": "a suggestion later than this interrupts"},
            {"metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes", "why": "runs beside an editor on a laptop"},
        ],
    }

    @classmethod
    def sample(cls) -> Sequence[Module]:
        return [Module(text=text) for text in SAMPLE]

    def texts(self, example: Module) -> Iterator[str]:
        yield example.text

    def encode(self, example: Module, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
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

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Module]) -> dict[str, np.ndarray]:
        from ..build.language import document_columns

        return document_columns(model, tokenizer, [example.text for example in examples])

    def baseline(self, train: Sequence[Module], examples: Sequence[Module]) -> tuple[str, dict[str, np.ndarray]]:
        from ..evaluate.ngram import ByteNGram

        counted = ByteNGram([module.text for module in train])
        return counted.name, counted.document_columns([module.text for module in examples])

    def request(self, example: Module) -> dict[str, Any]:
        return {"prompt": example.text[: len(example.text) // 2], "max_tokens": 32}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        from ..build.completion import CompletionRequest, complete

        return complete(model, tokenizer, CompletionRequest.parse(request, where="request"))


SAMPLE = ()
