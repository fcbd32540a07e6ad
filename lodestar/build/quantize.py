"""A model's weights as codes of 4 or 8 bits, for serving (Dettmers et al. 2022, Frantar et al. 2022 on why weights alone) and as the frozen
base of adapters (QLoRA, Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).

Axes: O output width, I input width, N groups of a row, G numbers of a group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..contracts.errors import UserError
from ..model.linear import Linear
from ..model.meta import without_storage
from ..model.quantized import BITS, NF4_LEVELS, Code, QuantizedLinear, pack
from ..model.transformer import Transformer
from .fingerprint import base_fingerprint, in_base

GROUPS: dict[str, int] = {"int8": 128, "int4": 32, "nf4": 64}
"""Numbers that share a scale where no group is named. measured 2026-11: bench/RESULTS.d/quantize.md."""
SMALLEST_GROUP = 16
"""A layer whose width leaves only smaller groups stays as it is: its scales would take as much as its codes."""
SHRINKS: tuple[float, ...] = (1.0, 0.92, 0.85, 0.78)
"""The scales that are tried, as shares of the one that just holds a group's largest number: a smaller one serves the many better than the
one. measured 2026-11: takes 2 to 7% off the error of int4, a finer search 1% more."""
_ROWS = 1 << 21
"""Numbers of a weight that are turned into codes at a time."""


@dataclass(frozen=True)
class Quantization:
    """How a model's weights are coded: with its config, all that its shape follows from; the attribute `quantization` of such a model."""

    code: Code
    group: int
    head: bool = False
    """Whether the output projection is coded, too; where it is the embedding, it then has codes of its own beside it."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; ValueError where it is none of ours."""
        code, group, head = fields.get("code"), fields.get("group"), fields.get("head")
        known = code in BITS and isinstance(group, int) and group > 1 and group % 2 == 0 and isinstance(head, bool)
        if not known or set(fields) != {"code", "group", "head"}:
            raise ValueError(f"unknown quantization {dict(fields)!r}")
        return cls(**fields)

    def group_of(self, width: int) -> int | None:
        """The largest group, up to `group`, that divides a row's width; None where it is too small to be worth it."""
        group = math.gcd(self.group, width)
        return group if group >= min(SMALLEST_GROUP, self.group) and group % 2 == 0 else None


@dataclass(frozen=True)
class Savings:
    """What a model takes, before and after."""

    before_bytes: int
    after_bytes: int
    layers: int
    """Those that are coded."""
    kept: int
    """Linear layers that are not, because their width has no group."""


def quantize(model: nn.Module, bits: int = 4, *, group: int | None = None, code: Code | None = None, head: bool = False) -> Savings:
    """Replace the linear layers inside the Transformer's layers, in place, by codes with one scale a group.

    Embeddings, norms and biases stay as they are. Coded weights get no gradient.

    Args:
        bits: 8 or 4, as integers.
        group: numbers that share a scale; `GROUPS` where None.
        code: in place of `bits`: "nf4" for what QLoRA trains over.
        head: also the output projection.

    Raises:
        UserError: the model has codes or adapters already, or the setting is none.
    """
    code = code or _CODE_OF.get(bits)
    if code is None:
        raise UserError(f"there is no quantisation to {bits} bits", where="bits", fix="use 8 or 4")
    if group is not None and (group < 2 or group % 2):
        raise UserError(f"a group is {group} numbers", where="group", fix="use an even number: 32, 64 or 128")
    if getattr(model, "quantization", None) is not None:
        raise UserError("the model is quantised already", fix="load it again to quantise it another way")
    if getattr(model, "adapters", None) is not None:
        raise UserError("the model has adapters", fix="merge them, or quantise before they are added")
    plan = Quantization(code, group or GROUPS[code], head)
    model.fingerprint = base_fingerprint(model)  # type: ignore[assignment]
    before, kept = memory_bytes(model), 0
    layers = _layers(model, plan)
    for place, (weight, bias) in layers.items():
        size = plan.group_of(weight.shape[1])
        if size is None:
            kept += 1
        else:
            _replace(model, place, coded(weight, bias, code, size))
    model.quantization = plan  # type: ignore[assignment]
    return Savings(before, memory_bytes(model), len(layers) - kept, kept)


_CODE_OF: dict[int, Code] = {4: "int4", 8: "int8"}


def restructure(model: nn.Module, plan: Quantization) -> None:
    """Give a model on the meta device the layers that `quantize` gave the one it is to be filled from."""
    for place, (weight, bias) in _layers(model, plan).items():
        size = plan.group_of(weight.shape[1])
        if size is not None:
            with without_storage():
                layer = QuantizedLinear(weight.shape[1], weight.shape[0], code=plan.code, group=size, bias=bias is not None)
            _replace(model, place, layer)
    model.quantization = plan  # type: ignore[assignment]


