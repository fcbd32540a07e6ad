"""Pages of 2 MiB for weights that are read from end to end again and again: reading them is up to a quarter faster (measured 2026-11:
bench/RESULTS.d/speed.md), as fewer addresses have to be looked up.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable

from torch import Tensor, nn

HUGE_PAGE = 2 << 20
MADV_COLLAPSE = 25
"""Linux 6.1: move the pages together now, in whatever mode transparent huge pages are. See madvise(2)."""
SMALLEST = 16 << 20
"""Bytes of a model that are worth it: less stays in the processor's caches anyway. # assumed"""


def settle(model: nn.Module) -> None:
    """Move a model's weights on the CPU to huge pages where the system can: numbers and addresses stay. For a process that then decodes for
    long: a gigabyte took 1 to 3 s. What is mapped from a file stays as it is.
    """
    tensors = [x for x in (*model.parameters(), *model.buffers()) if x.device.type == "cpu"]
    if sys.platform.startswith("linux") and sum(x.numel() * x.element_size() for x in tensors) >= SMALLEST:
        for start, stop in _ranges(tensors):
            # A failure costs nothing but speed: an older system, no free huge page, a range with a hole.
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), MADV_COLLAPSE)


def _ranges(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Where they lie, from and up to a page's border, those beside each other as one: each call of the system takes some milliseconds.

    Small matrices lie several to a page, so ranges are rounded outwards. Whatever else is there only moves, too.
    """
    places = sorted((x.data_ptr(), x.data_ptr() + x.numel() * x.element_size()) for x in tensors)
    ranges: list[tuple[int, int]] = []
    for begin, end in places:
        start, stop = begin // HUGE_PAGE * HUGE_PAGE, -(-end // HUGE_PAGE) * HUGE_PAGE
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(stop, ranges[-1][1])
        else:
            ranges.append((start, stop))
    return ranges
