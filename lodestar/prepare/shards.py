"""A prepared split on disk: token ids and records, memory-mapped, so that opening it costs nothing and any part is one read away.

examples.jsonl      the validated records, one a line
lines.npy           where each line begins (n + 1,), int64
tokens.bin          the token ids of all records, end to end; uint16 where the vocabulary allows, else uint32
source.bin          of records that are pairs: the ids of what is read, end to end, of the same type
source_offsets.npy  where each record begins in source.bin (n + 1,), int64
<field>.bin         another sequence of the same length, int32
offsets.npy         where each row begins in the sequences (n + 1,), int64; an example is a row, or the windows of a long one
<field>.npy         a number a record (n,), int64
<array>.bin         an array a row, see arrays.py
index.json          what there is, written last
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, overload

import numpy as np

from ..contracts.errors import UserError
from ..contracts.media import STORE
from ..contracts.progress import bar
from ..contracts.task import MODEL_LENGTH, ArrayShape, Row, Task
from ..store.files import read_json, write_json
from .arrays import ArrayRows, ArrayWriter, row_bytes
from .columns import Column
from .media import MEDIA, MediaStore

FORMAT = 1
TOKENS, SOURCE = "tokens", "source"
_BATCH_CHARACTERS = 1 << 20


def write_examples(folder: Path, lines: Iterable[bytes], count: int) -> None:
    """Set down `count` JSON lines in the new `folder`."""
    folder.mkdir()
    ends: list[int] = [0]
    with (folder / "examples.jsonl").open("wb") as file, Column(folder / "lines.npy") as starts:
        for line in lines:
            file.write(line)
            ends.append(file.tell())
            if len(ends) == 1 << 16:
                starts.write(ends)
                ends.clear()
        starts.write(ends)
    assert starts.count == count + 1, f"{starts.count - 1} lines were written, not {count}"


def write_tokens(
    folder: Path, examples: Examples, encode: Callable[[Any], Sequence[Row]], vocabulary: int, ahead: Callable[[Sequence[Any]], None],
    label: str, arrays: Mapping[str, ArrayShape] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Encode every example of a split beside its records.

    Args:
        encode: an example → its rows, one or more: `tokens`, other sequences of the same length, numbers, of a pair `source`, of any
            length, and arrays.
        vocabulary: token ids are below it.
        ahead: told a batch of examples before they are encoded.
        label: what the progress bar says.
        arrays: those of each row.
    """
    ids = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
    types = {TOKENS: ids, SOURCE: ids}
    sequences: dict[str, BinaryIO] = {}
    numbers: dict[str, Column] = {}
    total = source_total = 0
    source_offsets: Column | None = None
    with ExitStack() as stack, bar(label, len(examples), "record") as shown:
        offsets = stack.enter_context(Column(folder / "offsets.npy"))
        offsets.write([0])
        writers = {name: stack.enter_context(ArrayWriter(folder, name, shape)) for name, shape in arrays.items()}
        opened = False
        for batch in _batches(examples, row_bytes(arrays)):
            ahead(batch)
            encoded = [row for example in batch for row in encode(example)]
            if not opened:
                opened = True
                for name, value in encoded[0].items():
                    if name in arrays:
                        continue
                    if isinstance(value, int):
                        numbers[name] = stack.enter_context(Column(folder / f"{name}.npy"))
                    else:
                        sequences[name] = stack.enter_context((folder / f"{name}.bin").open("wb"))
                        types.setdefault(name, np.dtype(np.int32))
                if SOURCE in sequences:
                    source_offsets = stack.enter_context(Column(folder / "source_offsets.npy"))
                    source_offsets.write([0])
            # Rows of arrays may do without tokens.
            lengths = [len(fields.get(TOKENS, ())) for fields in encoded]  # type: ignore[arg-type]
            ends = total + np.cumsum(lengths)
            offsets.write(ends)
            total = int(ends[-1])
            for name, file in sequences.items():
                parts = [np.asarray(fields[name], types[name]) for fields in encoded]
                file.write(np.concatenate(parts).tobytes())
                if name == SOURCE and source_offsets is not None:
                    ends = source_total + np.cumsum([len(part) for part in parts])
                    source_offsets.write(ends)
                    source_total = int(ends[-1])
                else:
                    assert [len(part) for part in parts] == lengths, f"{name} is not as long as the tokens"
            for name, column in numbers.items():
                column.write([fields[name] for fields in encoded])
            for name, writer in writers.items():
                writer.write([fields[name] for fields in encoded])
            shown.update(len(batch))
    pairs = {"source": {"tokens": source_total, "type": ids.name}} if source_offsets is not None else {}
    held = {"arrays": {name: shape._asdict() for name, shape in arrays.items()}} if arrays else {}
    write_json(folder / "index.json", {
        "format": FORMAT, "records": offsets.count - 1, "tokens": total,
        "sequences": {name: types[name].name for name in sequences if name != SOURCE}, "numbers": sorted(numbers), **pairs, **held,
    })  # fmt: skip


