"""What it is worth to know more before choosing.

Utilities here are functions of the quantities' draws, one an option, cheap and elementwise; with utilities in money, so are the values.

* Knowing everything: E[max utility] - max E[utility], the expected value of perfect information (EVPI: Raiffa and Schlaifer 1961).
* Knowing a quantity: the same of the utilities' means given it (EVPPI).
* Seeing a measurement of quantities that leaves some of their spread (EVSI): the same of the means given the measurement.

The means are taken by a simulation inside the simulation. As the utilities are cheap, that takes no regression in its place (Strong, Oakley
and Brennan 2014), whose noise two options that share nothing would show as information. Inner draws are the same for each outer one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from ..contracts.evidence import Evidence
from .simulate import draw, quantiles, uniforms

OUTER, INNER = 512, 512
"""Worlds that a measurement may show, and worlds that are still possible after each."""
SCORES = np.linspace(-8.3, 8.3, 2001)
"""Where a quantity's quantiles are tabulated, in normal scores: all that doubles below 1 can tell apart."""

Utility = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""The draws of quantities, of shapes that broadcast → the utility of an option in each."""


def perfect_information(utilities: np.ndarray) -> float:
    """The most that knowing everything before choosing is worth.

    Args:
        utilities: of the options in the same worlds (draws, options).
    """
    return float(utilities.max(axis=1).mean() - utilities.mean(axis=0).max())


def partial_information(means: np.ndarray) -> float:
    """What is gained where the choice follows what was learnt: the means that `conditional_means` gives (outcomes, options)."""
    return max(0.0, perfect_information(means))


def conditional_means(
    options: Sequence[Utility], quantities: Mapping[str, Evidence], learnt: Mapping[str, np.ndarray], left: float, seed: int
) -> np.ndarray:  # fmt: skip
    """Each option's expected utility given what was learnt (outcomes, options).

    Args:
        learnt: the quantities that something was learnt about → the means that they are now expected at (outcomes,), in normal scores of
            what was known before: 0 is its median, 1 is a standard deviation above.
        left: the standard deviation that is left of each, as a share of what it was: 0 where it is known. Before, as seen from afar, the
            learnt means have a variance of 1 - left².
    """
    worlds: dict[str, np.ndarray] = dict(draw({name: quantities[name] for name in quantities if name not in learnt}, INNER, seed))
    for name, means in learnt.items():
        table = quantiles(quantities[name], np.clip(ndtr(SCORES), 1e-16, 1 - 1e-16))
        noise = ndtri(uniforms(name, INNER, seed)) if left else np.zeros(1)
        worlds[name] = np.interp(means[:, None] + left * noise, SCORES, table)
    outcomes = len(next(iter(learnt.values())))
    columns = []
    for utility in options:
        found = np.asarray(utility(worlds))
        # An option that nothing was learnt about is as good as before in each outcome.
        columns.append(found.mean(axis=1) if found.ndim == 2 else np.full(outcomes, found.mean()))
    return np.stack(columns, axis=1)


def outcomes(names: Sequence[str], left: float, seed: int) -> dict[str, np.ndarray]:
    """What a measurement that leaves `left` of each quantity's deviation may show of each, in normal scores (OUTER,)."""
    return {name: ndtri(uniforms(f"{name} measured", OUTER, seed)) * np.sqrt(1 - left**2) for name in names}
