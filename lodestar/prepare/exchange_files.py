"""The files of an exchange as the model takes them: pictures as pixels, recordings as samples, and what each is among the tokens.

Axes: F files, C channels, Y rows and X columns of pixels, N samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contracts.errors import UserError
from ..contracts.media import ImagePart, SoundPart
from ..contracts.task import ArrayShape
from .pictures import Fit, read_square
from .sound import stream_sound

FULL_SCALE = 32_768
"""Of the samples that are kept for training, which are int16."""


class TooLongError(UserError):
    """A recording is longer than what is heard of any; `positions` is what so much of it would take."""

    def __init__(self, seconds: float, where: str | None, positions: int) -> None:
        self.positions = positions
        super().__init__(
            f"the recording is longer than the {seconds:g} s that are heard", where=where,
            fix="cut it, or train with a larger options.seconds",
        )  # fmt: skip


class FileReader(ABC):
    """Reads one kind of files."""

    reads: str
    """What a person calls such files, of which there are several."""
    part: type[ImagePart | SoundPart]
    """How a request holds one."""
    arrays: Mapping[str, ArrayShape]
    """What a row holds of its files."""

    @abstractmethod
    def read(self, content: bytes, where: str | None) -> np.ndarray:
        """A file's content as the model takes it.

        Raises:
            UserError: it is no such file, damaged, or too large.
        """

    @abstractmethod
    def positions(self, file: np.ndarray) -> int:
        """Positions of the decoder that a file takes."""

    @abstractmethod
    def rows(self, files: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of a row with these files."""


@dataclass(frozen=True)
class PictureReader(FileReader):
    """Pictures as pixels (C, Y, X) uint8."""

    size: int
    fit: Fit
    each: int
    """Positions of one picture."""
    reads = "pictures"
    part = ImagePart

    @property
    def arrays(self) -> Mapping[str, ArrayShape]:  # type: ignore[override] # follows from the size
        return {"pixels": ArrayShape("uint8", (None, 3, self.size, self.size))}

    def read(self, content: bytes, where: str | None) -> np.ndarray:
        return read_square(content, self.size, self.fit, where)[0]

    def positions(self, file: np.ndarray) -> int:
        return self.each

    def rows(self, files: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"pixels": np.stack(files) if files else np.zeros((0, 3, self.size, self.size), np.uint8)}


@dataclass(frozen=True)
class SoundReader(FileReader):
    """Recordings as samples (N,) float32 in -1 … 1; in a row they stand end to end, with the number of samples of each."""

    rate: int
    seconds: float
    """Of the longest recording that is heard; no more of any is ever held."""
    frame_samples: int
    """Samples from one frame of the tower to the next."""
    merge: int
    """Frames behind one position."""

    reads = "sounds"
    part = SoundPart
    arrays = {"samples": ArrayShape("int16", (None,)), "sounds": ArrayShape("int64", (None,))}

    def read(self, content: bytes, where: str | None) -> np.ndarray:
        pieces, held, most = list[np.ndarray](), 0, round(self.seconds * self.rate)
        try:
            for piece in stream_sound(content, self.rate):
                pieces.append(piece)
                held += len(piece)
                if held > most:
                    break
        except UserError as error:
            raise UserError(error.what, where=where or error.where, fix=error.fix) from None
        if held > most:
            raise TooLongError(self.seconds, where, self._positions(held))
        return np.concatenate(pieces)

    def positions(self, file: np.ndarray) -> int:
        return self._positions(len(file))

    def _positions(self, samples: int) -> int:
        frames = (samples + self.frame_samples - 1) // self.frame_samples
        return (frames + self.merge - 1) // self.merge

    def rows(self, files: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        samples = np.concatenate([*files, np.zeros(0, np.float32)])
        whole = np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return {"samples": whole, "sounds": np.array([len(file) for file in files], np.int64)}


def taken_apart(messages: Sequence[Mapping[str, Any]], reader: FileReader) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """A request's messages with `{"type": "file"}` for each file, and the files.

    Raises:
        UserError: a file cannot be read, is of the other kind or not the user's; or nothing is asked.
    """
    files: list[np.ndarray] = []
    found = []
    for number, message in enumerate(messages, 1):
        place, content = f"message {number} of messages", message["content"]
        if isinstance(content, list):
            if message["role"] not in ("user", "system"):
                raise UserError(f"{place} holds a file and is of the role {message['role']}", fix="put the file into the user's message")
            parts: list[dict[str, str]] = []
            for part in content:
                if part["type"] == "text":
                    parts.append({"type": "text", "text": part["text"].strip()})
                else:
                    files.append(_file_of(part, place, reader))
                    parts.append({"type": "file"})
            content = parts
        found.append({**message, "content": content})
    last = found[-1]
    told = last["content"] if isinstance(last["content"], str) else "".join(part.get("text", "") for part in last["content"])
    if last["role"] == "user" and not told.strip():
        raise UserError(f"message {len(found)} of messages asks nothing", fix="add a question")
    return found, files


def _file_of(part: Mapping[str, Any], place: str, reader: FileReader) -> np.ndarray:
    """One part of a message that is a file, read."""
    if (part["type"] == "image_url") != (reader.part is ImagePart):
        what = f"{place} holds a part of type {part['type']!r}, and this model reads {reader.reads}"
        raise UserError(what, fix="send a file of that kind, or none")
    try:
        return reader.read(reader.part.parse(part, where=place).content, place)
    except UserError as error:
        raise UserError(error.what, where=place, fix=error.fix) from None
