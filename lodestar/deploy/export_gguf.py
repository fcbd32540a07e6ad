"""A decoder as one GGUF file: for llama.cpp and what is built on it (Ollama, LM Studio, llamafile)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from torch import nn

from ..contracts.errors import UserError, unknown
from ..contracts.tokenizer import Tokenizer
from ..model.transformer import Transformer
from ..store.files import ensure_space, write_atomic
from .gguf.architectures import choose, describe
from .gguf.blocks import KINDS
from .gguf.container import Entry, Value, pieces
from .gguf.tensors import entries
from .gguf.vocabulary import describe_vocabulary

QUANTIZATION_VERSION = 2
"""Of the blocks; https://github.com/ggml-org/llama.cpp/blob/master/ggml/include/ggml.h, `GGML_QNT_VERSION`."""


def export_gguf(
    model: nn.Module,
    path: Path | str,
    *,
    kind: Literal["f32", "f16", "q8_0", "q4_0"] = "q8_0",
    tokenizer: Tokenizer | None = None,
    chat_template: str | None = None,
    name: str | None = None,
) -> None:
    """Write a decoder as one GGUF file, whole or not at all.

    Args:
        kind: of the matrices: 32, 16, about 8.5 or about 4.5 bits a number. Norms and biases are in float32, and with q4_0 what reads and
            writes tokens is in q8_0.
        tokenizer: None for a file whose readers give ids.
        chat_template: in Jinja, as `build.chat_template.ChatFormat` holds it.
        name: of the model; the file's where None.

    Raises:
        UserError: the model is no decoder, llama.cpp has no architecture or tokenizer like it, a weight does not fit, or the disk is full.
    """
    path = Path(path)
    if kind not in KINDS:
        raise unknown("kind of GGUF file", kind, KINDS, where=path)
    if not isinstance(model, Transformer) or model.encoder is not None:
        raise UserError(f"GGUF export is for decoders, and this is a {_what(model)}", where=path, fix="give a decoder")
    try:
        architecture = choose(model.config)
    except ValueError as error:
        raise UserError(str(error), where=path, fix="train a model of its shape, or serve this one with `lodestar serve`") from None
    try:
        words = describe_vocabulary(tokenizer, model.config.vocabulary_size, chat_template)
    except ValueError as error:
        raise UserError(str(error), where=path, fix="export without the tokenizer, and give ids to the file's readers") from None
    metadata: dict[str, Value] = {
        "general.architecture": architecture.name,
        "general.name": name or path.stem,
        "general.file_type": KINDS[kind].file_code,
        "general.quantization_version": QUANTIZATION_VERSION,
        **describe(model.config, architecture),
        **words,
    }
    tensors = entries(model, architecture, KINDS[kind])
    ensure_space(path, sum(entry.size for entry in tensors))
    write_atomic(path, _content(metadata, tensors, path))


def _content(metadata: dict[str, Value], tensors: list[Entry], path: Path) -> Iterator[bytes | memoryview]:
    try:
        yield from pieces(metadata, tensors)
    except ValueError as error:
        raise UserError(str(error), where=path, fix="export as f32, or train the model again where it holds NaN") from None


def _what(model: nn.Module) -> str:
    return "model with an encoder" if isinstance(model, Transformer) else type(model).__name__
