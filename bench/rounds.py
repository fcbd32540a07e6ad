"""Interleaved rounds: each contender in a process of its own, one runs at a time, and only ratios within a round count."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch


class Worker:
    """`python -m MODULE --worker NAME`: for each line that it is sent, it does its work once and prints the seconds that took."""

    def __init__(self, module: str, name: str, options: Sequence[str]) -> None:
        command = [sys.executable, "-m", module, "--worker", name, *options]
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def run(self) -> float:
        """The seconds of one piece of work."""
        self.requests.write("go\n")
        self.requests.flush()
        answer = self.answers.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended early")
        return float(answer)

    def close(self) -> None:
        """No more work."""
        self.requests.close()
        self.process.wait()


def work(measure: Callable[[], float]) -> None:
    """The worker's side."""
    for _ in sys.stdin:
        print(measure(), flush=True)


def interleave(module: str, names: Sequence[str], rounds: int, warm_up: int, options: Sequence[str] = ()) -> dict[str, list[float]]:
    """Seconds by contender, one a round, after `warm_up` that do not count."""
    workers = [Worker(module, name, options) for name in names]
    for worker in workers:
        for _ in range(warm_up):
            worker.run()
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for worker in workers:
            taken[worker.name].append(worker.run())
        print(f"round {number + 1} of {rounds}: " + ", ".join(f"{name} {taken[name][-1]:.4g} s" for name in names), flush=True)
    for worker in workers:
        worker.close()
    return taken


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int, rest_s: float) -> dict[str, list[float]]:
    """Seconds by name, one a round, of contenders in this process that time themselves; a first round does not count.

    Args:
        rest_s: before each.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            time.sleep(rest_s)
            seconds = contender()
            if number:
                taken[name].append(seconds)
        print("warm" if number == 0 else f"round {number} of {rounds}", flush=True)
    return taken


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """The same, giving the seconds that it takes."""

    def measure() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return measure


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def machine(versions: Mapping[str, str], *, seed: int) -> str:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    numbers = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in lines if line.startswith(("cpu family", "model\t"))}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    family = f" (family {numbers.get('cpu family', '?')}, model {numbers.get('model', '?')})"
    load = f"load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}{family}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {shown}, seed {seed}; {load}"
