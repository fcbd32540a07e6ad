"""Smoothing of what is measured at each step, for a picture."""

from __future__ import annotations

from collections.abc import Sequence


def smooth(values: Sequence[float]) -> list[float]:
    """An exponential average over about a fiftieth of the run, without the pull of its first value."""
    decay = 1 - 1 / max(1.0, len(values) / 50)
    total = weight = 0.0
    smoothed = []
    for value in values:
        total, weight = decay * total + (1 - decay) * value, decay * weight + (1 - decay)
        smoothed.append(total / weight)
    return smoothed
