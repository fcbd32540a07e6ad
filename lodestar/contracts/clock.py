"""The one place that reads the clock, so that a test can hold it still."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


def timestamp() -> str:
    """The time of day as ISO 8601 in UTC, to the second: `2026-01-31T12:00:00Z`."""
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")


def precise_timestamp() -> str:
    """As `timestamp`, to the millisecond: `2026-01-31T12:00:00.123Z`."""
    return now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def seconds() -> float:
    """A monotonic clock in seconds, for durations."""
    return time.perf_counter()


def wait(duration: float) -> None:
    """Do nothing for so many seconds."""
    time.sleep(duration)
