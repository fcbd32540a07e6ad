"""An index of passages: one SQLite file that holds their texts, where each stands, the terms that it is looked up by, and its vector.

Terms are searched by FTS5's BM25. A Chinese question would find nothing by FTS5's own tokenizers, which take a run of characters for one
word, so both sides are cut into terms here (see `terms`). Vectors are searched by one matrix product over all of them:
decisions/0005-passage-index.md has the measurements.

Axes: N passages, W width of a vector.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts.errors import UserError
from .files import writing
from .terms import terms

FORMAT = 1
"""Raised with every change to the tables or to the terms, so that an old index is made anew."""
_BUSY_SECONDS = 30
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, hash TEXT NOT NULL);
CREATE TABLE passages (
    number INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files, page INTEGER, first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL, text TEXT NOT NULL, vector BLOB
);
CREATE INDEX passages_of_file ON passages (file);
CREATE VIRTUAL TABLE found_by USING fts5 (terms, tokenize = 'ascii', content = '');
"""
_FIX = "make it again with `lodestar index`"


@dataclass(frozen=True)
class Passage:
    """A part of a document, and where it stands."""

    file: str
    """The file's path below the folder that was indexed, with slashes."""
    page: int | None
    """From 1, where the document has pages."""
    first_line: int
    """From 1: of the file, or of the page."""
    last_line: int
    text: str


