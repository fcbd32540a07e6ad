"""Records that are only ever added to: each carries the hash of the one before it, so that any later change of one shows.

A record's own hash is over everything else in its file. That the newest is gone shows by the ledger, which notes each hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import Field

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..store.files import read_json

if TYPE_CHECKING:
    from .venture import Venture

L = TypeVar("L", bound="Link")


class Link(Config):
    """A record of a chain."""

    number: int = Field(ge=1)
    previous: str | None
    """The hash of the record before this one; None of the first."""
    hash: str = ""
    """The SHA-256 of all the rest as canonical JSON."""

    def sealed(self) -> Self:
        """The same with its hash."""
        return self.model_copy(update={"hash": canonical_hash(self.model_dump(mode="json", exclude={"hash"}))})


def canonical_hash(value: Any) -> str:
    """The SHA-256 of a JSON value, its keys sorted and no space between."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def chain_files(folder: Path) -> list[Path]:
    """The records of a folder, oldest first: their names begin with their numbers."""
    return sorted(path for path in folder.glob("*.json") if re.match(r"\d{4,}\b", path.name))


def newest(folder: Path, kind: type[L]) -> L | None:
    """The newest record; None where there is none. Its hash is not looked at."""
    files = chain_files(folder)
    return kind.parse(read_json(files[-1]), where=files[-1]) if files else None


def read_chain(files: Sequence[Path], kind: type[L]) -> Iterator[tuple[Path, L]]:
    """Each record with its file, oldest first.

    Raises:
        UserError: the first one that was changed after it was written, or is not behind the one that it was written behind.
    """
    previous: str | None = None
    for path in files:
        value: Mapping[str, Any] = read_json(path)
        record = kind.parse(value, where=path)
        # Over the file as it is: a field that is new since then has a default, and is in no old file.
        if record.hash != canonical_hash({name: inner for name, inner in value.items() if name != "hash"}):
            raise changed(path, "this record was changed after it was written: its hash does not match")
        if record.previous != previous:
            raise changed(path, "the record before this one is not the one that it was written behind")
        previous = record.hash
        yield path, record


def check_noted(venture: Venture, event: str, known: Collection[str], folder: Path) -> None:
    """What the ledger noted as `event` must be there; a ledger that is not here, as in a fresh clone, knows of nothing.

    Args:
        known: the hashes of the records that are there.

    Raises:
        UserError: one of them is not.
    """
    if not venture.has_ledger:
        return
    gone = next((each.detail for each in venture.ledger.events(event) if each.detail["hash"] not in known), None)
    if gone is not None:
        called = f" ({gone['choice']})" if "choice" in gone else ""
        raise changed(folder, f"{event} {gone['number']}{called}, which the ledger has, is not here as it was written")


def changed(where: Path, what: str) -> UserError:
    """The error for a record that is not what was written."""
    return UserError(what, where=where, fix="restore it, from version control say; to decide otherwise, make a new one")
