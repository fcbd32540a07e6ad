"""The first pass: every source is read once, validated, and set down as JSON lines with a fixed-width key for each record.

What follows (duplicates, splits) works on the keys alone, so memory grows by bytes a record, not by records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..contracts.errors import UserError
from ..contracts.progress import bar
from ..contracts.settings import DataSettings
from ..contracts.task import Example, Task
from .media import MediaWriter
from .readers import Raw, read
from .records import Validator, canonical_json, digest
from .sources import BUILTIN, SAMPLE, SPLITS, SourceFile, Sources

KEY = np.dtype([("high", "<u8"), ("low", "<u8"), ("unit", "<u8"), ("start", "<i8"), ("size", "<i8"), ("split", "i1")])
"""A record's digest, the number that its split is drawn from, its place in the staging file, and the explicit split (-1: none)."""


@dataclass
class Staging:
    """All valid records, on disk."""

    folder: Path
    records: int = 0
    blank: int = 0
    """Records dropped because there is no text in them."""
    repaired: int = 0
    """What the records' class brought into order (`Example.repairs`)."""
    by_source: Counter[str] = field(default_factory=Counter)
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Columns that no field asks for, and in how many records."""

    @property
    def keys(self) -> np.ndarray:
        """The keys (n,), memory-mapped."""
        return np.memmap(self._keys_file, KEY, "r") if self.records else np.empty(0, KEY)

    def lines(self, chosen: np.ndarray) -> Iterator[bytes]:
        """The JSON lines of the records whose indices are given, in that order."""
        keys = self.keys
        with self._records_file.open("rb") as file:
            for start in range(0, len(chosen), _CHUNK):
                part = keys[chosen[start : start + _CHUNK]]
                for place, size in zip(part["start"].tolist(), part["size"].tolist(), strict=True):
                    file.seek(place)
                    yield file.read(size)

    def remove(self) -> None:
        """Free the disk."""
        self._keys_file.unlink()
        self._records_file.unlink()
        self.folder.rmdir()

    @property
    def _keys_file(self) -> Path:
        return self.folder / "keys.bin"

    @property
    def _records_file(self) -> Path:
        return self.folder / "records.jsonl"


_CHUNK = 1 << 16


def stage(task: Task, sources: Sources, settings: DataSettings, folder: Path, media: MediaWriter | None = None) -> Staging:
    """Read, validate and set down every record of `sources` in the new `folder`.

    Args:
        media: what the files that the records hold are set down in.

    Raises:
        UserError: a source is at fault (see `read` and `Validator`), or not one record can be used.
    """
    folder.mkdir()
    staging = Staging(folder)
    validator = Validator(task.example, settings.columns)
    constants = [_constants(file, sources, settings, validator) for file in sources.files]
    keys: list[bytes] = []
    with staging._records_file.open("wb") as records, staging._keys_file.open("wb") as key_file:
        found = examples(task, sources, settings.columns, validator, constants)
        for example, where, source, split in _gathered(task, found, settings, staging.by_source):
            files = list(example.media()) if media is not None else []
            if not files and not any(not text.isspace() for text in task.texts(example) if text):
                staging.blank += 1
                continue
            staging.repaired += example.repairs()
            start = records.tell()
            try:
                content = digest(canonical_json(example))
                size = records.write(example.model_dump_json().encode() + b"\n")
            except (UnicodeEncodeError, ValueError):
                # pydantic says ValueError for what json says UnicodeEncodeError, its subclass, for: half a surrogate pair.
                raise UserError("half a surrogate pair, which is no character", where=where, fix="correct the escape \\ud…") from None
            kin = example.kinship()
            unit = content if kin is None else digest(kin.encode())
            high, low = int.from_bytes(content[:8], "big"), int.from_bytes(content[8:], "big")
            key = np.array((high, low, int.from_bytes(unit[:8], "big"), start, size, -1 if split is None else SPLITS.index(split)), KEY)
            keys.append(key.tobytes())
            for file in files:
                assert media is not None
                media.add(file)
            if len(keys) == _CHUNK:
                key_file.write(b"".join(keys))
                keys.clear()
            staging.records += 1
            if source is not None:
                staging.by_source[source] += 1
        key_file.write(b"".join(keys))
    staging.ignored = dict(validator.ignored)
    if not staging.records:
        blank = "the only record is blank" if staging.blank == 1 else f"all {staging.blank:,} records are blank"
        what = blank if staging.blank else "the sources hold no records"
        raise UserError(what, where="data.sources", fix="give records with text in them")
    return staging


def _gathered(
    task: Task, found: Iterator[tuple[Example, str, str, str | None]], settings: DataSettings, by_source: Counter[str]
) -> Iterator[tuple[Example, str, str | None, str | None]]:  # fmt: skip
    """The examples as they are, or those that the task makes of several; these are of no one source, and their records are counted here."""

    def records() -> Iterator[tuple[Example, str]]:
        for record, where, source, _ in found:
            by_source[source] += 1
            yield record, where

    gathered = task.gather(records(), {"validation": settings.validation, "test": settings.test})
    if gathered is None:
        yield from found
        return
    if settings.splits:
        what = f"a task that makes its examples of several records ({task.name}) splits them by itself"
        raise UserError(what, where="data.splits", fix="leave data.splits out; data.validation and data.test say how much is held out")
    if settings.deduplicate == "near":
        fix = "set it to exact, or to no"
        raise UserError(
            "near duplicates are told by their words, and these examples are made of records", where="data.deduplicate", fix=fix
        )
    for number, (example, split) in enumerate(gathered, 1):
        yield example, f"example {number}", None, split


def _constants(file: SourceFile, sources: Sources, settings: DataSettings, validator: Validator) -> dict[str, str]:
    """The fields that the settings give the file's records; a later pattern wins over an earlier one."""
    found: dict[str, str] = {}
    for pattern, fields in settings.constants.items():
        validator.check_fields(fields, "data.constants")
        if not any(other.matches(pattern) for other in sources.files):
            raise UserError(f"no source matches {pattern!r}", where="data.constants", fix="write the pattern as the source, or as its path")
        if file.matches(pattern):
            found |= fields
    return found


def media_suffixes(task: Task) -> frozenset[str]:
    """The suffixes of the files that a task's records hold."""
    return frozenset[str]().union(*(kind.SUFFIXES for kind in task.example.media_fields().values()))


def examples(
    task: Task, sources: Sources, columns: Mapping[str, str], validator: Validator, constants: Sequence[Mapping[str, str]]
) -> Iterator[tuple[Example, str, str, str | None]]:
    """Every example, with its place, its source and its explicit split."""
    media = media_suffixes(task)
    with bar("read", sum(file.size for file in sources.files), "B") as shown:
        advance: Callable[[float], object] = shown.update
        for file, given in zip(sources.files, constants, strict=True):
            raw: Raw
            for raw in read(file, columns, lone=sources.lone, advance=advance, media=media):
                yield validator.example(raw, given, file.path.parent if media else None), raw.where, file.source, file.split
    for source, split in sources.made.items():
        for number, example in enumerate(made_examples(task, source), 1):
            yield example, f"{source}: record {number}", source, split


def made_examples(task: Task, source: str) -> Sequence[Example]:
    """The records of a source that has no files."""
    return task.sample() if source == SAMPLE else task.builtins()[source.removeprefix(BUILTIN)]()
