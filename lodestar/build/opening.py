"""Any model's folder → a bundle: one of Lodestar's, or an open checkpoint as `transformers` saves it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from ..contracts.errors import UserError
from ..contracts.task import Task
from ..contracts.tokenizer import Tokenizer
from ..model.config import ModelConfig
from ..model.transformer import Transformer
from ..store.files import list_files, read_json
from .bundle import CONFIG, TASK, Bundle, load_bundle
from .formats import hub
from .heads import SpanClassifier

_ENDS = 1 << 16
"""Bytes at either end of a file of weights that its identity is of."""


def is_open(folder: Path) -> bool:
    """Whether a folder holds an open checkpoint: Lodestar's own have a task."""
    return (folder / CONFIG).is_file() and not (folder / TASK).is_file()


def finds_answers(folder: Path) -> bool:
    """Whether an open checkpoint has a head for an answer's start and end."""
    named = read_json(folder / CONFIG).get("architectures") or [""]
    return str(named[0]).endswith("ForQuestionAnswering")


def find_folder(source: str | Path) -> Path:
    """The folder of a model on this disk or, downloaded where it is not yet, on the hub.

    Raises:
        UserError: there is none, or it holds no model.
    """
    folder = hub.resolve(source)[0]
    if not (folder / CONFIG).is_file():
        what = f"the folder has no {CONFIG}" if folder.is_dir() else "no such folder"
        raise UserError(what, where=folder, fix=f"name the folder that holds {CONFIG} and the weights")
    return folder


def open_bundle(
    folder: Path, task: Task, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu", check: bool = False
) -> Bundle:
    """Read a model's folder, of either kind, for a task.

    Args:
        check: look at every number of an open checkpoint.

    Raises:
        UserError: it is missing or damaged, or not a model that the task can use.
    """
    if not is_open(folder):
        return load_bundle(folder, lambda _, config: task.build(config), dtype=dtype, device=device)
    from .formats import load_model, load_tokenizer

    tokenizer = load_tokenizer(folder)
    model = load_model(folder, dtype=dtype, device=device, check=check)
    # What is built for the task is what a bundle of it is read into again.
    reads = isinstance(model, SpanClassifier) and isinstance(model.projection, nn.Identity)
    if not reads and (not isinstance(model, Transformer) or model.config.architecture != "decoder"):
        raise UserError(
            f"the model is a {type(model).__name__} ({_architecture(model)}), and only decoders write text token by token",
            where=folder, fix="read it in Python with lodestar.load_model, or fine-tune it in a venture as model.base",
        )  # fmt: skip
    config: ModelConfig = model.config  # type: ignore[assignment]
    return Bundle(model, config, tokenizer, task.describe())


def open_config(folder: Path) -> ModelConfig:
    """The config of a model's folder, of either kind, without a look at its weights.

    Raises:
        UserError: the folder is damaged, or its architecture unknown.
    """
    fields = read_json(folder / CONFIG)
    if is_open(folder):
        from .formats.load import find_family, read_config

        family = find_family(fields, folder / CONFIG)
        return read_config(family, family.full(fields), folder / CONFIG)
    try:
        return ModelConfig.from_dict({name: value for name, value in fields.items() if name != "quantization"})
    except (TypeError, ValueError) as error:
        raise UserError(f"the file is damaged: {error}", where=folder / CONFIG, fix="restore the folder") from None


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model's folder, of either kind."""
    from .formats import load_tokenizer

    return load_tokenizer(folder)


def identity(folder: Path) -> str:
    """A SHA-256, in hex, of what tells one model's folder from another: its small files, and both ends of its weights.

    The ends, because a venture asks at each step, and to read all of 15 GB takes longer than the step may.
    """
    digest = hashlib.sha256()
    for path in list_files(folder) if not any(entry.is_symlink() for entry in folder.iterdir()) else sorted(folder.iterdir()):
        if path.suffix not in (".json", ".safetensors", ".jinja"):
            continue
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            digest.update(f"{path.name} {size}\n".encode())
            digest.update(file.read(_ENDS if path.suffix == ".safetensors" else size))
            if path.suffix == ".safetensors" and size > _ENDS:
                file.seek(-_ENDS, 2)
                digest.update(file.read())
    return digest.hexdigest()


def _architecture(model: nn.Module) -> str:
    inner = getattr(model, "transformer", model)
    return str(inner.config.architecture) if isinstance(inner, Transformer) else "no Transformer"
