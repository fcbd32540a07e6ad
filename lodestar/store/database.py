"""A database, opened: transactions that come to be whole or not at all, in SQLite (here) or in PostgreSQL (postgresql.py).

The ledger's SQL is what both understand. Where they differ, a `Dialect` says how.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from ..contracts.errors import UserError
from .files import writing

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another one's transaction, which takes milliseconds."""
SAFE_WAL = (3, 51, 3)
"""The first SQLite whose WAL cannot lose a commit under concurrent checkpoints (decisions/0002-sqlite-journal.md)."""

SQLITE_URL = "sqlite:///"

READ = "read"
"""The key, in the metadata of a row's field, of what makes the database's value into the field's."""
JSON = {READ: lambda text: None if text is None else json.loads(text)}
BOOLEAN = {READ: lambda value: None if value is None else bool(value)}

_SERVER = re.compile(r"postgres(ql)?://(?P<user>[^@/?#]*@)?[^@/?#]*/[^@?#]+(?P<options>\?[^@#]*)?")


@dataclass(frozen=True)
class Dialect:
    """How a database says what the two say differently."""

    mark: str
    """What stands for a value in a statement."""
    number: str
    """The type of a primary key that counts by itself."""
    text: str
    """The type of a text that is compared byte by byte, so that both databases order alike."""
    has_table: str
    """A query that counts the tables of a name."""
    number_on: str | None = None
    """What lets a column count on from the largest number that a table has; nothing where it always does."""
    only_migrator: str | None = None
    """What lets one process at a time change the schema; nothing where every writer is alone."""
    only_writer: str | None = None
    """What lets nobody else write to a table until the transaction's end; nothing where every writer is alone."""


@dataclass(kw_only=True)
class Row:
    """A row of a table: each field is the column of its name."""

    table: ClassVar[str]
    counted: ClassVar[str | None] = "number"
    """The column that the database counts by itself; 0 in a row that was not added yet."""


AnyRow = TypeVar("AnyRow", bound=Row)


class Transaction:
    """Statements that come to be together or not at all."""

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self._connection, self.dialect = connection, dialect

    def execute(self, statement: str, *values: Any) -> list[Sequence[Any]]:
        """The rows that a statement gives; each `?` in it stands for one of `values`."""
        statement = statement.replace("?", self.dialect.mark)
        cursor = self._connection.execute(statement, [as_written(value) for value in values])
        return cursor.fetchall() if cursor.description else []

    def find(self, kind: type[AnyRow], rest: str = "", *values: Any) -> list[AnyRow]:
        """The rows of a table for which, and in the order in which, `rest` says (`WHERE … ORDER BY …`)."""
        columns = _columns(kind)
        statement = f"SELECT {', '.join(columns)} FROM {kind.table} {rest}"
        return [
            kind(**{name: read(value) if read else value for (name, read), value in zip(columns.items(), row, strict=True)})
            for row in self.execute(statement, *values)
        ]

    def add(self, row: Row) -> None:
        """Add a row to its table; the number that the database gives it is set in it."""
        names = [name for name in _columns(type(row)) if name != row.counted]
        marks = ", ".join("?" * len(names))
        statement = f"INSERT INTO {row.table} ({', '.join(names)}) VALUES ({marks})"
        values = [getattr(row, name) for name in names]
        if row.counted is None:
            self.execute(statement, *values)
        else:
            ((number,),) = self.execute(f"{statement} RETURNING {row.counted}", *values)
            setattr(row, row.counted, number)

    def add_numbered(self, rows: Sequence[Row]) -> None:
        """Add rows of one table under the numbers that they have."""
        if not rows:
            return
        kind, names = type(rows[0]), list(_columns(type(rows[0])))
        marks = ", ".join([self.dialect.mark] * len(names))
        values = [[as_written(getattr(row, name)) for name in names] for row in rows]
        self._connection.cursor().executemany(f"INSERT INTO {kind.table} ({', '.join(names)}) VALUES ({marks})", values)
        if kind.counted and self.dialect.number_on:
            self.execute(self.dialect.number_on.format(table=kind.table, column=kind.counted))

    def has_table(self, name: str) -> bool:
        return bool(self.execute(self.dialect.has_table, name)[0][0])

    def be_only_migrator(self) -> None:
        """Wait until no other process changes the schema, and let none do so until the end."""
        if self.dialect.only_migrator:
            self.execute(self.dialect.only_migrator)

    def be_only_writer(self, kind: type[Row]) -> None:
        """Wait until no other transaction writes to a table, and let none do so until the end: what is read now will stay."""
        if self.dialect.only_writer:
            self.execute(self.dialect.only_writer.format(kind.table))


