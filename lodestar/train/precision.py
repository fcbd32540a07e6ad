"""Which number format the matrix products run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from ..build.arithmetic import bf16_speed
from ..contracts.errors import UserError

Precision = Literal["fp32", "bf16"]

WORTH_IT = 1.25
"""So many times as fast as float32 bf16 has to be, on a CPU, to be worth its rounding."""


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """The format to train in: `auto` is bf16 on a GPU that has it, and on a CPU that is measured to multiply it faster than float32.

    A CPU's instructions for it tell little: of two with AVX512_BF16 one multiplies bf16 at twice the speed of float32 (AMD Zen 4), the
    other at half (Intel Sapphire Rapids without its AMX units). float16 is never chosen: it overflows, and CPUs multiply it at a
    hundredth of their speed.

    Raises:
        UserError: bf16 was asked for on a GPU that has none.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if wanted == "bf16" and not has_bf16:
            raise UserError("this GPU computes no bf16", where="train.precision", fix="choose fp32 or auto")
        return "bf16" if has_bf16 and wanted != "fp32" else "fp32"
    if wanted == "auto":
        return "bf16" if bf16_speed() >= WORTH_IT else "fp32"
    return wanted


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context of the forward pass. Weights, gradients, optimiser and loss stay in float32; products take bf16 copies of the weights."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
