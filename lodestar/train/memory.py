"""Keep the memory that one step frees for the next one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's names and numbers, from malloc.h; its defaults are restored where they can be told.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER, DEFAULT_MMAPS, LARGEST_THRESHOLD = -1, 65_536, 32 << 20


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, the C library gives no freed memory back to the system; outside, it does again.

    Every tensor of more than 32 MB, and most smaller ones, would else be fresh pages that the system has to find and clear. How much that
    costs varies with the model and the machine's load: from nothing to a third of a CPU step (measured 2026-11: bench/RESULTS.md).
    Kept memory is of use where what is freed in one step fits what the next one asks for; so make what lasts longer before.

    Memory on a GPU has such a cache of its own, in torch. Does nothing where the C library is not glibc.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, DEFAULT_MMAPS)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD)
        library.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_THRESHOLD)
        library.malloc_trim(0)


def give_back() -> None:
    """Give the memory that is free in the C library's heap back to the system, so that what the process holds is what it uses."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
