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
"""What is nearer to 0 or 1 than this is on the edge of a share's range."""


def draw(quantities: Mapping[str, Evidence], draws: int, seed: int) -> dict[str, np.ndarray]:
    """Each quantity → `draws` values of it (draws,), independent between quantities."""
    return {name: quantiles(evidence, uniforms(name, draws, seed)) for name, evidence in quantities.items()}


def uniforms(name: str, draws: int, seed: int) -> np.ndarray:
    """The middles of `draws` equal slices of (0, 1), shuffled (draws,)."""
    return (generator(seed, "quantity", name).permutation(draws) + 0.5) / draws


def quantiles(evidence: Evidence, at: np.ndarray) -> np.ndarray:
    """The quantiles, at probabilities in (0, 1), of the distribution that has the evidence's interval.

    real: normal, with a deviation of its own on each side of the value, which is the median (the two-piece normal).
    positive: the same of the logarithm. share: the beta distribution whose quantiles come nearest.
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
    """The a and b of the beta distribution whose quantiles come nearest to a share's value, as the median, and to its interval's ends.

    An end on the edge says no more than that the share may come near to it: no beta distribution has a quantile there.
    """
    import numpy as np
    from scipy.optimize import least_squares
    from scipy.special import betaincinv

    tail = (1 - evidence.confidence) / 2
    stated = {tail: evidence.low, 0.5: evidence.value, 1 - tail: evidence.high}
    inside = {at: share for at, share in stated.items() if EDGE < share < 1 - EDGE}
    if len(inside) < 2:
        inside = {at: min(max(share, EDGE), 1 - EDGE) for at, share in stated.items() if at != 0.5}
    at, shares = np.array(list(inside)), np.array(list(inside.values()))

    def miss(logs: np.ndarray) -> np.ndarray:
        found = np.clip(betaincinv(*np.exp(logs), at), 1e-300, 1 - 1e-16)
        return np.log(found / (1 - found)) - np.log(shares / (1 - shares))

    # Begin where the moments of a normal with this interval would have it.
    middle, spread = float(shares.mean()), max(evidence.high - evidence.low, EDGE) / 3.92
    total = max(middle * (1 - middle) / spread**2 - 1, 0.5)
    fit = least_squares(miss, np.log([middle * total, (1 - middle) * total]), bounds=(-12, 18))
    a, b = np.exp(fit.x)
    return float(a), float(b)
