"""Raw records to validated examples, every fault with its file and line; and what makes two records the same."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from ..contracts.errors import UserError, nearest, unknown
from ..contracts.media import CONTENT_ALONE, FOLDER
from ..contracts.task import Example
from .readers import PLAIN, Raw

PATH = "path"
"""The field, where an example has it, that says where a document stood: it is filled from plain files, records with equal paths
share a split, and it makes no difference between two records."""


class Validator:
    """Turns raw records into examples of one class.

    A record's fields are found by name, or by the column that `columns` gives for them. Columns that no field asks for are ignored
    and counted in `ignored`. A plain file fills the only text field that the example requires. A list of strings in a text field
    (verses, paragraphs) is joined with line ends. An example whose records come in several forms brings them to its own (`of_record`).
    """

    def __init__(self, example: type[Example], columns: Mapping[str, str]) -> None:
        fields = example.model_fields
        self._example, self._given_columns = example, dict(columns)
        self.check_fields(columns, "data.columns")
        self._columns = {name: columns.get(name, name) for name in fields}
        self._required = [name for name, field in fields.items() if field.is_required()]
        self._texts = [name for name, field in fields.items() if field.annotation in (str, str | None)]
        self._known = set(self._columns.values())
        self.ignored: Counter[str] = Counter()

    def check_fields(self, names: Iterable[str], where: str) -> None:
        """Refuse a name that is no field of the example."""
        for name in names:
            if name not in self._example.model_fields:
                raise unknown("field", name, self._example.model_fields, where=where)

    def example(self, raw: Raw, given: Mapping[str, str] = MappingProxyType({}), folder: Path | None = None) -> Any:
        """The example of a raw record.

        Args:
            given: fields that the record has where it says nothing else.
            folder: what the paths of files that it holds are relative to.

        Raises:
            UserError: a column is missing, a value has the wrong type or breaks the example's own rule, or is no valid text.
        """
        if raw.content is not None:
            data = self._file(raw, given)
        elif raw.path is not None:
            data = self._plain(raw, given)
        else:
            columns = {self._columns[name]: value for name, value in given.items()}
            data = self._named(self._in_own_form(raw._replace(fields={**columns, **raw.fields}) if given else raw))
        try:
            return self._example.model_validate(data, context=None if folder is None else {FOLDER: folder})
        except ValidationError as error:
            raise self._wrong(error, raw.where) from None
        except UserError as error:  # of a file that it holds
            raise placed(error, raw.where) from None

    def _in_own_form(self, raw: Raw) -> Raw:
        if self._example.of_record.__func__ is Example.of_record.__func__:  # type: ignore[attr-defined] # a class method has it
            return raw
        renamed = {column: name for name, column in self._given_columns.items()}
        try:
            fields = self._example.of_record({renamed.get(str(column), str(column)): value for column, value in raw.fields.items()})
        except UserError as error:
            raise placed(error, raw.where) from None
        return raw._replace(fields={self._columns.get(name, name): value for name, value in fields.items()})

    def _file(self, raw: Raw, given: Mapping[str, str]) -> dict[str, Any]:
        """A record that is a file."""
        assert raw.path is not None
        assert raw.content is not None
        fields = self._example.media_fields()
        name, kind = next(iter(fields.items()))
        data = {**self._example.of_file(raw.path), **given, name: kind.of(raw.content, raw.path)}
        for required in self._required:
            if required not in data:
                tables = "JSON lines, CSV or Parquet"
                fix = f"put each {kind.KIND} into a folder that tells it, or give {tables} with {self._wanted()}"
                raise UserError(f"nothing tells the {required} of this {kind.KIND}", where=raw.where, fix=fix)
        return data

    def _plain(self, raw: Raw, given: Mapping[str, str]) -> dict[str, Any]:
        required = [name for name in self._required if name not in given]
        if len(required) != 1 or required[0] not in self._texts:
            lacking = next((name for name in self._required if name not in self._texts or name != PLAIN), next(iter(self._columns)))
            raise UserError(
                f"a plain file has no field {lacking!r}", where=raw.where, fix=f"give JSON lines, CSV or Parquet with {self._wanted()}"
            )
        data: dict[str, Any] = {**given, required[0]: raw.fields[PLAIN]}
        if PATH in self._columns:
            data[PATH] = raw.path
        return data

    def _named(self, raw: Raw) -> dict[str, Any]:
        fields = raw.fields
        data = {name: fields[column] for name, column in self._columns.items() if column in fields}
        if len(data) < len(self._columns):
            for name in self._required:
                if name not in data:
                    raise self._missing(name, raw)
        if len(data) < len(fields):
            self.ignored.update(str(column) for column in fields if column not in self._known)
        for name in self._texts:
            value = data.get(name)
            if isinstance(value, list) and all(isinstance(part, str) for part in value):
                data[name] = "\n".join(value)
        return data

    def _missing(self, name: str, raw: Raw) -> UserError:
        found = [str(column) for column in raw.fields]
        column = self._columns[name]
        listed = ", ".join(found[:20]) or "none"
        guess = nearest(column, [other for other in found if other not in self._known])
        fix = f"set data.columns: {{{name}: {guess or 'COLUMN'}}}"
        wanted = f"no column {column!r}" if column == name else f"no column {column!r} for the field {name!r}"
        return UserError(f"{wanted}; the columns found are {listed}", where=raw.where, fix=fix)

    def _wanted(self) -> str:
        return " and ".join(repr(self._columns[name]) for name in self._required or self._columns)

    def _wrong(self, error: ValidationError, where: str) -> UserError:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        shown = repr(first["input"])
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        if first["type"] == "value_error":
            return UserError(str(first["ctx"]["error"]), where=where)
        message = first["msg"][0].lower() + first["msg"][1:]
        return UserError(f"the field {field!r} is {shown}: {message}", where=where, fix="correct the record, or map another column")


def placed(error: UserError, where: str) -> UserError:
    """An error that does not know the record that it is of, with the place of the record."""
    return UserError(error.what, where=where if error.where is None else f"{where}: {error.where}", fix=error.fix)


def canonical_json(example: Example) -> bytes:
    """What makes two records the same: sorted keys, no spaces, and strings in NFC with \\n line ends and no blanks around them.

    Where a record came from (`path`, the names of its files) makes no difference, and neither do fields at their defaults, so that an
    example may grow one.

    Raises:
        ValueError: a string holds half a surrogate pair, which is no character.
    """
    value = _canonical(example.model_dump(mode="json", exclude={PATH}, exclude_defaults=True, context={CONTENT_ALONE: True}))
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def digest(data: bytes) -> bytes:
    """16 bytes of BLAKE2b: two different records meet with a chance below 10⁻²⁰ among a billion."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii():
            return (value.replace("\r\n", "\n") if "\r" in value else value).strip()
        return unicodedata.normalize("NFC", value.replace("\r\n", "\n")).strip()
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value
