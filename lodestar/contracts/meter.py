"""What a step used up, and on what it ran: the `cost` and `versions` of its record."""

from __future__ import annotations

import contextlib
import platform
import re
import resource
import sys
from importlib import metadata
from pathlib import Path

from .clock import seconds
from .score import Cost

RESET_PEAK, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Linux: writing 5 to the first makes VmHWM, in the second, count anew; see proc(5)."""


class Meter:
    """Measures from its creation on; processor time and memory are those of this process and its finished children."""

    def __init__(self) -> None:
        self._started = seconds()
        self._cpu_started = _cpu_seconds()

    def cost(self) -> Cost:
        """The cost up to now. The peak memory is the process's own, so it includes what ran before."""
        return Cost(
            seconds=seconds() - self._started, cpu_seconds=_cpu_seconds() - self._cpu_started, peak_memory_bytes=peak_memory_bytes()
        )


def peak_memory_bytes() -> int:
    """The most memory that this process ever held (its resident set)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # the unit differs between the systems


def forget_peak() -> None:
    """Let `peak_since_forgotten` count from here on, where the system can."""
    with contextlib.suppress(OSError):
        RESET_PEAK.write_text("5")


def peak_since_forgotten() -> int:
    """The most memory that this process held since `forget_peak`; where the system cannot tell, ever."""
    try:
        peak = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
    except OSError:
        peak = None
    return int(peak[1]) * 1024 if peak else peak_memory_bytes()


def versions(*packages: str) -> dict[str, str]:
    """The versions of Lodestar, Python, the platform, and of `packages` where they are installed."""
    found = {"lodestar": metadata.version("lodestar"), "python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_seconds() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
