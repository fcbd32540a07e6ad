"""How long `lodestar --help` takes, beside an empty Python.

python -m bench.startup [--rounds 20]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench.rounds import spread

COMMANDS = {
    "lodestar --help": [str(Path(sys.executable).with_name("lodestar")), "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
}


def seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(-1, rounds):
        for name, command in COMMANDS.items():
            each = seconds(command)
            if number >= 0:  # the first round fills the disk's cache
                taken[name].append(each)
    for name, times in taken.items():
        print(f"{name:25} {spread(times, 3)} s")


if __name__ == "__main__":
    main()
