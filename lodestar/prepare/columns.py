"""Columns of whole numbers on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np


class Column:
    """An .npy file of int64, written a piece at a time. (A memory map would meet a full disk with a signal instead of an error.)"""

    def __init__(self, path: Path) -> None:
        self.count = 0
        """Numbers that were written."""
        self._file = path.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not kind:
            self._file.seek(0)
            self._write_header()
        self._file.close()

    def write(self, values: Any) -> None:
        """Append whole numbers."""
        column = np.asarray(values, np.int64)
        self.count += len(column)
        self._file.write(column.tobytes())

    def _write_header(self) -> None:
        # NumPy leaves room for the count to grow, so the header is as long at the end as at the beginning.
        np.lib.format.write_array_header_1_0(self._file, {"descr": "<i8", "fortran_order": False, "shape": (self.count,)})
