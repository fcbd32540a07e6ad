"""Checkpoints: folders that hold all of a run's state, written whole or not at all, and verified before they are trusted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..contracts.errors import UserError
from ..store.files import atomic_folder, sha256_file
from ..store.tensors import pieces

MANIFEST, STATE = "manifest.json", "state.json"
_PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """One whole, verified checkpoint."""

    folder: Path
    step: int
    state: dict[str, Any]
    """What is not tensors: counters, the loader's position, the random state of Python and NumPy."""

    @property
    def parts(self) -> set[str]:
        """The names of its parts."""
        return {file.stem for file in self.folder.glob("*.safetensors")}

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of one part (`model`, `optimizer`, …), on the CPU."""
        return load_file(self.folder / f"{part}.safetensors")


class Checkpoints:
    """The checkpoints of one run: `step-000123/` with one safetensors file a part, state.json, and manifest.json with their hashes."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def save(self, step: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then remove the oldest ones past `keep`.

        Raises:
            UserError: no space; what was there before is still there.
        """
        path = self.folder / f"{_PREFIX}{step:06d}"
        with atomic_folder(path, replace=True) as partial:
            for part, tensors in parts.items():
                with (partial / f"{part}.safetensors").open("wb") as file:
                    file.writelines(pieces(tensors))
            (partial / STATE).write_text(json.dumps(state, allow_nan=False), "utf-8")
            hashes = {file.name: sha256_file(file) for file in sorted(partial.iterdir())}
            (partial / MANIFEST).write_text(json.dumps(hashes, indent=2), "utf-8")
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old)
        return path

    def newest(self, tell: Callable[[str], None]) -> Checkpoint | None:
        """The newest whole checkpoint, or None where there are none at all. Damaged newer ones are told of and removed.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        damaged: list[tuple[Path, str]] = []
        for path in reversed(self._folders()):
            fault = _fault(path)
            if fault is None:
                for folder, why in damaged:
                    tell(f"the checkpoint {folder} is damaged ({why}); going back to {path.name}.")
                    shutil.rmtree(folder)
                state = json.loads((path / STATE).read_text("utf-8"))
                return Checkpoint(path, _step_of(path), state)
            damaged.append((path, fault))
        if damaged:
            folder, why = damaged[0]
            raise UserError(
                f"the checkpoint is damaged ({why}), and there is no whole one before it",
                where=folder, fix=f"remove {self.folder} to train from the start",
            )  # fmt: skip
        return None

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if path.name.startswith(_PREFIX) and path.name[len(_PREFIX) :].isdigit()]
        return sorted(found, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name[len(_PREFIX) :])


def _fault(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    try:
        hashes = json.loads((path / MANIFEST).read_text("utf-8"))
        for name, expected in hashes.items():
            if sha256_file(path / name) != expected:
                return f"{name} is not what was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None if STATE in hashes else f"{MANIFEST} is not what was written"


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and persistent buffers by name, shared ones once; where some are frozen, only the parameters that train.

    What is frozen is what the run began with, and often many times as large.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if 0 < len(trained) < len(dict(model.named_parameters())):
        return dict(trained)
    persistent = set(model.state_dict())
    return dict(model.named_parameters()) | {name: value for name, value in model.named_buffers() if name in persistent}


@torch.no_grad()
def fill_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `model_tensors`, in place: optimisers keep their hold on the parameters."""
    for name, value in model_tensors(model).items():
        value.copy_(tensors[name])
