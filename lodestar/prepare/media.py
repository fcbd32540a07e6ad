"""The contents of all files that the records of a prepared folder hold, each once, whatever splits they are in.

content.bin   the files, end to end
index.npy     for each its digest (the first 16 bytes of its SHA-256, big-endian) and its place, sorted by digest
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..contracts.errors import UserError
from ..contracts.media import Media

MEDIA = "media"
"""The name of the folder within a prepared one."""
PLACE = np.dtype([("high", "<u8"), ("low", "<u8"), ("start", "<i8"), ("size", "<i8")])


class MediaWriter:
    """Sets down files as they come; the memory is some hundred bytes a file. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._file = (folder / "content.bin").open("wb")
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if not kind:
            rows = [(*_key(digest), *place) for digest, place in self._places.items()]
            table = np.array(rows, PLACE)
            np.save(self._folder / "index.npy", table[np.lexsort((table["low"], table["high"]))])

    def add(self, media: Media) -> None:
        """Set a file down, where its content is new."""
        if media.sha256 not in self._places:
            content = media.read()
            self._places[media.sha256] = (self._file.tell(), len(content))
            self._file.write(content)


class MediaStore:
    """The files of a prepared folder. It travels between processes as its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def read(self, sha256: str) -> bytes:
        """The content of a file.

        Raises:
            UserError: it is not here.
        """
        high, low = _key(sha256)
        row = int(np.searchsorted(self._index["high"], high))
        while row < len(self._index) and self._index["high"][row] == high:
            if self._index["low"][row] == low:
                with self._content.open("rb") as file:
                    file.seek(int(self._index["start"][row]))
                    return file.read(int(self._index["size"][row]))
            row += 1
        raise UserError(f"the prepared data lacks the file {sha256[:12]}", where=self.folder, fix="prepare the data again")

    @property
    def files(self) -> int:
        return len(self._index)

    @property
    def bytes(self) -> int:
        return int(self._index["size"].sum())

    @property
    def _content(self) -> Path:
        return self.folder / "content.bin"

    @cached_property
    def _index(self) -> np.ndarray:
        try:
            return np.load(self.folder / "index.npy", mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(f"the files of the prepared data are damaged ({error})", where=self.folder, fix="prepare it again") from None


def _key(sha256: str) -> tuple[int, int]:
    return int(sha256[:16], 16), int(sha256[16:32], 16)
