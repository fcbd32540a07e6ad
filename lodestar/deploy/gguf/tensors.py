"""The model's tensors under an architecture's names, each made when it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ...model.config import ModelConfig
from ...model.positions import rotary_frequencies
from ...model.transformer import Transformer
from .architectures import GGUFArchitecture
from .blocks import F16, F32, Q4_0, Q8_0, encoded
from .container import Entry, Kind

_OUTSIDE = {
    "token_embd.weight": "embedding.weight",
    "position_embd.weight": "decoder.learned.weight",
    "output_norm.weight": "decoder.norm.weight",
    "output_norm.bias": "decoder.norm.bias",
    "output.weight": "output.weight",
}
_WHOLE = ("position_embd", "ffn_gate_inp", "rope_")
"""Beginnings of names that llama.cpp keeps in float32."""
_EDGES = ("token_embd.weight", "output.weight")
"""What reads and writes tokens suffers most from few bits: 8 in a file of 4."""


def entries(model: Transformer, architecture: GGUFArchitecture, kind: Kind) -> list[Entry]:
    """All tensors of a file whose matrices are of `kind`. A matrix whose rows are no multiple of the kind's block is in float16."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    left = dict(state)
    found = []
    for name, parts in _names(model.config, architecture, state):
        tensors = [left.pop(part) for part in parts]
        base = name.rpartition(".")[0].rpartition(".")[2]
        permuted = architecture.interleaved and base in ("attn_q", "attn_k")
        heads = model.config.heads if base == "attn_q" else model.config.kv_heads
        found.append(_entry(name, tensors, kind, heads if permuted else 0))
    assert not left, f"no place for {sorted(left)[:3]}"
    return [*found, *(_entry(name, [factors], F32, 0) for name, factors in _rotary_factors(model.config))]


def _names(config: ModelConfig, architecture: GGUFArchitecture, state: Mapping[str, Tensor]) -> Iterator[tuple[str, list[str]]]:
    """Their names, and of which of ours each is made."""
    for theirs, ours in _OUTSIDE.items():
        if ours in state:
            yield theirs, [ours]
    for layer in range(config.depth):
        block = f"decoder.blocks.{layer}."
        for name, modules in architecture.layer.items():
            for leaf in ("weight", "bias"):
                parts = [f"{block}{module}.{leaf}" for module in modules]
                if parts[0] in state:
                    yield f"blk.{layer}.{name}.{leaf}", parts
        if config.experts:
            yield f"blk.{layer}.ffn_gate_inp.weight", [f"{block}feed_forward.router.weight"]
            for name in ("gate", "up", "down"):
                parts = [f"{block}feed_forward.experts.{expert}.{name}.weight" for expert in range(config.experts)]
                yield f"blk.{layer}.ffn_{name}_exps.weight", parts


def _entry(name: str, tensors: Sequence[Tensor], kind: Kind, heads: int) -> Entry:
    """Several tensors become one: experts along a new first axis, others one after the other along their own."""
    stacked = name.endswith("_exps.weight")
    rows = sum(len(tensor) for tensor in tensors)
    shape = (len(tensors), *tensors[0].shape) if stacked else (rows, *tensors[0].shape[1:])
    chosen = _kind(name, shape, kind)

    def content() -> Iterator[memoryview]:
        for tensor in tensors:
            try:
                yield from encoded(_interleaved(tensor, heads) if heads else tensor, chosen)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    return Entry(name, shape, chosen, content)


def _kind(name: str, shape: tuple[int, ...], kind: Kind) -> Kind:
    if len(shape) == 1 or any(part.startswith(_WHOLE) for part in name.split(".")):
        return F32
    if kind is Q4_0 and name in _EDGES:
        kind = Q8_0
    return kind if shape[-1] % kind.per_block == 0 else F16


def _interleaved(tensor: Tensor, heads: int) -> Tensor:
    """Rows of each head from halves (0, 1, … | d/2, …) to neighbours (0, d/2, 1, d/2 + 1, …): (heads · d, …) → the same."""
    return tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(tensor.shape)


def _rotary_factors(config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """By what each pair's frequency is divided, where that is no formula of llama.cpp's."""
    scaling = config.rotary_scaling
    if scaling is None:
        return
    if scaling.kind == "llama3":
        plain = rotary_frequencies(config.rotary_width, config.rotary_base)
        yield "rope_freqs.weight", plain / rotary_frequencies(config.rotary_width, config.rotary_base, scaling)
    if scaling.kind == "longrope":
        yield "rope_factors_long.weight", torch.tensor(scaling.long_factors)
        yield "rope_factors_short.weight", torch.tensor(scaling.short_factors)
