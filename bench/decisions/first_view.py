"""What the questions of a venture's first view cost with many runs in the ledger, in both databases.

    python -m bench.decisions.first_view [--runs 10000] [--requests 100000] [--databases sqlite postgresql]

Prints milliseconds of this process's processor time and of the clock, the median of five calls each. PostgreSQL's own work is in the
clock's time alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from lodestar.contracts.clock import seconds
from lodestar.store.database import SQLITE_URL, open_database
from lodestar.store.ledger import Ledger, Request, Run
from tests.postgresql import PASSWORD, programs, running_server

STEPS, STATUSES = ("prepare", "train", "evaluate", "pilot"), ("finished", "failed", "started")
RECORD = {"step": "train", "config": {"x": "y" * 2500}}
"""As large as a training's record is."""


def fill(url: str, runs: int, requests: int) -> Ledger:
    ledger = Ledger(url)
    with open_database(url).transaction(write=True) as transaction:
        transaction.add_numbered(
            [
                Run(attempt=n + 1, step=STEPS[n % 4], id=f"id{n}", status=STATUSES[n % 3], started="2026-12-01T00:00:00Z", record=RECORD)  # type: ignore[arg-type]
                for n in range(runs)
            ]
        )
        transaction.add_numbered(
            [
                Request(number=n + 1, time=f"2026-{1 + n % 12:02}-{1 + n // 12 % 28:02}T00:00:{n % 60:02}Z", release="v1", route="/",
                        tokens_in=10, tokens_out=20, latency_ms=float(n % 997), status=200, id=f"r{n}")
                for n in range(requests)
            ]
        )  # fmt: skip
    return ledger


def cost(call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the processor, and of the clock."""
    found = []
    for _ in range(5):
        processor, clock = time.process_time(), seconds()
        call()
        found.append((1000 * (time.process_time() - processor), 1000 * (seconds() - clock)))
    return statistics.median(each[0] for each in found), statistics.median(each[1] for each in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    given = parser.parse_args()
    print(f"{given.runs:,} runs, {given.requests:,} requests\n\n| database | call | processor, ms | clock, ms |\n|---|---|---|---|")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        for name in given.databases:
            url = f"{SQLITE_URL}{folder / 'ledger.sqlite'}"
            if name == "postgresql":
                found = programs()
                if found is None:
                    raise SystemExit("no PostgreSQL here; install Debian's package postgresql, or give --databases sqlite")
                os.environ["PGPASSWORD"] = PASSWORD
                url = stack.enter_context(running_server(found)).new_database()
            ledger = fill(url, given.runs, given.requests)
            calls: dict[str, Callable[[], object]] = {
                "last_runs(50)": partial(ledger.last_runs, 50), "last_run_by_step()": ledger.last_run_by_step,
                "run_counts()": ledger.run_counts, "requests_served()": ledger.requests_served,
                "days(since), the last week": partial(ledger.days, "2026-12-22"),
                "days(since), all": partial(ledger.days, "2026-01-01"),
                "usage()": ledger.usage, "runs(), all": ledger.runs,
            }  # fmt: skip
            for told, call in calls.items():
                processor, clock = cost(call)
                print(f"| {name} | `{told}` | {processor:.1f} | {clock:.1f} |", flush=True)


if __name__ == "__main__":
    main()
