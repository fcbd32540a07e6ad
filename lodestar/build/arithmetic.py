"""What this machine multiplies fast."""

from __future__ import annotations

import functools
import math

import torch

from ..contracts.clock import seconds


@functools.cache
def bf16_speed() -> float:
    """How many times as fast as float32 this CPU multiplies matrices in bf16.

    Of two with AVX512_BF16 one is twice as fast in it (AMD Zen 4), the other half (Intel Sapphire Rapids without its AMX units).
    The best of twenty small products each, taken in turn on one thread: half a tenth of a second, and steady to 2% on a busy machine.
    """
    matrices = {dtype: torch.zeros(256, 256, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(matrices, math.inf)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(20):
            for dtype, matrix in matrices.items():
                begin = seconds()
                matrix @ matrix
                best[dtype] = min(best[dtype], seconds() - begin)
    finally:
        torch.set_num_threads(threads)
    return best[torch.float32] / best[torch.bfloat16]


def widens(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products of frozen bfloat16 weights are better computed in float32, see `model.frozen.product_dtype`."""
    return dtype is torch.bfloat16 and device.type == "cpu" and bf16_speed() < 1.0
