"""Each file format as a stream of raw records: fields as they stand in the file, with the place they stand at."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

from ..contracts.errors import UserError
from ..contracts.media import LARGEST_BYTES, read_file
from .annotations import RECORD, coco_content, read_coco, read_voc, read_yolo
from .passages import cut, passage_limit
from .sources import SourceFile, unreadable
from .squad import ENVELOPE, unfold
from .streams import CHUNK, RECORD_LIMIT, UTF8_MARK, chunks, lines, open_source, refuse_bytes

PLAIN = "text"
"""The one field of a record from a plain file."""


class Raw(NamedTuple):
    """A record before validation."""

    fields: Mapping[str, Any]
    where: str
    """File and line, or row."""
    path: str | None = None
    """Where the document stood, for plain files: the file, and past the first passage its number. Of a file that is a record: its path."""
    content: bytes | None = None
    """Of a file that is a record: a picture, a recording."""


def read(
    file: SourceFile, columns: Mapping[str, str], *, lone: bool, advance: Callable[[float], object], media: Collection[str] = ()
) -> Iterator[Raw]:
    """The raw records of one file, in order, never more than a few held at once.

    Args:
        columns: field → column. In CSV and TSV, columns that are all numbers count from 0 and say that there is no header.
        lone: whether the file is the whole data set (see `passage_limit`).
        advance: told the bytes on disk that were read since the last call.
        media: suffixes of the files in an archive that are records.

    Raises:
        UserError: the file is empty, unreadable, damaged, not UTF-8 or not in its format; the sentence names file and line.
    """
    size = file.size
    if file.kind == "coco" and (content := coco_content(file.path)) is not None:
        yield from (Raw(*record) for record in read_coco(file.path, content))
        advance(size)
        return
    if size == 0:
        if file.named:
            raise UserError("the file is empty", where=file.path, fix="give a file with records")
        return
    done = 0
    if file.kind == "parquet":
        for raw, share in _parquet(file, set(columns.values())):
            yield raw
            if share * size - done > _STRIDE:
                advance(share * size - done)
                done = int(share * size)
    elif file.kind == "parallel":
        yield from _parallel(file)
    elif file.kind in _RECORDS:
        yield Raw(*_RECORDS[file.kind](file))
    elif file.kind == "media":
        yield Raw({}, str(file.path), file.name, read_file(file.path, "file"))
    elif file.kind == "tar":
        for raw, position in _archive(file, media):
            yield raw
            if position - done > _STRIDE:
                advance(position - done)
                done = position
    else:
        with open_source(file) as (stream, tell):
            for raw in _READERS[file.kind](stream, file, columns, lone):
                if file.kind in ("json", "jsonl", "coco"):
                    yield from (Raw(fields, where) for fields, where in unfold(raw.fields, raw.where))
                else:
                    yield raw
                if (position := tell()) - done > _STRIDE:
                    advance(position - done)
                    done = position
    advance(size - done)


_STRIDE = 1 << 18


def _plain(stream: IO[bytes], file: SourceFile, _columns: Mapping[str, str], lone: bool) -> Iterator[Raw]:
    limit = passage_limit(code=file.kind == "code", lone=lone, size=file.size)
    offset, line = 0, 1
    for number, passage in enumerate(cut(stream.read, limit)):
        where = f"{file.path}:{line}"
        start = len(UTF8_MARK) if number == 0 and passage.startswith(UTF8_MARK) else 0
        try:
            text = passage[start:].decode()
        except UnicodeDecodeError as error:
            fault = start + error.start
            line += passage.count(b"\n", 0, fault)
            refuse_bytes(passage, offset + fault, f"{file.path}:{line}")
        # Lines end in \n in a record, whatever the system the file comes from.
        text = text.replace("\r\n", "\n") if "\r" in text else text
        yield Raw({PLAIN: text}, where, file.name if number == 0 else f"{file.name}#{number + 1}")
        offset += len(passage)
        line += passage.count(b"\n")


def _parallel(file: SourceFile) -> Iterator[Raw]:
    """Line by line, what stands in two files at the same place."""
    assert file.beside is not None

    def texts(one: SourceFile) -> Iterator[str]:
        # Each stream in its own function, so that a damaged file is named and not the one beside it.
        with open_source(one) as (stream, _):
            for _, line in lines(stream, str(one.path)):
                yield line.rstrip("\r\n")

    second = dataclasses.replace(file, path=file.beside, beside=None)
    number = 0
    for number, (source, target) in enumerate(zip_longest(texts(file), texts(second)), 1):
        if source is None or target is None:
            shorter, longer = (file, second) if source is None else (second, file)
            what = f"the file ends after {number - 1} lines, and {longer.path.name} goes on"
            raise UserError(what, where=shorter.path, fix="give files whose lines belong together, one by one")
        fields = {"source": source, "target": target, "source_language": file.languages[0], "target_language": file.languages[1]}
        yield Raw(fields, f"{file.path}:{number}")


def _archive(file: SourceFile, media: Collection[str]) -> Iterator[tuple[Raw, int]]:
    """The files of these suffixes in a tar archive, in its order, with the bytes on disk that were read so far. Nothing is unpacked."""
    with open_source(file) as (stream, tell):
        try:
            with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as archive:
                for member in archive:
                    path = PurePosixPath(member.name)
                    hidden = any(part.startswith(".") and part != "." for part in path.parts)
                    if not member.isfile() or hidden or path.suffix.lower() not in media:
                        continue
                    where = f"{file.path}: {member.name}"
                    if member.size > LARGEST_BYTES:
                        raise UserError(f"the file is larger than {LARGEST_BYTES >> 30} GiB", where=where, fix="leave it out")
                    inner = archive.extractfile(member)
                    assert inner is not None, "a plain file has content"
                    yield Raw({}, where, path.as_posix(), inner.read()), tell()
        except tarfile.TarError as error:
            raise UserError(f"not a tar archive that can be read ({error})", where=file.path, fix="fetch or pack it again") from None


def _json_lines(stream: IO[bytes], file: SourceFile, _columns: Mapping[str, str], _lone: bool) -> Iterator[Raw]:
    for number, line in lines(stream, str(file.path)):
        if not line.isspace():
            where = f"{file.path}:{number}"
            yield Raw(_object(_parse(line, where), where), where)


def _json(stream: IO[bytes], file: SourceFile, columns: Mapping[str, str], lone: bool) -> Iterator[Raw]:
    """An array of objects, parsed one element at a time; a file that begins with an object is read as JSON lines, but for one whose array
    `data` holds the records.
    """
    text = _Window(chunks(stream, str(file.path)), str(file.path))
    first = text.skip_space()
    envelope = text.begins(ENVELOPE)
    if first == "{" and not envelope:
        yield from (Raw(_object(_parse(line, where), where), where) for line, where in text.remaining_lines() if not line.isspace())
        return
    text.take(envelope)
    if text.skip_space() != "[":
        raise UserError("expected an array of records", where=text.where, fix="write [{...}, {...}], or JSON lines as .jsonl")
    yield from _array(text)
    if envelope:
        while text.skip_space() == ",":
            text.take()
            text.skip_space()
            text.element()
            _expect(text, ":")
            text.skip_space()
            text.element()
        _expect(text, "}")
    if text.skip_space():
        raise UserError("bad JSON: something stands after the array", where=text.where, fix="keep one array in the file")


def _array(text: _Window) -> Iterator[Raw]:
    text.take()
    if text.skip_space() == "]":
        text.take()
        return
    while True:
        text.skip_space()
        where = text.where
        yield Raw(_object(text.element(), where), where)
        mark = text.skip_space()
        if mark == "]":
            text.take()
            return
        _expect(text, ",", "]")


def _expect(text: _Window, *marks: str) -> None:
    """Take one of the marks.

    Raises:
        UserError: something else stands there.
    """
    found = text.skip_space()
    if found not in marks:
        raise UserError(f"bad JSON: expected {' or '.join(marks)} but found {found or 'the end'}", where=text.where, fix="correct the file")
    text.take()


class _Window:
    """A growing window over the text of a JSON file."""

    def __init__(self, pieces: Iterator[str], shown: str) -> None:
        self._pieces = pieces
        self._shown = shown
        self._text = ""
        self._at = 0
        self._line = 1
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    @property
    def where(self) -> str:
        return f"{self._shown}:{self._line}"

    def take(self, count: int = 1) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def skip_space(self) -> str:
        """The next character that is no space, not taken; empty at the end."""
        while True:
            found = _NOT_SPACE.search(self._text, self._at)
            if found:
                self.take(found.start() - self._at)
                return found.group()
            self.take(len(self._text) - self._at)
            if not self._grow():
                return ""

    def begins(self, pattern: re.Pattern[str]) -> int:
        """How long what the window begins with is, where it is of the pattern; at most `_BEGINNING` characters are looked at."""
        while len(self._text) - self._at < _BEGINNING and self._grow():
            pass
        found = pattern.match(self._text, self._at, self._at + _BEGINNING)
        return len(found.group()) if found else 0

    def element(self) -> Any:
        """The JSON value at the window's start. It is tried again on twice the text until it is whole, so the work stays linear."""
        while True:
            fault: ValueError | None = None
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError as error:
                fault = error
            except RecursionError:
                raise _too_deep(self.where) from None
            # A number at the window's end may go on behind it.
            if fault is None and end < len(self._text):
                self.take(end - self._at)
                return value
            if fault is not None and self._is_final(fault):
                raise self._bad(fault)
            if not self._grow():
                if fault is not None:
                    raise self._bad(fault)
                self.take(len(self._text) - self._at)
                return value

    def remaining_lines(self) -> Iterator[tuple[str, str]]:
        """The rest of the file, line by line, with each line's place."""
        while True:
            end = self._text.find("\n", self._at) + 1
            if not end and self._grow():
                continue
            end = end or len(self._text)
            if end == self._at:
                return
            line, where = self._text[self._at : end], self.where
            self.take(end - self._at)
            yield line, where

    def _is_final(self, fault: ValueError) -> bool:
        """Whether more text cannot mend the fault: it lies before the window's end, and is no string that is still open."""
        if not isinstance(fault, json.JSONDecodeError):
            return True
        return not fault.msg.startswith("Unterminated string") and fault.pos < len(self._text) - len("-Infinity")

    def _bad(self, fault: ValueError) -> UserError:
        if not isinstance(fault, json.JSONDecodeError):
            return _bad_json(fault, self.where)
        self.take(fault.pos - self._at)
        near = self._text[self._at : self._at + 20].split("\n")[0]
        return _bad_json(ValueError(f"{fault.msg[0].lower()}{fault.msg[1:]} at {near or 'the end'}"), self.where)

    def _grow(self) -> bool:
        """Read on until the window is twice as long; whether there was anything. Refuses a record that is too long to be one."""
        held = len(self._text) - self._at
        if held > RECORD_LIMIT:
            raise UserError(f"a record longer than {RECORD_LIMIT >> 20} MiB", where=self.where, fix="split it")
        parts: list[str] = []
        wanted = max(held, 1)
        while wanted > 0 and (piece := next(self._pieces, None)):
            parts.append(piece)
            wanted -= len(piece)
        if parts:
            self._text = "".join((self._text[self._at :], *parts))
            self._at = 0
        return bool(parts)


