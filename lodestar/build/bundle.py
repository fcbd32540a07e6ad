"""A model as a folder: model.safetensors, config.json, tokenizer.json and task.json, from which it is made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..contracts.errors import UserError
from ..contracts.tokenizer import Tokenizer
from ..model.config import ModelConfig
from ..model.meta import make_buffers, without_storage
from ..store.files import atomic_folder, read_json, write_atomic, write_json
from ..store.tensors import write_tensors
from .fingerprint import base_fingerprint
from .quantize import Quantization, restructure

WEIGHTS, CONFIG, TOKENIZER, TASK = "model.safetensors", "config.json", "tokenizer.json", "task.json"
QUANTIZATION, QUANTIZED_FROM = "quantization", "quantized_from"
"""The fields of config.json that say how the weights are coded, where they are, and of which model (its `base_fingerprint`): that model's
adapters fit the codes, too."""
LINE, COPIED_BYTES = 64, 1 << 20
_AGAIN = "restore the folder, or train again"


@dataclass(frozen=True)
class Bundle:
    """A model and what it needs to be used."""

    model: nn.Module
    config: ModelConfig
    tokenizer: Tokenizer
    task: Mapping[str, Any]
    """`Task.describe()` of the task that it was trained for."""


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle as a new folder, whole or not at all; a folder that stands there gives way."""
    with atomic_folder(folder, replace=True) as partial:
        # Tied weights are one parameter, so state_dict holds them once; buffers follow from the config.
        write_tensors(partial / WEIGHTS, bundle.model.state_dict(), metadata={"format": "pt"})
        plan: Quantization | None = getattr(bundle.model, "quantization", None)
        coded = {} if plan is None else {QUANTIZATION: plan.to_dict(), QUANTIZED_FROM: base_fingerprint(bundle.model)}
        write_json(partial / CONFIG, bundle.config.to_dict() | coded)
        for name, content in bundle.tokenizer.files().items():
            write_atomic(partial / name, content)
        write_json(partial / TASK, dict(bundle.task))


def load_bundle(
    folder: Path,
    build: Callable[[Mapping[str, Any], ModelConfig], nn.Module],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Bundle:
    """Read a bundle; the model is in eval mode.

    Args:
        folder: what `save_bundle` wrote.
        build: task description and config → the module that the weights belong to.
        dtype: convert the weights, but for codes and their scales; kept as written where None.

    Raises:
        UserError: the folder is missing or damaged; the sentence names the file.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=folder, fix="check the path, or train a model first")
    task = read_json(folder / TASK)
    fields = read_json(folder / CONFIG)
    try:
        coded, made_from = fields.pop(QUANTIZATION, None), fields.pop(QUANTIZED_FROM, None)
        plan = None if coded is None else Quantization.from_dict(coded)
        config = ModelConfig.from_dict(fields)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"the file is damaged: {error}", where=folder / CONFIG, fix=_AGAIN) from None
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    with without_storage():
        model = build(task, config)
    if plan is not None:
        restructure(model, plan)
        model.fingerprint = made_from
    fill(model, folder / WEIGHTS, dtype=dtype, device=device)
    return Bundle(model.eval(), config, tokenizer, task)


def fill(model: nn.Module, weights: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> None:
    """Give a module on the meta device its weights, memory-mapped, and its buffers, computed anew.

    Raises:
        UserError: the file is missing, damaged, or of another model.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    try:
        with safe_open(weights, framework="pt", device=str(device)) as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping
            if found != expected:
                differing = sorted(set(found.items()) ^ set(expected.items()))[0][0]
                raise UserError(f"the weights are of another model: {differing!r} differs", where=weights, fix=_AGAIN)
            state = {name: _in_line(_converted(name, file.get_tensor(name), dtype)) for name in found}
    except FileNotFoundError:
        raise UserError("no such file", where=weights, fix=_AGAIN) from None
    except SafetensorError as error:
        raise UserError(f"the file is damaged ({error})", where=weights, fix=_AGAIN) from None
    model.load_state_dict(state, assign=True)
    make_buffers(model, device)


def _in_line(tensor: torch.Tensor) -> torch.Tensor:
    """A small tensor where a line of the processor's caches begins. A file's tensors begin anywhere, and there the product of a matrix and
    a vector adds in another order: a loaded head would give other last bits than the one that was saved.
    """
    return tensor.clone() if tensor.data_ptr() % LINE and tensor.nbytes <= COPIED_BYTES else tensor


def _converted(name: str, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return tensor if dtype is None or not tensor.is_floating_point() or name.endswith(".scales") else tensor.to(dtype)
