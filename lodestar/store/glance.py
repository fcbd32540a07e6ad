"""One figure of a SQLite ledger, for those who cannot wait for SQLAlchemy to be imported (a third of a second)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ..contracts.errors import UserError


def requests_served(path: Path) -> int:
    """How many requests the ledger at `path` holds; 0 where there is no ledger yet.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("SELECT count(*) FROM requests").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise UserError(f"the ledger cannot be read ({error})", where=path, fix="restore the file from a backup, or move it away") from None
