"""When a loss has left the road: not a number, or far above what it was, and not coming back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

WINDOW = 64
"""Losses that the normal course is judged by."""
SUSTAINED = 5
"""High losses in a row that make a spike: one hard batch is no reason to go back."""
DEVIATIONS = 8.0
"""Robust standard deviations above the median that make a loss high. Assumed: a training loss has heavier tails than a normal one."""
SHARE = 0.1
"""And this share of the run's first losses above the median: near the end of training, deviations are tiny and mean nothing."""


class SpikeWatch:
    """Watches one loss a step.

    A spike is a loss or gradient norm that is not finite; or `SUSTAINED` losses in a row above median + max(DEVIATIONS·σ, SHARE·first),
    where the median and σ = 1.4826·MAD (median absolute deviation) are over the last `WINDOW` losses that were not high themselves, and
    `first` is the median of the run's first `WINDOW` losses. Nothing but the first test applies until the window is full.
    """

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.first: float | None = None
        self.high = 0

    def see(self, loss: float, gradient_norm: float) -> str | None:
        """Take in a step; return what is wrong with it, or None."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient norm is {gradient_norm}"
        if self.first is None or loss <= self._limit(self.first):
            self.high = 0
            self.losses.append(loss)
            if self.first is None and len(self.losses) == WINDOW:
                self.first = median(self.losses)
            return None
        self.high += 1
        if self.high < SUSTAINED:
            return None
        return f"the loss rose from {median(self.losses):.3g} to {loss:.3g} and stayed there for {self.high} steps"

    def _limit(self, first: float) -> float:
        middle = median(self.losses)
        deviation = 1.4826 * median(abs(loss - middle) for loss in self.losses)
        return middle + max(DEVIATIONS * deviation, SHARE * abs(first))

    def state_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {"losses": list(self.losses), "first": self.first, "high": self.high}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.losses = deque(state["losses"], maxlen=WINDOW)
        self.first, self.high = state["first"], state["high"]
