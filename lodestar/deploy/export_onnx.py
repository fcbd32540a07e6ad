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

    Args:
        model: a Transformer that is an encoder, or one of the heads of `build.heads`. Its weights keep their number type.

    Raises:
        UserError: the model is no encoder or does not fit one file, or a package is missing.
    """
    path = Path(path)
    encoder = model if isinstance(model, Transformer) else getattr(model, "transformer", None)
    heads = Transformer | SequenceClassifier | TokenClassifier | MaskedLanguageModel | PooledEncoder
    if not isinstance(model, heads) or not isinstance(encoder, Transformer) or encoder.decoder is not None or encoder.embedding is None:
        what = f"ONNX export is for encoders of text, and this is a {type(model).__name__}"
        raise UserError(what, where=path, fix="give an encoder, or a classifier around one")
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if size > MOST_BYTES:
        raise UserError(
            f"the weights take {size / 2**30:.1f} GiB, and an ONNX file holds 2", where=path, fix="export in float16, or a smaller model"
        )
    try:
        import onnx  # noqa: F401 - torch.onnx needs both, and says so less clearly
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra(error.name or "onnxscript", "onnx", why="ONNX export") from None
    write_atomic(path, _graph_bytes(model, encoder.config))


def _graph_bytes(model: nn.Module, config: ModelConfig) -> bytes:
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if config.token_types else [])]
    outputs = {Transformer: ["last_hidden_state"], PooledEncoder: ["last_hidden_state", "pooler_output"]}.get(type(model), ["logits"])
    # torch follows the path that the sample takes: 1 row or token would be a constant, and a row within the window would need none.
    windows = [window for layer in range(config.depth) if (window := config.window_of(layer))]
    length = min(config.context, max(windows, default=1) + 1)
    inputs = tuple(torch.ones(2, length, dtype=torch.int64, device=device_of(model)) for _ in names)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=config.context)}
    training = model.training
    graph = _Graph(model).eval()
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                graph, inputs, dynamo=True, dynamic_shapes=tuple(axes for _ in names), input_names=names, output_names=outputs,
                external_data=False, verbose=False,
            )  # fmt: skip
    finally:
        model.train(training)
    assert program is not None
    return program.model_proto.SerializeToString()


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