def dequantize(model: nn.Module, dtype: torch.dtype | None = None) -> None:
    """The inverse, but for what the codes have lost: plain weights again, of the embedding's type where `dtype` is None."""
    dtype = dtype or next(model.parameters()).dtype
    for place, layer in [(place, layer) for place, layer in model.named_modules() if isinstance(layer, QuantizedLinear)]:
        with without_storage():
            plain = Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        plain.weight = nn.Parameter(layer.dequantized(dtype))
        plain.register_parameter("bias", layer.bias)
        _replace(model, place, plain)
    model.quantization = None  # type: ignore[assignment]


def memory_bytes(model: nn.Module) -> int:
    """What parameters and buffers take, shared ones once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in {*model.parameters(), *model.buffers()})


def _layers(model: nn.Module, plan: Quantization) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Weight and bias of each layer to be coded, by its place."""
    found: dict[str, tuple[Tensor, Tensor | None]] = {
        place: (module.weight, module.bias)
        for place, module in model.named_modules()
        if isinstance(module, Linear) and ".blocks." in f".{place}" and not place.endswith(".router") and in_base(model, place)
    }
    if plan.head:
        place = next((place for place, module in model.named_modules() if isinstance(module, Transformer)), "")
        transformer = model.get_submodule(place)
        assert isinstance(transformer, Transformer)
        head = transformer.output if transformer.output is not None else transformer.embedding
        if transformer.decoder is None or not isinstance(head, Linear | nn.Embedding):
            raise UserError("the model has no output projection", where="head", fix="leave it out")
        found[f"{place}.output".lstrip(".")] = (head.weight, None)
    return found


def _replace(model: nn.Module, place: str, layer: nn.Module) -> None:
    parent, _, child = place.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


@torch.no_grad()
def coded(weight_OI: Tensor, bias: Tensor | None, code: Code, group: int) -> QuantizedLinear:
    """A layer of codes in place of a plain one."""
    height, width = weight_OI.shape
    with without_storage():
        layer = QuantizedLinear(width, height, code=code, group=group, bias=False)
    rows = max(1, _ROWS // width)
    parts = [codes_of(part.float().unflatten(1, (-1, group)), code) for part in weight_OI.split(rows)]
    codes_OI = torch.cat([codes.flatten(1) for codes, _ in parts])
    layer.codes = codes_OI if BITS[code] == 8 else pack(codes_OI)
    layer.scales = torch.cat([scales for _, scales in parts])
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach(), requires_grad=False))
    return layer


def codes_of(weight_ONG: Tensor, code: Code) -> tuple[Tensor, Tensor]:
    """Codes (O, N, G), int8 or uint8, and scales (O, N) bfloat16, with the least squared error of the scales tried.

    Codes are chosen for the scale as it is rounded, so that its rounding costs nothing.
    """
    # Of int4 the level furthest from zero is -8: the largest number gets it, and the scale its sign, as in llama.cpp's Q4_0.
    largest_ON1 = weight_ONG.gather(2, weight_ONG.abs().argmax(2, keepdim=True))
    if code == "int8":
        scales = _scale(largest_ON1.abs() / 127)
        return (weight_ONG / scales).round_().clamp_(-127, 127).to(torch.int8), scales[..., 0].bfloat16()
    levels = torch.tensor(NF4_LEVELS, device=weight_ONG.device)
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for shrink in SHRINKS:
        if code == "nf4":
            scales = _scale(largest_ON1.abs() * shrink)
            codes = torch.bucketize(weight_ONG / scales, (levels[1:] + levels[:-1]) / 2)
            means = levels[codes] * scales
        else:
            scales = _scale(largest_ON1 / -8 * shrink)
            codes = (weight_ONG / scales).round_().add_(8).clamp_(0, 15)
            means = (codes - 8) * scales
        codes, errors = codes.to(torch.uint8), (means - weight_ONG).square_().sum(2, keepdim=True)
        if best is None:
            best = codes, scales, errors
        else:
            better = errors < best[2]
            best = torch.where(better, codes, best[0]), torch.where(better, scales, best[1]), torch.where(better, errors, best[2])
    assert best is not None
    return best[0], best[1][..., 0].bfloat16()


def _scale(scales: Tensor) -> Tensor:
    """As it will be stored; 1 for a group of zeros, which it leaves so."""
    rounded = scales.bfloat16().float()
    return torch.where(rounded == 0, torch.ones_like(rounded), rounded)
