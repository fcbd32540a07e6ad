"""The arrays of a split's rows on disk, memory-mapped: pixels, samples of sound, boxes.

<name>.bin           of one shape (n, …), or of any length, end to end (total, …)
<name>_offsets.npy   of any length: where each row begins (n + 1,), int64
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..contracts.errors import UserError
from ..contracts.task import ArrayShape
from .columns import Column

RAGGED_BYTES = 1 << 16
"""What a row of any length is taken for, where rows are held together. # assumed: four seconds of speech have twice as many"""


def row_bytes(arrays: Mapping[str, ArrayShape]) -> int:
    """The bytes of one row, about."""
    sizes = (RAGGED_BYTES if each.ragged else math.prod(map(int, each.shape)) * np.dtype(each.dtype).itemsize for each in arrays.values())  # type: ignore[arg-type] # shapes without None
    return sum(sizes)


class ArrayWriter:
    """Writes one array of every row. Use as a context manager."""

    def __init__(self, folder: Path, name: str, shape: ArrayShape) -> None:
        self.name, self.shape = name, shape
        self._dtype, self._total = np.dtype(shape.dtype), 0
        self._open = ExitStack()
        self._file = self._open.enter_context((folder / f"{name}.bin").open("wb"))
        self._offsets = self._open.enter_context(Column(folder / f"{name}_offsets.npy")) if shape.ragged else None
        if self._offsets is not None:
            self._offsets.write([0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._open.__exit__(*raised)

    def write(self, rows: Sequence[Any]) -> None:
        """Append the array of each row."""
        for row in rows:
            values = np.asarray(row)
            fits = len(values.shape) == len(self.shape.shape) and all(
                wanted in (None, found) for wanted, found in zip(self.shape.shape, values.shape, strict=True)
            )
            assert fits, f"{self.name} has the shape {values.shape}, and the task says {self.shape.shape}"
            self._file.write(np.ascontiguousarray(values, self._dtype).tobytes())
            if self._offsets is not None:
                self._total += len(values)
                self._offsets.write([self._total])


class ArrayRows:
    """One array of every row of a split, opened."""

    def __init__(self, folder: Path, name: str, shape: ArrayShape, rows: int) -> None:
        self.name, self.shape = name, shape
        self.offsets: np.ndarray | None = np.load(folder / f"{name}_offsets.npy", mmap_mode="r") if shape.ragged else None
        rest = tuple(int(size) for size in shape.shape[1 if shape.ragged else 0 :] if size is not None)
        count = rows if self.offsets is None else int(self.offsets[-1])
        path, expected = folder / f"{name}.bin", count * math.prod(rest) * np.dtype(shape.dtype).itemsize
        if (path.stat().st_size if path.exists() else -1) != expected:
            raise UserError("the prepared data is damaged: the file has the wrong size", where=path, fix="prepare the data again")
        whole = (count, *rest)
        self.values: np.ndarray = np.memmap(path, shape.dtype, "r", shape=whole) if expected else np.empty(whole, shape.dtype)
        """(n, …), or end to end (total, …)."""

    def __getitem__(self, row: int) -> np.ndarray:
        """The array of one row."""
        return self.values[row] if self.offsets is None else self.values[self.offsets[row] : self.offsets[row + 1]]

    def batch(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """The arrays of the chosen rows: `NAME` (B, …); of any length, padded with 0 behind, and `NAME_mask` (B, longest)."""
        if self.offsets is None:
            return {self.name: self.values[chosen]}
        lengths = self.offsets[chosen + 1] - self.offsets[chosen]
        padded = np.zeros((len(chosen), max(int(lengths.max()), 1), *self.values.shape[1:]), self.values.dtype)
        for place, row in enumerate(chosen):
            padded[place, : lengths[place]] = self[int(row)]
        return {self.name: padded, f"{self.name}_mask": np.arange(padded.shape[1]) < lengths[:, None]}
