"""Processes that write to a ledger, or change its schema, and are killed at random moments; and what is left of their work.

A small form of each is a test; `python -m bench.decisions.store` does it at length.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lodestar.contracts.clock import seconds, timestamp, wait
from lodestar.contracts.randomness import generator
from lodestar.store import migrations
from lodestar.store.database import SQLITE_URL, open_database
from lodestar.store.ledger import Ledger, Request
from lodestar.store.migrations import MIGRATIONS
from tests.postgresql import Server

FORK = multiprocessing.get_context("fork")
SERVED: dict[str, Any] = {"release": "v1", "route": "/", "tokens_in": 1, "tokens_out": 1, "latency_ms": 1.0, "status": 200}
LINE = 64
"""Bytes of a line in a worker's own file, so that its length tells how many there are."""


# Writing


def write(url: str, side: Path, first: int, count: int) -> None:
    """A worker: transactions `first` to `count` of four kinds by turns, each written to a file of its own once the ledger has it.

    A key is never used twice: a worker that was killed before it could write one down begins again under another.
    """
    worker, life, attempt = side.stem, os.getpid(), 0
    try:
        if first % 4 == 3:
            attempt = int(side.read_text().split("\n")[-2].split()[1])
        ledger = Ledger(url)
        with side.open("ab", buffering=0) as told:
            for number in range(first, count):
                key = f"{worker}-{number}-{life}"
                match number % 4:
                    case 0:
                        ledger.add_event(worker, {"key": key})
                    case 1:
                        ledger.add_request(Request(id=key, time=timestamp(), **SERVED))
                    case 2:
                        attempt = ledger.start_run(worker, key)
                    case 3:
                        ledger.fail_run(attempt, key)
                told.write(f"{key} {attempt}".ljust(LINE - 1).encode() + b"\n")
                os.fsync(told.fileno())
    except BaseException:
        side.with_suffix(".error").write_text(traceback.format_exc())
        raise


