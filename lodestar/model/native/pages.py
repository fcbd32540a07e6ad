"""Pages of 2 MiB for weights that are read from end to end again and again: reading them is up to a quarter faster (measured 2026-11:
bench/RESULTS.d/speed.md), as fewer addresses have to be looked up.
"""

from __future__ import annotations

import mmap
import sys

import torch
from torch import nn

SMALLEST = 16 << 20
"""Bytes of a model that are worth it: less stays in the processor's caches anyway. # assumed"""
ALIGNMENT = 64
"""Of each tensor, in bytes: a line of the processor's caches."""


def settle(model: nn.Module) -> None:
    """Move a model's weights on the CPU to memory of huge pages, where the system has them. For a process that then decodes for long: a
    gigabyte takes 1 to 2 s, and weights that were mapped from a file are read, and no longer shared with other processes.

    Tensors that were taken from the model before no longer follow it.
    """
    tensors = [x for x in dict.fromkeys((*model.parameters(), *model.buffers())) if x.device.type == "cpu" and x.is_contiguous()]
    sizes = [-(-x.numel() * x.element_size() // ALIGNMENT) * ALIGNMENT for x in tensors]
    if not sys.platform.startswith("linux") or sum(sizes) < SMALLEST:
        return
    memory = mmap.mmap(-1, sum(sizes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a system built without them
        return
    everything, start = torch.frombuffer(memory, dtype=torch.uint8), 0
    for x, size in zip(tensors, sizes, strict=True):
        moved = everything[start : start + x.numel() * x.element_size()].view(x.dtype).view(x.shape)
        x.data = moved.copy_(x.detach())  # what held them before is let go of, one after the other
        start += size
