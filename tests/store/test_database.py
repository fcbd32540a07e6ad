"""A database, opened: SQLite with its journal, its disk and its mistakes; and what is no address of either."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store.database import BUSY_TIMEOUT_MS, SQLite, journal_mode, open_database
from lodestar.store.ledger import Ledger


@pytest.mark.parametrize("address", [
    "not a url", "sqlite://", "mysql://ada@host/team", "postgresql://host", "postgresql://ada:sec/ret@host/team",
    "postgresql://ada:sec@ret@host/team",
])  # fmt: skip
def test_an_address_that_is_none_is_one_sentence_without_it(address):
    with pytest.raises(UserError, match=r"^this is no address of a ledger; write postgresql://USER@HOST/DATABASE\.$"):
        open_database(address)


@pytest.mark.parametrize("address", ["postgresql://ada:secret@host/team", "postgres://host/team?user=ada&password=secret"])
def test_an_address_with_a_password_is_refused_without_showing_it(address):
    with pytest.raises(UserError, match="the address of the ledger holds a password; leave it out, and set PGPASSWORD") as caught:
        open_database(address)
    assert "secret" not in str(caught.value)


def test_a_path_may_have_any_name(tmp_path):
    path = tmp_path / "a b?c#d@e%20" / "名.sqlite"
    Ledger(f"sqlite:///{path}")
    assert path.exists()


def test_what_is_not_finished_is_not_kept(url):
    database = open_database(url)
    Ledger(url)
    with pytest.raises(ZeroDivisionError), database.transaction(write=True) as transaction:
        transaction.execute("INSERT INTO migrations VALUES ('half', 'now')")
        _ = 1 / 0
    with database.transaction(write=False) as transaction:
        assert transaction.execute("SELECT count(*) FROM migrations WHERE name = 'half'") == [(0,)]


def test_the_journal_is_one_that_this_sqlite_is_safe_with(path):
    assert journal_mode((3, 51, 2)) == "truncate"
    assert journal_mode((3, 51, 3)) == "wal"
    assert journal_mode((3, 53, 0)) == "wal"
    with SQLite(path).transaction(write=False) as transaction:
        said = [transaction.execute(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "busy_timeout")]
    assert said == [journal_mode(), 2, BUSY_TIMEOUT_MS]


def test_a_ledger_in_wal_from_a_newer_sqlite_is_taken_back(path):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    Ledger(f"sqlite:///{path}").add_event("x", {})
    connection = sqlite3.connect(path)
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()
    assert (mode == "wal") == (journal_mode() == "wal")


def test_a_damaged_ledger_is_one_sentence(tmp_path):
    (tmp_path / "ledger").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="the ledger is damaged; restore"):
        Ledger(f"sqlite:///{tmp_path / 'ledger'}")


def test_a_ledger_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be opened"):
        Ledger(f"sqlite:///{tmp_path}")


WRITE_TOO_MUCH = """
    import resource, sys
    from lodestar.contracts.errors import UserError
    from lodestar.store.ledger import Ledger
    url = f"sqlite:///{sys.argv[1]}/ledger"
    Ledger(url).add_event("kept", {})
    if sys.argv[2] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        Ledger(url).add_event("big", {"text": "x" * 4_000_000})
    except UserError as error:
        print(error)
    print([event.kind for event in Ledger(url).events()])
"""


def write_too_much(folder: Path, mode: str, prefix: list[str]) -> list[str]:
    command = [*prefix, sys.executable, "-c", textwrap.dedent(WRITE_TOO_MUCH), str(folder), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_is_one_sentence_and_what_was_committed_stays(tmp_path, small_disk):
    sentence, kept = write_too_much(tmp_path / "disk", "disk", small_disk)
    assert "no space to write the ledger; free some space" in sentence
    assert kept == "['kept']"


def test_a_failing_disk_is_one_sentence_and_what_was_committed_stays(tmp_path):
    sentence, kept = write_too_much(tmp_path, "limit", [])
    assert "the disk of the ledger fails" in sentence
    assert kept == "['kept']"
