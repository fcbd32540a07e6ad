"""What a durable commit to the ledger costs in each journal of SQLite, alone and with writers at once.

    python bench/ledger_journal.py

Prints the median and 95th percentile of one commit in milliseconds, interleaved, beside the cost of the bare fsync that bounds it.
"""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import tempfile
import time
from pathlib import Path

COMMITS = 60
ROUNDS = 3
MODES = ("delete", "truncate", "wal")


def open_ledger(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, detail TEXT)")
    return connection


def commit_times(path: Path, mode: str) -> list[float]:
    """Milliseconds of each commit. Each opens its own connection, as the ledger does."""
    times = []
    for _ in range(COMMITS):
        start = time.perf_counter()
        connection = open_ledger(path, mode)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO events (detail) VALUES (?)", ("x" * 200,))
        connection.execute("COMMIT")
        connection.close()
        times.append(1000 * (time.perf_counter() - start))
    return times


def fsync_times(path: Path) -> list[float]:
    times = []
    with path.open("wb") as file:
        for _ in range(COMMITS):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - start))
    return times


def main() -> None:
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for number in range(ROUNDS):
            found.setdefault(("fsync", 1), []).extend(fsync_times(Path(folder, f"fsync-{number}")))
            for mode in MODES:
                for writers in (1, 4):
                    path = Path(folder, f"{mode}-{writers}-{number}")
                    open_ledger(path, mode).close()
                    with multiprocessing.Pool(writers) as pool:
                        for times in pool.starmap(commit_times, [(path, mode)] * writers):
                            found.setdefault((mode, writers), []).extend(times)
                    with sqlite3.connect(path) as connection:
                        (rows,) = connection.execute("SELECT count(*) FROM events").fetchone()
                    connection.close()
                    assert rows == writers * COMMITS, f"{mode}: {writers * COMMITS - rows} commits lost"
    print(f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, {ROUNDS} rounds of {COMMITS} commits a writer")
    for (mode, writers), times in found.items():
        ordered = sorted(times)
        median, high = ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))]
        print(f"{mode:9} {writers} writer{'s' if writers > 1 else ' '}  p50 {median:7.2f} ms  p95 {high:7.2f} ms")


if __name__ == "__main__":
    main()
