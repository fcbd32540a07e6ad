"""An adapter worked into the weights, so that it costs nothing, and taken out again."""

from __future__ import annotations

import torch
from torch import nn

from ...contracts.errors import UserError
from ...model.adapted import Adapted
from .attach import adapted_layers, adapters_of, replace_module


def merge(model: nn.Module, name: str | None = None, *, keep: bool = True, dtype: torch.dtype | None = None) -> None:
    """Replace each adapted layer by a plain one that computes the same; the model's tensors then have the names of a plain model's.

    The sums are made in float32. Layers of codes become plain weights.

    Args:
        name: the adapter; the one at work where None.
        keep: keep the layers with their adapters, so that `unmerge` brings back the very same. Takes memory for both.
        dtype: of the merged weights; where None, that of the model's own (of its first parameter, under layers of codes).

    Raises:
        UserError: there is no such adapter.
    """
    adapters = adapters_of(model)
    if adapters.merged:
        raise UserError("the model's adapter is merged already", fix="unmerge it first")
    name = at_work(model, name)
    fallback = next(model.parameters()).dtype
    layers = adapted_layers(model)
    for place in list(layers):
        # Where it is not kept, each layer is freed before the next one is made: both models never take memory at once.
        replace_module(model, place, _merged(layers[place] if keep else layers.pop(place), name, dtype, fallback))
    if keep:
        adapters.merged = layers
    else:
        model.adapters = None  # type: ignore[assignment]


def at_work(model: nn.Module, name: str | None) -> str:
    """The adapter of that name, or the one at work where None.

    Raises:
        UserError: there is none.
    """
    adapters = adapters_of(model)
    chosen = adapters.selection.default if name is None else name
    if not isinstance(chosen, str) or chosen not in adapters.settings:
        raise UserError(
            "no adapter is at work" if name is None else f"the model has no adapter {name!r}", fix="add or load one, and name it"
        )
    return chosen


def _merged(layer: Adapted, name: str, dtype: torch.dtype | None, fallback: torch.dtype) -> nn.Module:
    if name not in layer.adapters:
        return layer.base
    own = layer.base.weight.dtype if isinstance(layer.base, nn.Linear) else fallback
    return layer.merged(name, dtype or own).train(layer.training)


def unmerge(model: nn.Module) -> None:
    """Bring back what `merge` replaced: the same layers, with the same bits.

    Raises:
        UserError: nothing is merged, or it was not kept.
    """
    adapters = adapters_of(model)
    if not adapters.merged:
        raise UserError("the model has no merged adapter that was kept", fix="merge with keep=True, or load the base again")
    for place, layer in adapters.merged.items():
        replace_module(model, place, layer)
    adapters.merged = {}