def _batches(examples: Iterable[Any], beside: int) -> Iterator[list[Any]]:
    """Examples in batches of about a million characters: enough to fill the cores, little enough to hold as token objects.

    Args:
        beside: bytes of the arrays of each.
    """
    batch: list[Any] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += sum(len(value) for _, value in example if isinstance(value, str)) + 64 + beside
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Examples(Sequence[Any]):
    """The records of a split as the task's examples, parsed when they are asked for; indexing is one read."""

    def __init__(self, folder: Path, task: Task) -> None:
        self._folder, self._task = folder, task
        self._context = {STORE: MediaStore(folder.parent / MEDIA)} if task.example.media_fields() else None
        self._starts: np.ndarray = np.load(folder / "lines.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        index = range(len(self))[place]
        start, end = int(self._starts[index]), int(self._starts[index + 1])
        self._file.seek(start)
        return self._task.example.model_validate_json(self._file.read(end - start), context=self._context)

    def __iter__(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            for line in file:
                yield self._task.example.model_validate_json(line, context=self._context)

    @property
    def _path(self) -> Path:
        return self._folder / "examples.jsonl"

    @cached_property
    def _file(self) -> Any:
        return self._path.open("rb")

    def __del__(self) -> None:
        if "_file" in self.__dict__:
            self._file.close()


class Split:
    """A prepared split, opened. Arrays are memory-mapped: only what is touched is read."""

    def __init__(self, folder: Path) -> None:
        index = read_json(folder / "index.json")
        if index.get("format") != FORMAT:
            raise UserError(f"prepared by another version (format {index.get('format')})", where=folder, fix="prepare the data again")
        self.folder = folder
        self.name = folder.name
        self.records = int(index["records"])
        self.token_count = int(index["tokens"])
        self.offsets: np.ndarray = np.load(folder / "offsets.npy", mmap_mode="r")
        """Where each record begins (n + 1,)."""
        self.sequences = {name: self._map(name, dtype, self.token_count) for name, dtype in index["sequences"].items()}
        """`tokens` and what is aligned with them, each (tokens,)."""
        pairs: Mapping[str, Any] | None = index.get(SOURCE)
        self.source = None if pairs is None else self._map(SOURCE, pairs["type"], int(pairs["tokens"]))
        """Of records that are pairs: the ids of what is read, end to end."""
        self.source_offsets: np.ndarray = self.offsets if pairs is None else np.load(folder / "source_offsets.npy", mmap_mode="r")
        """Where each record begins in `source` (n + 1,)."""
        self.numbers: dict[str, np.ndarray] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in index["numbers"]}
        """A number a record, each (n,)."""
        shapes: Mapping[str, Any] = index.get("arrays", {})
        self.arrays: dict[str, ArrayRows] = {
            name: ArrayRows(folder, name, ArrayShape(shape["dtype"], tuple(shape["shape"])), self.records) for name, shape in shapes.items()
        }
        """An array a row."""

    def _map(self, name: str, dtype: str, count: int) -> np.ndarray:
        path = self.folder / f"{name}.bin"
        found = path.stat().st_size if path.exists() else 0
        if found != count * np.dtype(dtype).itemsize:
            raise UserError("the prepared data is damaged: the file has the wrong size", where=path, fix="prepare the data again")
        return np.memmap(path, dtype, "r") if found else np.empty(0, dtype)

    @property
    def tokens(self) -> np.ndarray:
        """All token ids, end to end (tokens,)."""
        return self.sequences[TOKENS]

    def array_rows(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """The arrays of the chosen rows, as batches hold them."""
        return {name: array for each in self.arrays.values() for name, array in each.batch(chosen).items()}

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in each record, of a pair those that are written; or the positions of the model that each takes (n,)."""
        return self.numbers[MODEL_LENGTH] if MODEL_LENGTH in self.numbers else np.diff(self.offsets)

    @property
    def source_lengths(self) -> np.ndarray:
        """Of records that are pairs: the tokens that are read in each (n,)."""
        return np.diff(self.source_offsets)

    @property
    def record_lengths(self) -> np.ndarray:
        """All tokens of each record, read and written (n,)."""
        return self.lengths if self.source is None else self.lengths + self.source_lengths

    @property
    def all_tokens(self) -> int:
        """The tokens that a model meets in one pass over the split."""
        own = int(self.lengths.sum()) if MODEL_LENGTH in self.numbers else self.token_count
        return own + (0 if self.source is None else len(self.source))

    def examples(self, task: Task) -> Examples:
        """The records, as the task's examples."""
        return Examples(self.folder, task)


def open_split(folder: Path, split: str) -> Split:
    """Open one split of a prepared folder.

    Raises:
        UserError: the folder is not prepared, the split is empty or it is damaged.
    """
    place = folder / split
    if not (place / "index.json").is_file():
        fix = "give it a share with data.validation or data.test" if (folder / "record.json").is_file() else "run `lodestar prepare` first"
        raise UserError(f"no {split} split here", where=folder, fix=fix)
    return Split(place)