class PassageIndex:
    """An index, opened. To be used by one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection

    @classmethod
    def create(cls, path: Path) -> PassageIndex:
        """A new and empty index.

        Raises:
            UserError: a file is there already, or cannot be written.
        """
        if path.exists():
            raise UserError("already exists", where=path, fix="remove it, or choose another name")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        made = cls(path, _connect(path, "rwc"))
        with made.change():
            # Not `executescript`, which would end the transaction.
            for statement in _SCHEMA.strip().split(";\n"):
                made._connection.execute(statement)
            made.set_facts({"format": FORMAT})
        return made

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> PassageIndex:
        """An index that exists.

        Raises:
            UserError: there is none, it is damaged, or another version wrote it.
        """
        if not path.is_file():
            raise UserError("there is no index here", where=path, fix=_FIX)
        opened = cls(path, _connect(path, "rw" if write else "ro"))
        found = opened.facts().get("format")
        if found != FORMAT:
            raise UserError(f"the index was written by another version (format {found})", where=path, fix=_FIX)
        return opened

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> PassageIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What it holds

    def facts(self) -> dict[str, Any]:
        """What is known of the whole index, as JSON values by name."""
        with self._explained():
            return {name: json.loads(value) for name, value in self._connection.execute("SELECT name, value FROM facts")}

    def hashes(self) -> dict[str, str]:
        """File → the hash that it was indexed with."""
        with self._explained():
            return dict(self._connection.execute("SELECT path, hash FROM files ORDER BY path"))

    def __len__(self) -> int:
        with self._explained():
            return int(self._connection.execute("SELECT count(*) FROM passages").fetchone()[0])

    def passages(self, numbers: Sequence[int]) -> list[Passage]:
        """The passages of these numbers, in their order."""
        query = (
            "SELECT path, page, first_line, last_line, text FROM passages JOIN files ON files.number = passages.file "
            "WHERE passages.number = ?"
        )
        with self._explained():
            return [Passage(*self._connection.execute(query, (int(number),)).fetchone()) for number in numbers]

    def texts(self) -> Iterator[tuple[int, str]]:
        """The number and the text of every passage."""
        with self._explained():
            yield from self._connection.execute("SELECT number, text FROM passages ORDER BY number")

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the passages that have a vector (N,), and their vectors, float32 (N, W)."""
        with self._explained():
            rows = self._connection.execute("SELECT number, vector FROM passages WHERE vector IS NOT NULL ORDER BY number").fetchall()
        numbers = np.array([number for number, _ in rows], dtype=np.int64)
        vectors = np.frombuffer(b"".join(vector for _, vector in rows), "<f4")
        return numbers, vectors.reshape(len(rows), -1) if rows else vectors.reshape(0, 0)

    def search(self, question: str, most: int) -> list[tuple[int, float]]:
        """The passages that share a term with a question, and their BM25 scores, the best first; at most so many."""
        asked = dict.fromkeys(terms(question))
        if not asked:
            return []
        query = "SELECT rowid, -bm25(found_by) AS score FROM found_by WHERE found_by MATCH ? ORDER BY score DESC, rowid LIMIT ?"
        # Terms are letters and digits alone, so quotes are all that they need to be no operators.
        with self._explained():
            return self._connection.execute(query, (" OR ".join(f'"{term}"' for term in asked), most)).fetchall()

    def holding(self, term: str) -> int:
        """How many passages hold a term."""
        with self._explained():
            return int(self._connection.execute("SELECT count(*) FROM found_by WHERE found_by MATCH ?", (f'"{term}"',)).fetchone()[0])

    # Changing it

    @contextmanager
    def change(self) -> Iterator[None]:
        """All changes inside happen together, or not at all; readers see what was there before until then."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def set_facts(self, facts: Mapping[str, Any]) -> None:
        """Replace the facts of these names; within `change`."""
        rows = [(name, json.dumps(value, ensure_ascii=False)) for name, value in facts.items()]
        self._connection.executemany("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", rows)

    def add(self, path: str, content_hash: str, passages: Sequence[Passage], vectors: np.ndarray | None = None) -> None:
        """Add a file with its passages and, where there is an encoder, their vectors (N, W); within `change`."""
        row = self._connection.execute("INSERT INTO files (path, hash) VALUES (?, ?)", (path, content_hash))
        for place, passage in enumerate(passages):
            vector = None if vectors is None else vectors[place].astype("<f4").tobytes()
            number = self._connection.execute(
                "INSERT INTO passages (file, page, first_line, last_line, text, vector) VALUES (?, ?, ?, ?, ?, ?)",
                (row.lastrowid, passage.page, passage.first_line, passage.last_line, passage.text, vector),
            ).lastrowid
            self._connection.execute("INSERT INTO found_by (rowid, terms) VALUES (?, ?)", (number, " ".join(terms(passage.text))))

    def remove(self, path: str) -> None:
        """Remove a file and its passages; within `change`."""
        query = "SELECT passages.number, text FROM passages JOIN files ON files.number = passages.file WHERE path = ?"
        for number, text in self._connection.execute(query, (path,)).fetchall():
            # Without a copy of the text, FTS5 is told what it is to forget.
            self._connection.execute(
                "INSERT INTO found_by (found_by, rowid, terms) VALUES ('delete', ?, ?)", (number, " ".join(terms(text)))
            )  # fmt: skip
        self._connection.execute("DELETE FROM passages WHERE file = (SELECT number FROM files WHERE path = ?)", (path,))
        self._connection.execute("DELETE FROM files WHERE path = ?", (path,))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with explained(self.path):
            yield


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a file into a `UserError`."""
    try:
        yield
    except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
        name = str(getattr(error, "sqlite_errorname", ""))
        if name.startswith("SQLITE_FULL"):
            raise UserError("no space to write", where=path, fix="free some space and run it again") from error
        if name.startswith("SQLITE_BUSY"):
            raise UserError("another process is writing the index", where=path, fix="let it finish, and try again") from error
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            raise UserError("cannot be written or read", where=path, fix="check the path and its permissions") from error
        damaged = name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")) or isinstance(error, json.JSONDecodeError)
        if damaged or "no such table" in str(error):
            raise UserError("the index is damaged", where=path, fix=f"remove it and {_FIX}") from error
        raise


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    with explained(path):
        # The server opens it on one thread and reads it on another, never on two at once.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # As the ledger's: decisions/0002-sqlite-journal.md.
        if mode != "ro":
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA synchronous = FULL")
        return connection
