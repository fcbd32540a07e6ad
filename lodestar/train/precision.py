"""Which number format the matrix products run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from ..contracts.errors import UserError

Precision = Literal["fp32", "bf16"]


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """The format to train in: `auto` is bf16 where the machine multiplies it faster than float32.

    On a CPU without the instructions for it, bf16 is emulated and several times slower. float16 is never chosen: it overflows, and CPUs
    multiply it at a hundredth of their speed.

    Raises:
        UserError: bf16 was asked for on a GPU that has none.
    """
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _cpu_multiplies_bf16()
    if wanted == "bf16" and device.type == "cuda" and not has_bf16:
        raise UserError("this GPU computes no bf16", where="train.precision", fix="choose fp32 or auto")
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    return wanted


def _cpu_multiplies_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context of the forward pass. Weights, gradients, optimiser and loss stay in float32; products take bf16 copies."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
