"""A checkpoint as a folder, as Hugging Face's libraries lay it out: config.json, weights in one or several safetensors files, and what
belongs to the tokenizer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from ...contracts.errors import UserError
from ...store.files import read_json, sha256_file

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_PICKLES = re.compile(r"\.(bin|pt|pth|ckpt|pkl)$")
_KEPT = re.compile(r"\.(json|txt|jinja|model|spm)$|^(LICEN[CS]E|NOTICE)")
"""The tokenizer's, the chat template's, the generation config's files and the licence."""
_CONVERT = (
    "convert the folder once, where you trust it: python -c \"from transformers import AutoModelForCausalLM as M; "
    "M.from_pretrained('{folder}').save_pretrained('{folder}-safe')\""
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where a model was read from: what `save_model` needs to write it back, and adapters to know their base."""

    family: str
    fields: Mapping[str, Any]
    """The content of config.json."""
    weights: tuple[Path, ...]
    kept: tuple[Path, ...]
    """The files beside the weights: tokenizer, chat template, generation config, licence."""
    source: str
    """The folder, or the id on the hub."""
    revision: str | None = None
    """The commit on the hub."""
    stamps: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    """Size and time of each file of weights when it was read."""

    @cached_property
    def weights_sha256(self) -> str:
        """A SHA-256, in hex, of the files of weights, computed when it is first asked for (about a second a gigabyte).

        Raises:
            UserError: a file has changed since the model was read, or is gone.
        """
        if self.stamps != tuple(stamp(file) for file in self.weights):
            raise UserError("the weights have changed since the model was read", where=self.source, fix="load the model again")
        return hashlib.sha256("".join(sha256_file(file) for file in self.weights).encode()).hexdigest()


def origin_of(model: nn.Module) -> Origin | None:
    """Where `load_model` read a model from; None for one that it did not."""
    origin = getattr(model, "origin", None)
    return origin if isinstance(origin, Origin) else None


def stamp(file: Path) -> tuple[int, int] | None:
    """Size and time of a file; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def read_fields(folder: Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
        UserError: there is no such folder or file, or it is damaged.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.is_file() else "no such folder"
        raise UserError(what, where=folder, fix="name the folder that holds config.json and the weights")
    if not (folder / CONFIG).is_file():
        raise UserError(f"the folder has no {CONFIG}", where=folder, fix="name the folder that holds config.json and the weights")
    fields = read_json(folder / CONFIG)
    if not isinstance(fields, dict):
        raise UserError(f"the file is damaged: it holds {type(fields).__name__}, not fields", where=folder / CONFIG, fix="restore it")
    return fields


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The files of weights, in order.

    Raises:
        UserError: there are none, or pickled ones only, or some that the index names are missing.
    """
    if (folder / INDEX).is_file():
        return _sharded(folder)
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    pickles = sorted(file.name for file in folder.iterdir() if _PICKLES.search(file.name))
    if pickles:
        what = f"the weights are pickled ({pickles[0]}), and reading a pickle runs whatever code is in it"
        raise UserError(what, where=folder, fix=_CONVERT.format(folder=folder))
    fix = "take a folder with safetensors; pickled weights (.bin, .pt) are not read, since that runs whatever code is in them"
    raise UserError(f"the folder has no weights ({WEIGHTS})", where=folder, fix=fix)


def _sharded(folder: Path) -> tuple[Path, ...]:
    index = read_json(folder / INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise UserError("the file is damaged: it has no weight_map", where=folder / INDEX, fix="download or save the model again")
    files = sorted(set(names.values()))
    for name in files:
        if Path(name).name != name:
            raise UserError(f"it names {name!r}, which is not a file of this folder", where=folder / INDEX, fix="correct the index")
        if not (folder / name).is_file():
            raise UserError(f"the folder has no {name}, which {INDEX} names", where=folder, fix="download or save the model again")
    return tuple(folder / name for name in files)


def find_kept(folder: Path) -> tuple[Path, ...]:
    """The files that belong to the model, but for its config and weights."""
    return tuple(
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and _KEPT.search(file.name) and file.name != CONFIG and not file.name.endswith(".index.json")
    )
