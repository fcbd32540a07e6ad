"""Intervals that several parts compute alike. NumPy and SciPy are imported when they are needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def expanded_percentile(values: np.ndarray, rows: int, confidence: float) -> tuple[float, float]:
    """The percentile interval of resampled values at levels widened for few rows, so that it keeps what a t interval would.

    Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.2.

    Args:
        values: a statistic of each resample; NaN is left out.
        rows: what was resampled, so many of them. With one, the interval is all there is: from least to most.
    """
    import numpy as np
    from scipy import special

    known = values[~np.isnan(values)]
    if rows < 2 or not len(known):
        return (float(known.min()), float(known.max())) if len(known) else (math.nan, math.nan)
    quantile_of_t = special.stdtrit(rows - 1, (1 - confidence) / 2)
    widened = float(special.ndtr(math.sqrt(rows / (rows - 1)) * quantile_of_t))
    low, high = np.quantile(known, [widened, 1 - widened])
    return float(low), float(high)


def exact_share(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934): it holds the true one at least as often as it says."""
    from scipy import special

    tail = (1 - confidence) / 2
    low = float(special.betaincinv(successes, count - successes + 1, tail)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, count - successes, 1 - tail)) if successes < count else 1.0
    return low, high
