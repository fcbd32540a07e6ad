"""Adapters in `peft`'s format: adapter_config.json, and adapter_model.safetensors with the names of the base's own family.

https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...contracts.adapter import TARGETS, AdapterSettings
from ...contracts.errors import UserError
from ...model.adapted import Adapted
from ...store.files import atomic_folder, read_json, write_json
from ...store.tensors import write_tensors
from ..formats.save import config_of
from .attach import DEFAULT, adapted_layers, adapters_of, check_new, linear_layers, put
from .fused import Parts, joined, split
from .merge import at_work
from .names import Names, names_of
from .peft_config import read_settings, scale_of, write_config

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_BASE = "lodestar_base"
"""Where the file's metadata say which base the adapter is for."""
_ENDINGS = {"down": ".lora_A.weight", "up": ".lora_B.weight", "magnitude": ".lora_magnitude_vector"}
_AGAIN, _BASE_FIRST = "save the adapter again", "load the model that it was trained on"


def save_adapter(model: nn.Module, folder: str | Path, name: str | None = None, *, replace: bool = False) -> None:
    """Write an adapter as a new folder that `peft` reads, whole or not at all.

    Where several of our layers are one of theirs (GPT-2's `c_attn`), their adapters become one that does the same.

    Args:
        name: the adapter; the one at work where None.
        replace: whether a folder that stands there gives way.

    Raises:
        UserError: there is no such adapter, the model is of no open family, or the folder exists.
    """
    adapters = adapters_of(model)
    name = at_work(model, name)
    names, bases = names_of(model), linear_layers(model)
    layers: Mapping[str, Adapted] = adapters.merged or adapted_layers(model)
    bases |= {place: layer.base for place, layer in layers.items()}
    tensors: dict[str, Tensor] = {}
    sizes: dict[str, tuple[int, float]] = {}
    for theirs, places in names.ours.items():
        present = [layers[place].adapter(name) if place in layers else None for place in places]
        if first := next((adapter for adapter in present if adapter is not None), None):
            parts = joined([bases[place] for place in places], present)
            tensors |= {f"{_PREFIX}{theirs}{_ENDINGS[part]}": tensor for part, tensor in parts.items()}
            sizes[theirs] = len(parts["down"]), first.scale
    known = {place for places in names.ours.values() for place in places}
    lost = sorted(place for place, layer in layers.items() if layer.adapter(name) is not None and place not in known)
    if lost:
        raise UserError(f"{lost[0]!r} is no linear layer by itself in the family's own format", fix="merge the adapter, and save the model")
    with atomic_folder(Path(folder), replace=replace) as partial:
        write_json(partial / CONFIG, write_config(adapters.settings[name], names, config_of(model).architecture, sizes))
        write_tensors(partial / WEIGHTS, tensors, metadata={"format": "pt", _BASE: adapters.base})


def load_adapter(model: nn.Module, folder: str | Path, name: str = DEFAULT) -> None:
    """Put an adapter that `save_adapter` or `peft` wrote beside the model's layers, and at work.

    Nothing of the model changes unless all of the adapter fits. The adapter does not train; see `train_only`.

    Raises:
        UserError: the folder is missing or damaged, the adapter does something that Lodestar does not, is for another base, or the
            name is taken.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise UserError(f"no {CONFIG} here", where=folder, fix="name the folder of an adapter that peft or Lodestar saved")
    fields = read_json(folder / CONFIG)
    settings = read_settings(fields, folder / CONFIG)
    check_new(model, name)
    names, bases = names_of(model), linear_layers(model)
    found: dict[str, tuple[float, Parts]] = {}
    for stored, parts in _read(folder / WEIGHTS, adapters_of(model).base).items():
        theirs = _known(stored, names, parts, folder)
        scale = scale_of(theirs, len(parts["down"]), settings, fields)
        heights = [bases[place].out_features for place in names.ours[theirs]]
        _check(theirs, parts, bases[names.ours[theirs][0]].in_features, sum(heights), settings, folder)
        found |= {place: (scale, piece) for place, piece in zip(names.ours[theirs], split(parts, heights), strict=True)}
    if not found:
        raise UserError("the file holds no adapter", where=folder / WEIGHTS, fix=_AGAIN)
    for place, (scale, parts) in found.items():
        adapter = put(model, place, name, len(parts["down"]), scale, settings)
        with torch.no_grad():
            for part, tensor in parts.items():
                getattr(adapter, part).copy_(tensor)
        adapter.requires_grad_(False).train(model.training)
    targets = [target for target in TARGETS if any(place.endswith(f".{target}") for place in found)]
    adapters_of(model).settings[name] = settings.model_copy(update={"targets": targets})
    adapters_of(model).selection.default = name


def _read(path: Path, base: str) -> Mapping[str, Parts]:
    """Their layers' names as they stand in the file → the adapters' tensors."""
    layers: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(_BASE)
            if written not in (None, base):
                raise UserError("the adapter is for another base model", where=path.parent, fix=f"load the model that its {CONFIG} names")
            for key in file.keys():  # noqa: SIM118 - not a mapping
                stem = key.removesuffix(".weight") if "magnitude" in key else key
                part = next((part for part, ending in _ENDINGS.items() if stem.endswith(ending)), None)
                if part is None or not key.startswith(_PREFIX):
                    raise UserError(f"{key!r} is nothing that Lodestar adapts", where=path, fix="merge it with peft, and load the result")
                tensor = file.get_tensor(key)
                if not torch.isfinite(tensor).all():
                    raise UserError(f"{key!r} holds NaN or infinity", where=path, fix="train the adapter again")
                layers.setdefault(stem.removeprefix(_PREFIX).removesuffix(_ENDINGS[part]), {})[part] = tensor
    except FileNotFoundError:
        raise UserError("no such file", where=path, fix="save the adapter as safetensors") from None
    except SafetensorError as error:
        raise UserError(f"the file is damaged ({error})", where=path, fix=_AGAIN) from None
    return layers


def _known(stored: str, names: Names, parts: Parts, folder: Path) -> str:
    theirs = names.theirs(stored)
    if theirs is None:
        raise UserError(f"the model has no layer {stored!r}, which the adapter is for", where=folder, fix=_BASE_FIRST)
    if not {"down", "up"} <= set(parts):
        raise UserError(f"one of the matrices for {stored!r} is missing", where=folder / WEIGHTS, fix=_AGAIN)
    return theirs


def _check(theirs: str, parts: Parts, width: int, height: int, settings: AdapterSettings, folder: Path) -> None:
    rank = len(parts["down"])
    expected = {"down": (rank, width), "up": (height, rank)} | ({"magnitude": (height,)} if settings.kind == "dora" else {})
    found: dict[str, Any] = {part: tuple(tensor.shape) for part, tensor in parts.items()}
    if found != expected:
        raise UserError(
            f"the adapter for {theirs!r} has the shapes {sorted(found.values())}, and the model needs {sorted(expected.values())}",
            where=folder, fix=_BASE_FIRST,
        )  # fmt: skip
