"""How long commands take that only read: `lodestar --help`, and those on a venture's records, beside an empty Python.

python -m bench.startup [--rounds 20] [--before CHECKOUT]

Each command is a process of its own, and one runs at a time. The processor's time is told, too: on a machine that does other work the clock
tells of that work. With `--before`, the same commands of another checkout take turns with these.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from bench.rounds import machine, ratios, spread

HERE = Path(__file__).parents[1]
PLAIN = {"python -c pass": ["-c", "pass"], "python -c 'import torch'": ["-c", "import torch"]}
ON_A_VENTURE = ("vision", "status", "decide --verify", "plan", "plan history", "forecast list", "report", "compare v1 v1")
MAKING = ("run", "release", "plan", "forecast add Works --probability 0.6 --who Ada --resolve-by 2099-01-01")


def commands(venture: Path) -> dict[str, list[str]]:
    lodestar = ["-m", "lodestar.cli.main"]
    on_a_venture = {f"lodestar {command}": [*lodestar, *command.split(), "--venture", str(venture)] for command in ON_A_VENTURE}
    return {"lodestar --help": [*lodestar, "--help"], **on_a_venture, **PLAIN}


def make_venture(folder: Path) -> Path:
    """A venture whose records are few and real: run, released, planned, with a forecast."""
    folder.mkdir()
    (folder / "venture.yaml").write_text(
        yaml.safe_dump({
            "name": "small", "statement": "Continues a text.", "audience": "readers", "north_star": "bits_per_byte",
            "task": "text-generation", "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
            "model": {"size": "tiny", "context": 256, "overrides": {"depth": 1, "width": 32, "heads": 1}}, "train": {"tokens": 20_000},
            "targets": [{"metric": "bits_per_byte", "at_most": 20, "unit": "bits/byte", "by": "2099-01-01"}],
        }),
        "utf-8",
    )  # fmt: skip
    for command in MAKING:
        once([*commands(folder)["lodestar --help"][:-1], *command.split(), "--venture", str(folder)], HERE)
    return folder


def once(arguments: Sequence[str], checkout: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    begin, used = time.perf_counter(), _processor()
    # `python -m` looks in its working folder first.
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=checkout)
    return time.perf_counter() - begin, _processor() - used


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(checkouts: Mapping[str, Path], venture: Path, rounds: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Checkout and command → its seconds, a round each; a first round, which fills the disk's cache, does not count."""
    known = commands(venture)
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {(at, name): [] for at in checkouts for name in known}
    for number in range(rounds + 1):
        for name, command in known.items():
            for at, checkout in checkouts.items():
                if name in PLAIN and at != "now":
                    continue
                seconds = once(command, checkout)
                if number:
                    taken[at, name].append(seconds)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--venture", type=Path, help="made where none is named")
    given = parser.parse_args()
    checkouts = {"now": HERE} | ({} if given.before is None else {"before": given.before})
    print(machine({}, seed=0))
    with tempfile.TemporaryDirectory() as scratch:
        venture = given.venture or make_venture(Path(scratch) / "small")
        taken = measure(checkouts, venture, given.rounds)
    for name in commands(venture):
        clock, processor = zip(*taken["now", name], strict=True)
        line = f"{name:28} {spread(clock, 3)} s, of the processor {spread(processor, 3)} s"
        if "before" in checkouts and name not in PLAIN:
            earlier_clock, earlier = zip(*taken["before", name], strict=True)
            line += f"; before {spread(earlier_clock, 3)} s, of the processor {spread(earlier, 3)} s, "
            line += f"before/now {spread(ratios(earlier, processor))}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
