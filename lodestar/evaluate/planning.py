"""How many examples a comparison needs: the power of a paired test, exactly, before anything is labelled or paid for."""

from __future__ import annotations

import math

from scipy import special


def power(difference: float, spread: float, units: int, *, confidence: float = 0.95) -> float:
    """The probability that a two-sided paired t test finds a true difference (the noncentral t distribution, e.g. Cohen 1988, ch. 2).

    Args:
        difference: the true one, of the means.
        spread: the standard deviation of the differences of single units.
        units: examples, or clusters of examples that share their luck.
    """
    if units < 2:
        return 0.0
    freedom, shift = units - 1, abs(difference) / spread * math.sqrt(units)
    limit = float(special.stdtrit(freedom, 0.5 + confidence / 2))
    return float(1 - special.nctdtr(freedom, shift, limit) + special.nctdtr(freedom, shift, -limit))


def units_needed(difference: float, spread: float, *, wanted: float = 0.8, confidence: float = 0.95) -> int:
    """The fewest units with which a true difference is found with the power that is `wanted`."""
    low, high = 1, 2
    while power(difference, spread, high, confidence=confidence) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if power(difference, spread, middle, confidence=confidence) < wanted:
            low = middle
        else:
            high = middle
    return high


def clustered_spread(spread: float, size: int, correlation: float) -> float:
    """The standard deviation of the mean of a cluster: what `units_needed` takes to tell how many clusters are needed.

    Args:
        spread: the standard deviation of single examples.
        size: examples in a cluster.
        correlation: of two examples of one cluster (intraclass). Kish's design effect, 1 + (size - 1) × correlation (Kish 1965), is how
            many times as many examples it takes as where they were independent.
    """
    return spread * math.sqrt((1 + (size - 1) * correlation) / size)
