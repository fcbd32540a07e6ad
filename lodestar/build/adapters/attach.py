"""Adapters put beside a model's linear layers, and chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import nn

from ...contracts.adapter import AdapterSettings
from ...contracts.errors import UserError, unknown
from ...model.adapted import Adapted, Adapter, Selection
from ...model.frozen import Base
from ...model.linear import Linear
from ...model.quantized import QuantizedLinear
from ..arithmetic import widens
from ..fingerprint import base_fingerprint, in_base

DEFAULT = "default"
"""The name of an adapter that is given none, as in `peft`."""


@dataclass
class Adapters:
    """What is known of a model's adapters; its attribute `adapters`."""

    base: str
    """`base_fingerprint` of the model."""
    selection: Selection = field(default_factory=Selection)
    settings: dict[str, AdapterSettings] = field(default_factory=dict)
    """By the name of the adapter. A module may have a rank and a scale of its own, which stand with it."""
    merged: dict[str, Adapted] = field(default_factory=dict)
    """The layers that a merged one stands in for, by their place in the model."""


def adapters_of(model: nn.Module) -> Adapters:
    """The model's adapters, none at first."""
    known: Adapters | None = getattr(model, "adapters", None)
    if known is None:
        known = Adapters(base_fingerprint(model))
        model.adapters = known  # type: ignore[assignment]
    return known


def linear_layers(model: nn.Module) -> dict[str, Base]:
    """The linear layers inside the Transformer's layers, by their place as it is without adapters."""
    bases = {name: layer.base for name, layer in adapted_layers(model).items()}
    return bases | {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Linear | QuantizedLinear)
        and ".blocks." in f".{name}"
        and not name.endswith((".base", ".router"))
        and in_base(model, name)
    }


def adapted_layers(model: nn.Module) -> dict[str, Adapted]:
    """The layers that have adapters, by their place in the model."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Adapted)}


def add_adapter(model: nn.Module, settings: AdapterSettings, name: str = DEFAULT) -> None:
    """Put a new adapter beside the layers that `settings.targets` names; it alone trains and is at work. The model computes what it did.

    The initial numbers come from torch's random state.

    Raises:
        UserError: the name is taken, or the model has no layer of a target's name.
    """
    check_new(model, name)
    layers = linear_layers(model)
    found = {place.rpartition(".")[2] for place in layers}
    for target in settings.targets:
        if target not in found and settings.targets != AdapterSettings().targets:
            raise unknown("target", target, found, where="adapter.targets")
    for place in layers:
        if place.rpartition(".")[2] in settings.targets:
            put(model, place, name, settings.rank, settings.scale, settings)
    adapters_of(model).settings[name] = settings
    train_only(model, name)


def check_new(model: nn.Module, name: str) -> None:
    """Raises: UserError: the model has an adapter of that name, its adapters are merged, or the name cannot stand in a tensor's."""
    adapters = adapters_of(model)
    if adapters.merged:
        raise UserError("the model's adapter is merged into its weights", fix="unmerge it before adding another one")
    if name in adapters.settings:
        raise UserError(f"the model has an adapter {name!r} already", fix="choose another name")
    if not name or "." in name:
        raise UserError(f"{name!r} is no name for an adapter", fix="choose one without a dot")


def put(model: nn.Module, place: str, name: str, rank: int, scale: float, settings: AdapterSettings) -> Adapter:
    """A new adapter in one layer."""
    layer = _adapted(model, place)
    adapter = Adapter(layer.base, rank, scale, dropout=settings.dropout, magnitude=settings.kind == "dora")
    layer.adapters[name] = adapter
    return adapter


def _adapted(model: nn.Module, place: str) -> Adapted:
    layer = model.get_submodule(place)
    if isinstance(layer, Adapted):
        return layer
    assert isinstance(layer, Linear | QuantizedLinear)
    layer.requires_grad_(False)
    wide = isinstance(layer, Linear) and widens(layer.weight.dtype, layer.weight.device)
    adapted = Adapted(layer, adapters_of(model).selection, wide=wide).train(layer.training)
    replace_module(model, place, adapted)
    return adapted


def replace_module(model: nn.Module, place: str, module: nn.Module) -> None:
    parent, _, child = place.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def train_only(model: nn.Module, name: str) -> None:
    """Freeze everything but one adapter, which is also the one at work where no other is chosen.

    The frozen layers around it then spend nothing on gradients of their weights.
    """
    adapters = _knowing(model, name)
    model.requires_grad_(False)
    for place in linear_layers(model):
        layer = model.get_submodule(place)
        if isinstance(layer, Linear) and widens(layer.weight.dtype, layer.weight.device):
            layer = _adapted(model, place)  # for its products
        if isinstance(layer, Adapted) and name in layer.adapters:
            layer.adapters[name].requires_grad_(True)
    adapters.selection.default = name


def remove_adapters(model: nn.Module) -> None:
    """Make the model what it was before its first adapter, but for what is frozen."""
    for place, layer in adapted_layers(model).items():
        replace_module(model, place, layer.base)
    model.adapters = None  # type: ignore[assignment]


@contextmanager
def use_adapter(model: nn.Module, choice: str | Sequence[str | None] | None) -> Iterator[None]:
    """Inside, in this thread or task, another adapter is at work.

    Args:
        choice: an adapter's name, None for the base alone, or a sequence with one of these for each row of the batches to come.

    Raises:
        UserError: the model has no adapter of that name.
    """
    if choice is None or isinstance(choice, str):
        chosen: str | tuple[str | None, ...] | None = choice
        names = {choice}
    else:
        chosen, names = tuple(choice), set(choice)
    adapters = adapters_of(model)
    for name in names - {None}:
        assert name is not None
        adapters = _knowing(model, name)
    if adapters.merged:
        raise UserError("the model's adapter is merged into its weights", fix="unmerge it before choosing")
    with adapters.selection.using(chosen):
        yield


def _knowing(model: nn.Module, name: str) -> Adapters:
    adapters = adapters_of(model)
    if name not in adapters.settings:
        if not adapters.settings:
            raise UserError(f"the model has no adapter {name!r}, nor any other", fix="add or load one")
        raise unknown("adapter", name, adapters.settings)
    return adapters
