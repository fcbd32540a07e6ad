"""Whether the ledger keeps what it says it keeps: writers and migrations that are killed at random moments, in both databases.

    python -m bench.decisions.store [--databases sqlite postgresql] [--seed 0] [--workers 8] [--transactions 5000] [--kills 500]
        [--migration-kills 60]

Writers: processes that write through the ledger's own methods (events, requests, runs begun and ended, by turns), each keeping a synced
file of its own of what it was told is done; one is killed (SIGKILL) at a random moment, 500 times, and started again. Afterwards each
transaction that was told must be in the ledger, once. Migrations: a process that opens a ledger of each older schema is killed before it
is done; what is left must be the old schema or the new, whole, with its data, and the next process must finish it.

PostgreSQL runs with its own defaults (fsync on) in a temporary folder. Killed are processes, not the machine: what a power cut does is
the disk's promise to fsync (decisions/0002-sqlite-journal.md).
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psycopg

from lodestar.contracts.clock import seconds
from lodestar.store.database import SQLITE_URL, journal_mode
from lodestar.store.migrations import MIGRATIONS
from tests.postgresql import PASSWORD, Server, programs, running_server
from tests.store.kills import Written, copies_of_database, copies_of_file, migrate_under_kills, write_under_kills


def at_most(count: int) -> str:
    """The upper end of a 95% interval of a share of which none was seen in so many (the rule of three)."""
    return f"{3 / count:.1e}"


def report_writing(name: str, found: Written, workers: int) -> None:
    print(
        f"| {name} | {workers} | {found.acknowledged:,} | {found.kills} | {len(found.lost)} (≤ {at_most(found.acknowledged)}) | "
        f"{len(found.doubled)} | {len(found.errors)} | {found.unacknowledged} | {found.seconds:.0f} |",
        flush=True,
    )
    for sentence in found.errors[:3]:
        print(sentence, file=sys.stderr)


def report_migrations(name: str, copies: Callable[[int], Callable[[], str]], kills: int, seed: int) -> None:
    for known, last in enumerate(["nothing", *MIGRATIONS][: len(MIGRATIONS)]):
        begun = seconds()
        found = migrate_under_kills(copies(known), known, kills=kills, seed=seed)
        neither = f"{len(found.other)} (≤ {at_most(found.kills)})" if not found.other else str(len(found.other))
        print(f"| {name} | {last} | {found.kills} | {found.old} | {found.new} | {neither} | {seconds() - begun:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--transactions", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--migration-kills", type=int, default=60, help="of each older schema")
    given = parser.parse_args()
    with ExitStack() as stack:
        server: Server | None = None
        if "postgresql" in given.databases:
            found = programs()
            if found is None:
                raise SystemExit("no PostgreSQL here; install Debian's package postgresql, or give --databases sqlite")
            os.environ["PGPASSWORD"] = PASSWORD
            server = stack.enter_context(running_server(found))
        # Beside the repository's files, and not in a folder that may be in memory.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        print(
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version} ({journal_mode()}), {_version(server)}, psycopg {psycopg.__version__}; seed {given.seed}\n"
        )
        print("| database | workers | acknowledged | kills | lost | twice | errors told | kept, not told | seconds |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name in given.databases:
            own = folder / name
            own.mkdir()
            url = f"{SQLITE_URL}{own / 'ledger.sqlite'}" if server is None or name == "sqlite" else server.new_database()
            written = write_under_kills(
                url, own, workers=given.workers, transactions=given.transactions, kills=given.kills, seed=given.seed
            )
            report_writing(name, written, given.workers)
        print("\n| database | schema before | kills midway | left old | left new | neither | seconds |\n|---|---|---|---|---|---|---|")
        copies = {"sqlite": partial(copies_of_file, folder)}
        if server is not None:
            copies["postgresql"] = partial(copies_of_database, server)
        for name in given.databases:
            report_migrations(name, copies[name], given.migration_kills, given.seed)


def _version(server: Server | None) -> str:
    if server is None:
        return "no PostgreSQL"
    with psycopg.connect(server.address("postgres")) as connection:
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"


if __name__ == "__main__":
    main()
