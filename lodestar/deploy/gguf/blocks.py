"""Numbers as GGUF stores them: whole, by halves, and in blocks of 32 with a scale of their own.

The blocks are those of the reference, bit for bit:
https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c, `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref`.
Axes: N blocks, 32 numbers of a block.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .container import Kind

BLOCK = 32
F32 = Kind("f32", code=0, file_code=0, per_block=1, block_bytes=4)
F16 = Kind("f16", code=1, file_code=1, per_block=1, block_bytes=2)
Q8_0 = Kind("q8_0", code=8, file_code=7, per_block=BLOCK, block_bytes=2 + 32)
Q4_0 = Kind("q4_0", code=2, file_code=2, per_block=BLOCK, block_bytes=2 + 16)
KINDS = {kind.name: kind for kind in (F32, F16, Q8_0, Q4_0)}

_AT_ONCE = 1 << 22
"""Numbers that are converted at a time, so that a matrix takes no copy as large as itself."""


def encoded(tensor: Tensor, kind: Kind) -> Iterator[memoryview]:
    """The bytes of a tensor, whose last axis is a multiple of the kind's block.

    Raises:
        ValueError: it holds NaN or infinity, or numbers that are too large for a float16.
    """
    for part in tensor.detach().flatten().split(_AT_ONCE):
        numbers = part.cpu().float()
        data = _ENCODERS[kind.name](numbers)
        yield data.contiguous().view(torch.uint8).flatten().numpy().data


def _f32(numbers: Tensor) -> Tensor:
    return _finite(numbers)


def _f16(numbers: Tensor) -> Tensor:
    return _finite(numbers.half())


def _q8_0(numbers: Tensor) -> Tensor:
    """Each block: its scale d, and x / d rounded, from -127 to 127."""
    blocks = numbers.view(-1, BLOCK)
    scales = blocks.abs().amax(-1, keepdim=True) / 127
    turned = blocks * _inverse(scales)
    magnitude = turned.abs()
    whole = magnitude.floor()
    whole += magnitude - whole >= 0.5  # halves away from zero, which torch.round does not
    return _joined(scales, whole.copysign(turned).to(torch.int8).view(torch.uint8))


def _q4_0(numbers: Tensor) -> Tensor:
    """Each block: its scale d, by which the number furthest from 0 becomes -8, and x / d + 8 rounded, from 0 to 15, two to a byte."""
    blocks = numbers.view(-1, BLOCK)
    furthest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scales = furthest / -8
    codes = (blocks * _inverse(scales) + 8.5).trunc().clamp(0, 15).to(torch.uint8)
    return _joined(scales, codes[:, : BLOCK // 2] | codes[:, BLOCK // 2 :] << 4)


_ENCODERS = {"f32": _f32, "f16": _f16, "q8_0": _q8_0, "q4_0": _q4_0}


def _inverse(scales: Tensor) -> Tensor:
    return torch.where(scales == 0, 0.0, 1 / scales)


def _joined(scales_N1: Tensor, codes: Tensor) -> Tensor:
    return torch.cat((_finite(scales_N1.half()).view(torch.uint8), codes), dim=-1)


def _finite(numbers: Tensor) -> Tensor:
    # The smallest and the largest of numbers with a NaN among them are NaN.
    if numbers.numel() and not bool(torch.isfinite(torch.stack(torch.aminmax(numbers))).all()):
        raise ValueError("it holds NaN, infinity, or numbers too large for a float16")
    return numbers
