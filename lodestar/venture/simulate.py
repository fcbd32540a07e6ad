"""Draws of what may turn out true: one stream a quantity, so that every option is held against the same worlds.

The draws of a quantity follow from the seed and its own name alone. So options that share a quantity share its draws (common random
numbers, which compare options with far less noise than draws of their own; Law and Kelton, Simulation Modeling and Analysis, ch. 11), and
an option that is added or taken away moves no draw of the others. Within a quantity the draws are stratified, one in each of `draws` equal
slices of probability at its middle (Latin hypercube: McKay, Beckman and Conover 1979).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..contracts.evidence import Evidence
from ..contracts.randomness import generator

if TYPE_CHECKING:
    import numpy as np

EDGE = 1e-4
"""A share's interval that reaches 0 or 1 is taken to end so near to it: no beta distribution has a quantile on the edge itself."""


def draw(quantities: Mapping[str, Evidence], draws: int, seed: int) -> dict[str, np.ndarray]:
    """Each quantity → `draws` values of it (draws,), independent between quantities."""
    return {name: quantiles(evidence, uniforms(name, draws, seed)) for name, evidence in quantities.items()}


def uniforms(name: str, draws: int, seed: int) -> np.ndarray:
    """The middles of `draws` equal slices of (0, 1), shuffled (draws,)."""
    return (generator(seed, "quantity", name).permutation(draws) + 0.5) / draws


def quantiles(evidence: Evidence, at: np.ndarray) -> np.ndarray:
    """The quantiles, at probabilities in (0, 1), of the distribution that has the evidence's interval.

    real: normal, with a deviation of its own on each side of the value, which is the median (the two-piece normal).
    positive: the same of the logarithm. share: the beta distribution with the interval's ends as its quantiles.
    """
    import numpy as np

    if evidence.certain:
        return np.full(at.shape, evidence.value)
    if evidence.support == "share":
        from scipy.special import betaincinv

        return betaincinv(*beta_shape(evidence), at)
    if evidence.support == "positive":
        low, value, high = np.log([evidence.low, evidence.value, evidence.high])
        return np.exp(_two_piece(low, value, high, evidence.confidence, at))
    return _two_piece(evidence.low, evidence.value, evidence.high, evidence.confidence, at)


def _two_piece(low: float, value: float, high: float, confidence: float, at: np.ndarray) -> np.ndarray:
    import numpy as np
    from scipy.special import ndtri

    end = ndtri(0.5 + confidence / 2)
    z = ndtri(at)
    return value + z * np.where(z < 0, value - low, high - value) / end


def beta_shape(evidence: Evidence) -> tuple[float, float]:
    """The a and b of the beta distribution whose quantiles are the ends of a share's interval."""
    import numpy as np
    from scipy.optimize import root
    from scipy.special import betaincinv

    low, high = max(evidence.low, EDGE), min(evidence.high, 1 - EDGE)
    tails = np.array([(1 - evidence.confidence) / 2, (1 + evidence.confidence) / 2])
    wanted = np.log([low / (1 - low), high / (1 - high)])

    def miss(logs: np.ndarray) -> np.ndarray:
        a, b = np.exp(np.clip(logs, -20, 20))
        found = np.clip(betaincinv(a, b, tails), 1e-300, 1 - 1e-16)
        return np.log(found / (1 - found)) - wanted

    # Begin where the moments of a normal with this interval would have it.
    middle = (low + high) / 2
    spread = (high - low) / 3.92
    total = max(middle * (1 - middle) / spread**2 - 1, 0.5)
    a, b = np.exp(root(miss, np.log([middle * total, (1 - middle) * total])).x)
    return float(a), float(b)