class Database(Protocol):
    """Either of the two."""

    @property
    def place(self) -> str:
        """What to call it in errors."""

    def transaction(self, *, write: bool) -> AbstractContextManager[Transaction]:
        """A transaction on a connection of its own; what was written is on the disk when it ends without an error.

        Raises:
            UserError: the database cannot be reached, is damaged, full, locked for too long or not writable.
        """


def open_database(url: str) -> Database:
    """The database at a URL; nothing is read or written yet.

    Raises:
        UserError: it is no such URL, holds a password, or its package is not installed.
    """
    if url.startswith(SQLITE_URL):
        return SQLite(Path(url.removeprefix(SQLITE_URL)))
    check_server(url)
    from .postgresql import PostgreSQL

    return PostgreSQL(url)


def check_server(url: str) -> None:
    """Check that a URL is the address of a PostgreSQL database and holds no password, which it would show wherever it is shown.

    Raises:
        UserError: it is not, or it does; the sentence does not show it.
    """
    parts = _SERVER.fullmatch(url)
    if parts is None:  # what stands in the wrong place may be a password, too
        raise UserError("this is no address of a ledger", fix="write postgresql://USER@HOST/DATABASE")
    if ":" in (parts["user"] or "") or "password=" in (parts["options"] or ""):
        raise UserError("the address of the ledger holds a password", fix="leave it out, and set PGPASSWORD or write it into ~/.pgpass")


def _columns(kind: type[Row]) -> dict[str, Callable[[Any], Any] | None]:
    return {field.name: field.metadata.get(READ) for field in fields(kind)}


def as_written(value: Any) -> Any:
    """A field's value as a database is given it."""
    if isinstance(value, dict | list):
        return json.dumps(value, allow_nan=False)
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")  # which PostgreSQL cannot keep
    return value


# SQLite

_SQLITE = Dialect(
    mark="?", number="INTEGER PRIMARY KEY", text="VARCHAR", has_table="SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
)
_EXPLAINED = {
    "SQLITE_FULL": ("no space to write the ledger", "free some space and run it again"),
    "SQLITE_CANTOPEN": ("the ledger cannot be opened", "check the path and its permissions"),
    "SQLITE_READONLY": ("the ledger cannot be written", "check the path and its permissions"),
    "SQLITE_IOERR": ("the disk of the ledger fails", "check its space and its health"),
    "SQLITE_BUSY": ("the ledger is busy", "stop the process that holds it, and try again"),
    "SQLITE_NOTADB": ("the ledger is damaged", "restore the file from a backup, or move it away to start a new one"),
    "SQLITE_CORRUPT": ("the ledger is damaged", "restore the file from a backup, or move it away to start a new one"),
}


class SQLite:
    """A file; made, with its folder, where it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def place(self) -> str:
        return str(self._path)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Transaction]:
        # A connection costs less than a commit, and one that is not kept is not carried over a fork.
        with self._explained(), closing(self._connect()) as connection:
            # A writer takes its lock at once: a reader that turns writer can find that another one was faster, and must not wait for it.
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield Transaction(connection, _SQLITE)
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
        try:
            connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = str(getattr(error, "sqlite_errorname", ""))
            for prefix, (what, fix) in _EXPLAINED.items():
                if name.startswith(prefix):
                    raise UserError(what, where=self.place, fix=fix) from error
            raise


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Literal["wal", "truncate"]:
    """The journal that loses no commit with this SQLite: the write-ahead log where it is safe, else a rollback journal."""
    return "wal" if version >= SAFE_WAL else "truncate"
