"""What this machine has, as far as the operating system tells."""

from __future__ import annotations

import os
from pathlib import Path

from .meter import peak_memory_bytes


def available_bytes() -> int | None:
    """The memory that a process can still take: what the system says is available, within the limits of its control groups; None where
    neither can be told."""
    known = [value for value in (_system_available(), _group_available()) if value is not None]
    return min(known) if known else None


def resident_bytes() -> int:
    """The memory that this process holds now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_memory_bytes()


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _system_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _group_available() -> int | None:
    """Of a container: its limit less what is in use and cannot be given back."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text())
        cached = sum(
            int(line.split()[1]) for line in (folder / "memory.stat").read_text().splitlines() if line.split()[0] == "inactive_file"
        )
    except (OSError, ValueError, IndexError):
        return None
    return max(0, int(limit) - used + cached)
