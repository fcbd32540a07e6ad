"""The attention weights of a forward pass, per layer and head, from the very modules that computed it.

The fused kernels never write the weights down. They are asked for here by the same `attend`, with the same queries, keys and mask, over
the identity in place of the values: softmax(QKᵀ/√d_k)·I. So whatever a model's attention does (windows, caps, relative positions, grouped
heads) is in them, and nothing of it is written a second time.

Axes: B batch, T query tokens, S key tokens, H query heads, G heads of keys and values, W model width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..model.attention import Attention, Mask, attend
from ..model.blocks import Block
from ..model.cache import KVCache
from ..model.transformer import Transformer


@dataclass
class AttentionMaps:
    """The weights of the last forward pass: of each stack one tensor (B, H, T, S) a layer, in float32; a row sums to one."""

    encoder: list[Tensor] = field(default_factory=list)
    """How the encoder's tokens attend to each other; empty where there is no encoder."""
    decoder: list[Tensor] = field(default_factory=list)
    """The same of the decoder, where none sees a later one."""
    cross: list[Tensor] = field(default_factory=list)
    """How the decoder's tokens attend to the encoder's."""


@contextmanager
def attention_maps(model: nn.Module) -> Iterator[AttentionMaps]:
    """Keep the weights of what `model` reads inside, without a cache: a pass with one is a ValueError.

    The model's own way stays as it is, and costs each layer's queries and keys once more. The hooks are gone on leaving.
    """
    maps = AttentionMaps()
    with ExitStack() as hooks:
        transformer = transformer_of(model)
        for stack, own in ((transformer.encoder, maps.encoder), (transformer.decoder, maps.decoder)):
            for block in () if stack is None else stack.blocks:
                assert isinstance(block, Block)
                hooks.callback(_keep(block.attention, own))
                if block.cross_attention is not None:
                    hooks.callback(_keep(block.cross_attention, maps.cross))
        yield maps


def transformer_of(model: nn.Module) -> Transformer:
    """The Transformer of a model with or without a head.

    Raises:
        ValueError: it has none, or more than one.
    """
    inner = model if isinstance(model, Transformer) else getattr(model, "transformer", None)
    if not isinstance(inner, Transformer):
        raise ValueError(f"a {type(model).__name__} has not one Transformer to look into")
    return inner


def _keep(attention: Attention, into: list[Tensor]) -> Any:
    """Begin to append an attention's weights to `into`; call the result to stop."""

    def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], _: Tensor) -> None:
        assert isinstance(module, Attention)
        into.append(attention_weights(module, *given, **named))

    return attention.register_forward_hook(hook, with_kwargs=True).remove


@torch.no_grad()
def attention_weights(
    attention: Attention,
    x_BTW: Tensor,
    mask: Mask,
    *,
    rotary: tuple[Tensor, Tensor] | None = None,
    source_BSW: Tensor | None = None,
    cache: KVCache | None = None,
    layer: int = 0,
) -> Tensor:
    """What `attention`, called with these arguments, weighs the values with: (B, H, T, S), float32.

    Raises:
        ValueError: there is a cache, whose keys are no part of the arguments.
    """
    if cache is not None:
        raise ValueError(f"layer {layer} reads from a cache; explain a pass without one")
    queries_BHTD = attention.queries(x_BTW, rotary).float()
    keys_BGSD = (attention.keys_values(x_BTW, rotary) if source_BSW is None else attention.keys_values(source_BSW, None))[0].float()
    size = keys_BGSD.shape[2]
    identity_BGSS = torch.eye(size, device=keys_BGSD.device).expand(*keys_BGSD.shape[:2], size, size)
    return attend(queries_BHTD, keys_BGSD, identity_BGSS, mask, scale=attention.scale, cap=attention.cap)