_NOT_SPACE = re.compile(r"[^ \t\r\n]")
_BEGINNING = 1000


def _table(stream: IO[bytes], file: SourceFile, columns: Mapping[str, str], _lone: bool) -> Iterator[Raw]:
    """CSV (RFC 4180; comma, semicolon or tab, told by the first line) or TSV (IANA: a tab ends a field, quotes mean themselves)."""
    csv.field_size_limit(RECORD_LIMIT)
    shown = str(file.path)
    numbered = lines(stream, shown)
    first = next(numbered, None)
    if first is None:
        return
    place = [1, 1]  # the line that is read, and the line that the record began at

    def feed() -> Iterator[str]:
        yield first[1]
        for number, line in numbered:
            place[0] = number
            yield line

    if file.kind == "tsv":
        rows = csv.reader(feed(), delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        rows = csv.reader(feed(), delimiter=_delimiter(first[1]), strict=True)
    headless = bool(columns) and all(column.isdecimal() for column in columns.values())
    header: list[str] | None = None
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise UserError(f"a bad row ({error})", where=f"{shown}:{place[1]}", fix="check the quotes of this row") from None
        if row is None:
            return
        where, place[1] = f"{shown}:{place[1]}", place[0] + 1
        if not row:
            continue
        if header is None:
            header = [str(index) for index in range(len(row))] if headless else [name.strip() for name in row]
            if len(set(header)) < len(header):
                twice = next(name for name in header if header.count(name) > 1)
                raise UserError(f"two columns are named {twice!r}", where=where, fix="rename one")
            if not headless:
                continue
        if len(row) != len(header):
            fix = "quote a field that holds the separator, or fill the missing fields"
            raise UserError(f"{len(row)} fields where the first row has {len(header)}", where=where, fix=fix)
        yield Raw(dict(zip(header, row, strict=True)), where)


def _delimiter(line: str) -> str:
    return "," if "," in line else max(";\t", key=line.count)


def _parquet(file: SourceFile, wanted: set[str]) -> Iterator[tuple[Raw, float]]:
    """Rows, with the share of the file that is read after each. Columns are read in batches, never a whole file."""
    import pyarrow
    import pyarrow.parquet

    try:
        with file.path.open("rb") as raw, pyarrow.parquet.ParquetFile(raw, pre_buffer=False) as table:
            total = max(table.metadata.num_rows, 1)
            row = 0
            for batch in table.iter_batches(batch_size=256):
                for fields in batch.to_pylist():
                    row += 1
                    yield Raw(fields, f"{file.path}: row {row}"), row / total
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        message = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"not a Parquet file that can be read ({message})", where=file.path, fix="write it again") from None
    except OSError as error:
        raise unreadable(file.path, error) from None


_READERS: dict[str, Callable[[IO[bytes], SourceFile, Mapping[str, str], bool], Iterator[Raw]]] = {
    "text": _plain, "code": _plain, "json": _json, "coco": _json, "jsonl": _json_lines, "csv": _table, "tsv": _table,
}  # fmt: skip
_RECORDS: dict[str, Callable[[SourceFile], RECORD]] = {"voc": read_voc, "yolo": read_yolo}
"""Of files that are one record each."""


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise _bad_json(error, where) from None


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"expected an object with fields, found {type(value).__name__}", where=where, fix='write {"field": value}')
    return value


def _bad_json(error: ValueError, where: str) -> UserError:
    message = f"{error.msg[0].lower()}{error.msg[1:]}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
    return UserError(f"bad JSON: {message}", where=where, fix="correct the record")


def _too_deep(where: str) -> UserError:
    return UserError("bad JSON: nested too deeply", where=where, fix="flatten the record")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
