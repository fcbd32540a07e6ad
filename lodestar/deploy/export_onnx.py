"""An encoder, with or without a head, as an ONNX file: for runtimes that have no Python.

Inputs and outputs have the names that readers of such files look for: `input_ids`, `attention_mask` (1 on real tokens) and, where the
model has token types, `token_type_ids`, all int64 of (batch, length); `logits`, or of an encoder without a head `last_hidden_state`
and, where it has a pooler, `pooler_output`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from ..build.heads import MaskedLanguageModel, PooledEncoder, SequenceClassifier, TokenClassifier
from ..contracts.errors import UserError, missing_extra
from ..contracts.task import device_of
from ..model.config import ModelConfig
from ..model.transformer import Transformer
from ..store.files import write_atomic

MOST_BYTES = 2**31 - 1
"""Of one file: the limit of its format, protocol buffers."""

TOLERANCE = 1e-3
"""Of the largest output: other kernels sum in another order. What a wrong graph is off by is many times that."""


class _Graph(nn.Module):
    """The model under the names of the file's inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> tuple[Tensor, ...]:
        """Ids, mask and types, each (B, T) → the outputs."""
        result = self.model(input_ids, attention_mask=attention_mask.bool(), token_types=token_type_ids)
        return (result, self.model.pooled(result)) if isinstance(self.model, PooledEncoder) else (result,)


def export_onnx(model: nn.Module, path: Path | str) -> None:
    """Write an encoder as one ONNX file, whole or not at all; any batch and any length up to the context run in it.

    The graph is run beside the model before it is written: a tracer that took a wrong turn would not say so.

    Args:
        model: a Transformer that is an encoder, or one of the heads of `build.heads`; in float32, which every runtime has.

    Raises:
        UserError: the model is no encoder, of another number type or too large for one file, or a package is missing.
    """
    path = Path(path)
    encoder = model if isinstance(model, Transformer) else getattr(model, "transformer", None)
    heads = Transformer | SequenceClassifier | TokenClassifier | MaskedLanguageModel | PooledEncoder
    if not isinstance(model, heads) or not isinstance(encoder, Transformer) or encoder.decoder is not None or encoder.embedding is None:
        what = f"ONNX export is for encoders of text, and this is {_what(model)}"
        raise UserError(what, where=path, fix="give an encoder, or a classifier around one")
    if encoder.dtype is not torch.float32:
        raise UserError(f"the weights are {encoder.dtype}", where=path, fix="load the model with dtype=torch.float32")
    size = sum(parameter.nbytes for parameter in model.parameters())
    if size > MOST_BYTES:
        raise UserError(f"the weights take {size / 2**30:.1f} GiB, and an ONNX file holds 2", where=path, fix="export a smaller model")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise missing_extra(package, "onnx", why="ONNX export")
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), _quiet():
            content = _graph_bytes(model, encoder.config)
            _check(content, model, encoder.config)
    finally:
        model.train(training)
    write_atomic(path, content)


def _what(model: nn.Module) -> str:
    if not isinstance(model, Transformer) or model.decoder is None:
        return f"a {type(model).__name__}"
    return "a decoder" if model.encoder is None else "an encoder-decoder"


def _graph_bytes(model: nn.Module, config: ModelConfig) -> bytes:
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if config.token_types else [])]
    outputs = {Transformer: ["last_hidden_state"], PooledEncoder: ["last_hidden_state", "pooler_output"]}.get(type(model), ["logits"])
    # torch follows the path that the sample takes: 1 row or token would be a constant, and a row within the window would need none.
    length = min(config.context, _longest_window(config, 1) + 1)
    inputs = tuple(torch.ones(2, length, dtype=torch.int64, device=device_of(model)) for _ in names)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=config.context)}
    program = torch.onnx.export(
        _Graph(model).eval(), inputs, dynamo=True, dynamic_shapes=tuple(axes for _ in names), input_names=names, output_names=outputs,
        external_data=False, verbose=False,
    )  # fmt: skip
    assert program is not None
    return program.model_proto.SerializeToString()


def _check(content: bytes, model: nn.Module, config: ModelConfig) -> None:
    """Run the graph on the shortest input and on one that is longer than any window, with padding, and hold it against the model."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for rows, length in ((1, 1), (3, min(config.context, 2 * _longest_window(config, 32)))):
        tokens = (torch.arange(rows * length) * 7919 % config.vocabulary_size).view(rows, length)
        mask = (torch.arange(length) < torch.tensor([[length], [length // 2 + 1], [1]])[:rows]).long()
        types = tokens % config.token_types if config.token_types else None
        device = device_of(model)
        expected = _Graph(model)(tokens.to(device), mask.to(device), None if types is None else types.to(device))
        feeds = {"input_ids": tokens, "attention_mask": mask} | ({} if types is None else {"token_type_ids": types})
        found = session.run(None, {name: value.numpy() for name, value in feeds.items()})
        for mine, theirs in zip(expected, found, strict=True):
            apart = float((mine.cpu() - torch.from_numpy(theirs)).abs().max())
            if apart > TOLERANCE * (1 + float(mine.abs().max())):
                raise RuntimeError(f"the exported graph differs from the model by {apart:.2g} on inputs of length {length}")


def _longest_window(config: ModelConfig, otherwise: int) -> int:
    return max((window for layer in range(config.depth) if (window := config.window_of(layer))), default=otherwise)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own internals, which a reader can do nothing about."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            warnings.filterwarnings("ignore", message=r".*axis name: .* will not be used")
            yield
    finally:
        logger.setLevel(level)
