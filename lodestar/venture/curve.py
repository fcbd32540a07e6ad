"""What a run of a larger budget will score, told from short ones.

A score y after a budget of n follows a power law that ends at a floor (Hestness et al. 2017, https://arxiv.org/abs/1712.00409; Hoffmann et
al. 2022, https://arxiv.org/abs/2203.15556):

    error(n) = c + a · n^-b

A few short runs say little about b and c, so none is fitted alone: every b and c of a grid counts by how well it explains the runs (a is
solved for), and the forecast is the mixture of what each of them says. How runs of one recipe scatter is a part of the grid, too. The
interval is wide where the runs are few or far from the budget, and near the measurement's own where they reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ..contracts.score import Direction

EXPONENTS = np.geomspace(0.05, 2.0, 41)
# assumed: exponents of published learning curves lie around 0.1 to 0.5 (Hestness et al. 2017); short runs, still warming up, fall faster.
USUAL_EXPONENT, SPREAD_OF_EXPONENTS = 0.35, 0.9
FLOORS = np.linspace(0.0, 0.995, 40)
"""The error that no budget removes, as a share of the least error seen."""
SCATTERS = np.array([0.003, 0.01, 0.03, 0.1, 0.3])
"""How far runs of one recipe lie from their curve, as a share of the error: assumed, each as likely as the next. Of short runs on little
data, 0.1 was not enough (bench/decisions/forecasts, the set for development)."""


@dataclass(frozen=True)
class Point:
    """One short run."""

    budget: float
    """What it was given: tokens, examples, seconds."""
    value: float
    deviation: float
    """The standard deviation of the measurement alone: half of a 68% interval."""


@dataclass(frozen=True)
class Forecasted:
    """What a run of the whole budget will score."""

    value: float
    """The median."""
    low: float
    high: float


def extrapolate(points: Sequence[Point], budget: float, better: Direction, *, share: bool, confidence: float = 0.95) -> Forecasted:
    """The score at `budget`, with its interval.

    Args:
        points: at least one; of budgets up to `budget`.
        share: whether the metric lies between 0 and 1, so that where higher is better the error is 1 less it.
    """
    errors = _Errors.of(points, better, share=share)
    weights, means, deviations = _mixture(np.array([point.budget for point in points]) / budget, errors)
    tails = [(1 - confidence) / 2, 0.5, (1 + confidence) / 2]
    ends = [errors.value(quantile) for quantile in _quantiles(weights, means, deviations, tails)]
    low, value, high = sorted(ends)
    return Forecasted(value, low, high)


@dataclass(frozen=True)
class _Errors:
    """The scores as errors that fall, in units of the least of them."""

    values: np.ndarray
    deviations: np.ndarray
    unit: float
    origin: float
    sign: int

    @classmethod
    def of(cls, points: Sequence[Point], better: Direction, *, share: bool) -> _Errors:
        scores = np.array([point.value for point in points])
        deviations = np.array([point.deviation for point in points])
        if better == "lower":
            origin, sign = 0.0, 1
        else:
            # Of a score without a known end, no budget is taken to reach more than three times the best one seen. assumed.
            origin, sign = (1.0 if share else 3.0 * max(float(np.abs(scores).max()), 1e-12)), -1
        errors = sign * (scores - origin)
        # A score that is perfect, or beyond 0 as a loss can be, has a scale of its own noise.
        unit = max(float(errors.min()), float(deviations.max()), 1e-9)
        return cls(np.maximum(errors, 0.0) / unit, deviations / unit, unit, origin, sign)

    def value(self, error: float) -> float:
        return self.origin + self.sign * max(error, 0.0) * self.unit


def _mixture(shares: np.ndarray, errors: _Errors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each explanation's weight, and the mean and deviation of what it forecasts at a share of 1.

    With u = shares^-b and the error c + a·u: given b, c and the scatter, a is normal, and its weight in the runs is known in closed form.
    """
    b, c, scatter = (axis.ravel() for axis in np.meshgrid(EXPONENTS, FLOORS * errors.values.min(), SCATTERS, indexing="ij"))
    u = shares[None, :] ** -b[:, None]
    variances = errors.deviations**2 + (scatter[:, None] * np.maximum(errors.values, 1e-6)) ** 2
    above = errors.values - c[:, None]
    # a has a wide prior about what the first run says of it, as wide for every floor: so one run alone speaks for none of them.
    first = int(np.argmin(shares))
    prior_mean = np.maximum(above[:, first], 0.0) / u[:, first]
    prior_variance = (max(errors.values[first], 1e-3) / u[:, first]) ** 2
    precision = 1 / prior_variance + (u**2 / variances).sum(axis=1)
    a = (prior_mean / prior_variance + (u * above / variances).sum(axis=1)) / precision
    residual = ((above - a[:, None] * u) ** 2 / variances).sum(axis=1) + (a - prior_mean) ** 2 / prior_variance
    evidence = -0.5 * (residual + np.log(variances).sum(axis=1) + np.log(prior_variance) + np.log(precision))
    prior = -0.5 * (np.log(b / USUAL_EXPONENT) / SPREAD_OF_EXPONENTS) ** 2
    weights = np.exp(evidence + prior - (evidence + prior).max())
    means = c + np.maximum(a, 0.0)
    # The run to come scatters, too, and is measured on as many records.
    deviations = np.sqrt(1 / precision + (scatter * means) ** 2 + errors.deviations.mean() ** 2)
    return weights / weights.sum(), means, deviations


def _quantiles(weights: np.ndarray, means: np.ndarray, deviations: np.ndarray, tails: Sequence[float]) -> list[float]:
    """Quantiles of a mixture of normals, by bisection."""
    heavy = weights > weights.max() * 1e-9
    weights, means, deviations = weights[heavy] / weights[heavy].sum(), means[heavy], np.maximum(deviations[heavy], 1e-12)
    found = []
    for tail in tails:
        low, high = float((means - 9 * deviations).min()), float((means + 9 * deviations).max())
        for _ in range(60):
            middle = (low + high) / 2
            below = float(weights @ ndtr((middle - means) / deviations))
            low, high = (middle, high) if below < tail else (low, middle)
        found.append((low + high) / 2)
    return found
