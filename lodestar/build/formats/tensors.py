"""Reading safetensors files: the header checked before anything is believed, the numbers memory-mapped.

The format: 8 bytes with the length of a JSON header, the header (name → type, shape, place), then the numbers.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...contracts.errors import UserError

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the reference implementation."""
SLICE_BYTES = 4_000_000
"""What is copied before the pages that it was read from are given back."""
_AGAIN = "download or write the file again"


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, as the header tells of it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    """Bytes from the beginning of the file."""
    end: int


class TensorFile:
    """One safetensors file, opened: what it holds, and its tensors as views of the mapped file.

    Raises:
        UserError: the file is missing, truncated, or its header does not fit it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", where=path, fix="check the path and its permissions") from None
        try:
            size = os.fstat(handle).st_size
            self.stored = _read_header(handle, size, path)
            # Private and writable: training in place changes memory, never the file.
            self._map = mmap.mmap(handle, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        finally:
            os.close(handle)

    def tensor(self, name: str) -> Tensor:
        """A view of the mapped file, which takes memory only as it is read; it keeps the file mapped as long as it lives."""
        stored = self.stored[name]
        count = math.prod(stored.shape)
        if count == 0:
            return torch.empty(stored.shape, dtype=stored.dtype)
        if stored.start % stored.dtype.itemsize:  # a number across two of the processor's words: the format allows it, torch does not
            content = bytearray(self._map[stored.start : stored.end])
            return torch.frombuffer(content, dtype=stored.dtype, count=count).view(stored.shape)
        return torch.frombuffer(self._map, dtype=stored.dtype, count=count, offset=stored.start).view(stored.shape)

    def release(self, name: str) -> None:
        """Give back the memory of the pages that lie wholly within a tensor that nobody has changed."""
        stored, page = self.stored[name], mmap.PAGESIZE
        start, end = -(-stored.start // page) * page, stored.end // page * page
        if end > start:
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)


def _read_header(handle: int, size: int, path: Path) -> dict[str, Stored]:
    if size < 8:
        raise UserError(f"the file is truncated: it has {size} bytes", where=path, fix=_AGAIN)
    length = int.from_bytes(os.pread(handle, 8, 0), "little")
    if length > LONGEST_HEADER or 8 + length > size:
        what = f"the file is truncated, or no safetensors file: its header says {length} bytes, and {size - 8} follow"
        raise UserError(what, where=path, fix=_AGAIN)
    try:
        entries = json.loads(os.pread(handle, length, 8).decode(), object_pairs_hook=_once)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise UserError("the file is damaged: its header is not JSON", where=path, fix=_AGAIN) from None
    if not isinstance(entries, dict):
        raise UserError("the file is damaged: its header is not a table", where=path, fix=_AGAIN)
    entries.pop("__metadata__", None)
    stored = {name: _read_entry(name, entry, 8 + length, path) for name, entry in entries.items()}
    _check_places(stored, 8 + length, size, path)
    return stored


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _read_entry(name: str, entry: Any, data: int, path: Path) -> Stored:
    try:
        kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise UserError(f"the file is damaged: its header describes {name!r} in no known way", where=path, fix=_AGAIN) from None
    if not isinstance(kind, str) or kind not in TYPES:
        raise UserError(f"{name!r} is of the number type {kind!r}", where=path, fix=f"convert it to one of {', '.join(TYPES)}")
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise UserError(f"the file is damaged: the shape or place of {name!r} is no number", where=path, fix=_AGAIN)
    needed = math.prod(shape) * TYPES[kind].itemsize
    if end - start != needed:
        what = f"the file is damaged: {name!r} has {end - start} bytes, and its shape {list(shape)} needs {needed}"
        raise UserError(what, where=path, fix=_AGAIN)
    return Stored(TYPES[kind], shape, data + start, data + end)


def _check_places(stored: Mapping[str, Stored], data: int, size: int, path: Path) -> None:
    """Tensors follow one another without gaps or overlaps, to the end of the file."""
    end, last = data, ""
    for name, tensor in sorted(stored.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != end:
            what = f"{name!r} overlaps {last!r}" if tensor.start < end else f"nothing tells what stands before {name!r}"
            raise UserError(f"the file is damaged: {what}", where=path, fix=_AGAIN)
        end, last = tensor.end, name
    if end != size:
        what = f"the file is truncated: it has {size} bytes, and its header tells of {end}"
        raise UserError(what if size < end else f"the file is damaged: {size - end} bytes follow the last tensor", where=path, fix=_AGAIN)


def copied(source: Tensor, dtype: torch.dtype, device: torch.device | str, release: Callable[[], None]) -> Tensor:
    """A contiguous copy, made slice by slice; `release` is called after each."""
    target = torch.empty(source.shape, dtype=dtype, device=device)
    if source.ndim == 0 or not source.numel():
        return target.copy_(source)
    # Along the axis in which the source lies in memory, so that each page of it is read once.
    axis = max(range(source.ndim), key=source.stride)
    rows = max(1, SLICE_BYTES * source.shape[axis] // (source.numel() * source.element_size()))
    for start in range(0, source.shape[axis], rows):
        length = min(rows, source.shape[axis] - start)
        target.narrow(axis, start, length).copy_(source.narrow(axis, start, length))
        release()
    return target
