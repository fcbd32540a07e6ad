"""How long the studio's pages take with ten thousand runs in the ledger, and their folders on the disk; target: the first view under 1 s.

python -m bench.studio [--runs 10000] [--folders 10000] [--rounds 10] [--postgresql]

The first view is that of a studio just started, which has read nothing yet; it runs as the command does, in a process of its own.
Beside the time that a reader waits stands the processor's time of the studio for it, which other work on the machine changes less.
`--postgresql` starts a server of its own, where its programs are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil

from bench.rounds import machine, spread
from lodestar.contracts.record import RECORD_FILE, RunRecord, Scorecard
from lodestar.contracts.score import Cost, Score
from lodestar.store.database import open_database
from lodestar.store.files import write_atomic
from lodestar.store.ledger import Run
from lodestar.studio.view import views
from lodestar.venture.venture import STEPS, Venture
from lodestar.venture.yaml_edit import dump_yaml
from tests.postgresql import PASSWORD, programs, running_server

VENTURE = {
    "name": "Ten thousand runs", "statement": "Every run is found again.", "audience": "who measures", "north_star": "accuracy",
    "task": "classification", "data": {"sources": ["reviews.jsonl"]}, "targets": [{"metric": "accuracy", "at_least": 0.8}],
}  # fmt: skip

FACTS = {"steps": 500, "tokens": 1_000_000, "parameters": 3_000_000, "loss": 0.7, "validation_loss": 0.71}
SCORE = Score(metric="accuracy", value=0.9, low=0.87, high=0.93, confidence=0.95, count=500, unit="", better="higher")
SCORECARD = Scorecard(task="classification", split="test", data="0" * 64, scores=[SCORE], baseline=[], baseline_name="none")


def record(step: str, number: int) -> RunRecord:
    """As a step leaves it, of a usual size."""
    moment = f"2026-{1 + number // 1000 % 12:02d}-{1 + number // 40 % 28:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00Z"
    before = {"data": f"{number - STEPS.index(step):016x}", "model": f"{number - 1:016x}"}
    inputs = {name: before[name] for name in {"prepare": (), "train": ("data",), "evaluate": ("data", "model")}[step]}
    return RunRecord(
        step=step, id=f"{number:016x}", started=moment, finished=moment, config={"train": {"tokens": 1_000_000, "seed": number}},
        inputs=inputs, outputs={"model": f"{number:064x}"}, facts=FACTS if step == "train" else {},
        cost=Cost(seconds=61, cpu_seconds=120, peak_memory_bytes=2_000_000_000), versions={"lodestar": "0.1.0", "torch": "2.13.0"}, seed=7,
    )  # fmt: skip


def fill(folder: Path, runs: int, folders: int, ledger: str | None) -> None:
    """A venture with so many finished runs in its ledger, the last of which have their folders."""
    write_atomic(folder / "venture.yaml", dump_yaml({**VENTURE, **({"ledger": ledger} if ledger else {})}))
    venture = Venture.open(folder)
    made = [record(STEPS[number % len(STEPS)], number) for number in range(runs)]
    _ = venture.ledger  # makes its tables
    with open_database(ledger or f"sqlite:///{venture.ledger_path}").transaction(write=True) as transaction:
        for each in made:
            kept = each.model_dump(mode="json")
            transaction.add(Run(step=each.step, id=each.id, status="finished", started=each.started, finished=each.finished, record=kept))
    for each in made[runs - folders :]:
        place = venture.run_folder(each.step, each.id) / RECORD_FILE
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(each.model_dump(mode="json"), indent=2), "utf-8")
        if each.step == "evaluate":
            place.with_name("scorecard.json").write_text(json.dumps(SCORECARD.model_dump(mode="json"), indent=2), "utf-8")


def seconds_of(studio: psutil.Process) -> float:
    times = studio.cpu_times()
    return float(times.user + times.system)


def asked(client: httpx.Client, studio: psutil.Process, path: str) -> tuple[float, float]:
    """Seconds that a reader waits, and seconds of the studio's processor time."""
    before, begin = seconds_of(studio), time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - begin, seconds_of(studio) - before


def measure(folder: Path, rounds: int) -> None:
    taken: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        command = [sys.executable, "-m", "lodestar.cli.main", "studio", "--venture", str(folder), "--port", "0", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ExitStack() as stack:
            stack.callback(process.terminate)
            assert process.stdout is not None
            told = "".join(process.stdout.readline() for _ in range(3))
            client = stack.enter_context(httpx.Client(base_url=json.loads(told)["url"], timeout=600))
            studio = psutil.Process(process.pid)
            taken.setdefault("first view", []).append(asked(client, studio, "/"))
            for path in ("/", *(f"/{name}" for name in views())):
                taken.setdefault(f"then {path}", []).append(asked(client, studio, path))
    for name, times in taken.items():
        waited, worked = zip(*times, strict=True)
        print(f"  {name:18} {spread(waited, 3)} s, of the processor {spread(worked, 3)} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    print(machine({}, seed=0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        ledger = None
        if given.postgresql:
            found = programs()
            if found is None:
                raise SystemExit("no programs of PostgreSQL are installed")
            ledger = stack.enter_context(running_server(found)).new_database()
            os.environ["PGPASSWORD"] = PASSWORD
        fill(folder, given.runs, given.folders, ledger)
        where = "PostgreSQL" if ledger else "SQLite"
        print(f"{given.runs:,} runs in the ledger ({where}), {given.folders:,} folders, {given.rounds} studios, one after the other:")
        measure(folder, given.rounds)


if __name__ == "__main__":
    main()
