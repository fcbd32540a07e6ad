"""The container: a header, key-value pairs, a table of tensors, and their numbers.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Value = bool | int | float | str | Sequence[int] | Sequence[float] | Sequence[str]
"""Whole numbers are written as uint32, in a sequence as int32; others as float32."""

ALIGNMENT = 32
"""Each tensor begins at a multiple of so many bytes."""
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True)
class Kind:
    """How numbers are stored: `per_block` of them, one after the other in a row, in `block_bytes`."""

    name: str
    code: int
    """Of the tensors; https://github.com/ggml-org/ggml/blob/master/include/ggml.h, `ggml_type`."""
    file_code: int
    """Of a file whose matrices are of this kind; https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h, `llama_ftype`."""
    per_block: int
    block_bytes: int


@dataclass(frozen=True)
class Entry:
    """One tensor."""

    name: str
    shape: tuple[int, ...]
    """As torch tells it, the axis whose numbers stand beside each other last."""
    kind: Kind
    content: Callable[[], Iterable[bytes | memoryview]]
    """Its numbers, made when they are written."""

    @property
    def size(self) -> int:
        """Bytes."""
        count = 1
        for length in self.shape:
            count *= length
        return count // self.kind.per_block * self.kind.block_bytes


def pieces(metadata: Mapping[str, Value], entries: Sequence[Entry]) -> Iterator[bytes | memoryview]:
    """The content of a file."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(entries), len(metadata))]
    for key, value in metadata.items():
        head += [_string(key), _typed(value)]
    start = 0
    for entry in entries:
        # The format counts axes from the innermost outwards.
        axes = struct.pack(f"<I{len(entry.shape)}Q", len(entry.shape), *reversed(entry.shape))
        head += [_string(entry.name), axes, struct.pack("<IQ", entry.kind.code, start)]
        start += entry.size + _padding(entry.size)
    table = b"".join(head)
    yield table + b"\0" * _padding(len(table))
    for entry in entries:
        written = 0
        for piece in entry.content():
            written += len(piece)
            yield piece
        assert written == entry.size, f"{entry.name}: {written} bytes of {entry.size}"
        yield b"\0" * _padding(entry.size)


def _padding(size: int) -> int:
    return -size % ALIGNMENT


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _typed(value: Value) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    return _array(value)


def _array(values: Sequence[int] | Sequence[float] | Sequence[str]) -> bytes:
    texts = [_string(value) for value in values if isinstance(value, str)]
    if texts:
        kind, data = _STRING, b"".join(texts)
    elif all(isinstance(value, int) for value in values):
        kind, data = _INT32, struct.pack(f"<{len(values)}i", *values)
    else:
        kind, data = _FLOAT32, struct.pack(f"<{len(values)}f", *values)
    return struct.pack("<IIQ", _ARRAY, kind, len(values)) + data