@dataclass
class Written:
    """What came of workers that were killed again and again."""

    acknowledged: int = 0
    kills: int = 0
    """Of processes that were at work."""
    unacknowledged: int = 0
    """Commits that stand although their worker was killed before it was told; at most one a kill."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


def write_under_kills(url: str, folder: Path, *, workers: int, transactions: int, kills: int, seed: int) -> Written:
    """Let `workers` write `transactions` each, kill one at random `kills` times, start it again, and look for everything afterwards."""
    draw = generator(seed, "kills")
    due = sorted(draw.integers(0, workers * transactions * 9 // 10, kills).tolist())  # so that somebody is left to be killed
    """How many transactions are done when the next kill is due."""
    sides = [folder / f"w{number}" for number in range(workers)]
    for side in sides:
        side.touch()
    found, begun = Written(), seconds()

    def start(side: Path) -> multiprocessing.process.BaseProcess:
        done = side.stat().st_size // LINE
        os.truncate(side, done * LINE)  # a killed worker may have left half a line
        process = FORK.Process(target=write, args=(url, side, done, transactions))
        process.start()
        return process

    running = {side: start(side) for side in sides}
    while any(process.is_alive() for process in running.values()):
        wait(0.002)
        if not due or sum(side.stat().st_size // LINE for side in sides) < due[0]:
            continue
        alive = [side for side in sides if running[side].is_alive()]
        if not alive:
            break
        side = alive[int(draw.integers(len(alive)))]
        wait(float(draw.uniform(0, 0.01)))
        running[side].kill()
        running[side].join()
        if running[side].exitcode == -signal.SIGKILL:
            due.pop(0)
            found.kills += 1
        running[side] = start(side)
    for process in running.values():
        process.join()
    found.seconds = seconds() - begun
    found.errors = [path.read_text() for path in folder.glob("*.error")]
    _look(url, sides, found)
    return found


def _look(url: str, sides: list[Path], found: Written) -> None:
    """Compare what the workers were told with what the ledger has."""
    told = [line.split()[0] for side in sides for line in side.read_text().splitlines()]
    ledger = Ledger(url)
    runs = ledger.runs()
    kept = Counter(
        [
            *(event.detail["key"] for event in ledger.events()), *(str(request.id) for request in ledger.requests()),
            *(run.id for run in runs), *(run.why for run in runs if run.why),
        ]
    )  # fmt: skip
    found.acknowledged = len(told)
    found.lost = [key for key in told if not kept[key]]
    found.doubled = [key for key, count in kept.items() if count > 1]
    # A worker that was killed after its update does it once more, over the same row.
    found.unacknowledged = len(kept) - len(told) + len(found.lost)


# Migrating


@dataclass
class Migrated:
    """What came of processes that were killed while they opened an older ledger."""

    kills: int = 0
    """Of processes that had not finished."""
    old: int = 0
    new: int = 0
    other: list[str] = field(default_factory=list)
    """Whatever was neither the old nor the new schema with all its data."""


@contextmanager
def schema_of(known: int) -> Iterator[None]:
    """The code as it was when it knew so many migrations."""
    with patch.object(migrations, "MIGRATIONS", dict(list(MIGRATIONS.items())[:known])):
        yield


def make_older(url: str, known: int, rows: int = 300) -> None:
    """A ledger as a version made it that knew so many migrations, with something in it; none at all for 0."""
    if not known:
        return
    with schema_of(known):
        Ledger(url)
    with open_database(url).transaction(write=True) as transaction:
        for number in range(rows):
            transaction.execute(
                "INSERT INTO requests (id, time, release, route, tokens_in, tokens_out, latency_ms, status) "
                "VALUES (?, 't', 'v1', '/', 1, 1, 1, 200)",
                f"r{number}",
            )
            transaction.execute("INSERT INTO runs (step, id, status, started) VALUES ('train', ?, 'started', 't')", f"r{number}")


def schema_and_data(url: str) -> str:
    """Every table, column and index of a ledger, and what was put into it, as a text to compare."""
    with open_database(url).transaction(write=False) as transaction:
        if url.startswith(SQLITE_URL):
            schema = transaction.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
        else:
            schema = transaction.execute(
                "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = 'public' "
                "UNION ALL SELECT tablename, indexname, indexdef, '' FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
            )
        data = [
            transaction.execute(f"SELECT {columns} FROM {table} ORDER BY 1")
            for table, columns in {"migrations": "name", "requests": "number, time, id", "runs": "attempt, step, id"}.items()
            if transaction.has_table(table)
        ]
    return repr(([tuple(row) for row in schema], [[tuple(row) for row in rows] for rows in data]))


def migrate_under_kills(copy: Callable[[], str], known: int, *, kills: int, seed: int) -> Migrated:
    """Open copies of an older ledger in a process that is killed at a random moment, `kills` times, and compare what is left.

    Args:
        copy: makes a copy of the older ledger; returns its address.
        known: how many migrations that one had.
    """
    draw, found = generator(seed, "migrations", known), Migrated()
    url = copy()
    old, begun = schema_and_data(url), seconds()
    process = FORK.Process(target=Ledger, args=(url,))
    process.start()
    process.join()
    lasts = seconds() - begun
    new = schema_and_data(url)
    assert (process.exitcode, old == new) == (0, False)
    while found.kills < kills:
        url = copy()
        process = FORK.Process(target=Ledger, args=(url,))
        process.start()
        wait(float(draw.uniform(0, lasts)))
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            continue  # it was faster
        found.kills += 1
        left = schema_and_data(url)
        found.old += left == old
        found.new += left == new
        if left not in (old, new):
            found.other.append(left)
        Ledger(url)
        if schema_and_data(url) != new:
            found.other.append(f"the next process did not finish it: {schema_and_data(url)}")
    return found


def copies_of_file(folder: Path, known: int) -> Callable[[], str]:
    """Copies of an older ledger in a file."""
    older = folder / f"older-{known}.sqlite"
    make_older(f"{SQLITE_URL}{older}", known)

    def copy() -> str:
        path = folder / f"copy-{known}.sqlite"
        for left in (path, path.with_name(path.name + "-journal"), path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            left.unlink(missing_ok=True)
        if older.exists():
            shutil.copyfile(older, path)
        return f"{SQLITE_URL}{path}"

    return copy


def copies_of_database(server: Server, known: int) -> Callable[[], str]:
    """Copies of an older ledger on a server."""
    older = server.new_database()
    make_older(older, known)
    template = older.rpartition("/")[2]

    def copy() -> str:
        server.execute(f"DROP DATABASE IF EXISTS copy{known} WITH (FORCE)")
        server.execute(f"CREATE DATABASE copy{known} TEMPLATE {template}")
        return server.address(f"copy{known}")

    return copy
