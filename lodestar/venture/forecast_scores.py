"""How good forecasts were: proper scores of those that are resolved, their calibration, and their skill against the base rate.

A score is proper where nobody can better it by saying other than what they believe (Gneiting and Raftery 2007, "Strictly Proper Scoring
Rules, Prediction, and Estimation"). Under `ENOUGH` forecasts no verdict is given: with thirty, the calibration of a share is still known
no better than to about ± 0.18.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..contracts.forecast import Forecast
from ..contracts.intervals import exact_share, expanded_percentile
from ..contracts.randomness import generator

if TYPE_CHECKING:
    import numpy as np

ENOUGH = 30
BINS = 5
"""Of the calibration picture at most: thirty forecasts leave six to each."""
RESAMPLES = 2000
LEVELS = (0.1, 0.5, 0.9)
NOMINAL = 0.8
"""What the interval from p10 to p90 should hold."""


@dataclass(frozen=True)
class CalibrationBin:
    """Forecasts of similar probability: what was said, and what came."""

    count: int
    said: float
    """Their mean probability."""
    came: float
    """The share that happened."""
    low: float
    high: float
    """The exact 95% interval of that share."""


@dataclass(frozen=True)
class EventScores:
    """Of the resolved forecasts of events."""

    count: int
    base_rate: float
    """The share that happened."""
    brier: float
    """The mean squared error of the probabilities: 0 is perfect, 0.25 is a coin."""
    reliability: float
    """Of the Brier score: how far what was said lies from what came; 0 is perfect."""
    resolution: float
    """Of the Brier score: how far the groups of forecasts differ in what came; higher is better."""
    uncertainty: float
    """Of the Brier score: that of the base rate, which nobody can help."""
    within: float
    """What differences within the groups add: brier = reliability - resolution + uncertainty + within."""
    log_score: float
    """The mean of -ln of the probability given to what came, in nats; 0.693 is a coin."""
    skill: float
    """The part of the base rate's Brier score that the forecasts save: 1 is perfect, 0 no better than the base rate, known in hindsight."""
    skill_low: float
    skill_high: float
    """The 95% bootstrap interval of the skill. Forecasts of one day are drawn together, as one piece of luck decides several of them."""
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class MetricScores:
    """Of the resolved forecasts of one quantity; their scores are in its unit, so that those of others cannot be added."""

    metric: str
    unit: str
    count: int
    pinball: float
    """The mean pinball loss over p10, p50 and p90."""
    interval_score: float
    """Of the interval from p10 to p90: its width, and ten times what the value lies outside."""


@dataclass(frozen=True)
class QuantityScores:
    """Of the resolved forecasts of quantities."""

    count: int
    inside: int
    """How many came out between p10 and p90, both included."""
    low: float
    high: float
    """The exact 95% interval of the share that does, which should hold 0.8."""
    below: tuple[float, float, float]
    """The shares that came out at or below p10, p50 and p90; they should be 0.1, 0.5 and 0.9."""
    metrics: tuple[MetricScores, ...]

    @property
    def coverage(self) -> float:
        return self.inside / self.count


def score_events(forecasts: Sequence[Forecast], *, seed: int = 0) -> EventScores | None:
    """The scores of those forecasts of events that are resolved; None where there is none."""
    import numpy as np

    known = [forecast for forecast in forecasts if forecast.is_event and forecast.resolution is not None]
    if not known:
        return None
    said = np.array([forecast.probability for forecast in known], dtype=float)
    came = np.array([forecast.resolution is not None and bool(forecast.resolution.outcome) for forecast in known], dtype=float)
    groups = _groups(said)
    reliability, resolution = _murphy(said, came, groups)
    brier, uncertainty = _brier(said, came), float(came.mean() * (1 - came.mean()))
    low, high = _skill_interval(said, came, np.array([forecast.made.toordinal() for forecast in known]), seed)
    return EventScores(
        count=len(known), base_rate=float(came.mean()), brier=brier, reliability=reliability, resolution=resolution,
        uncertainty=uncertainty, within=brier - reliability + resolution - uncertainty, log_score=_log_score(said, came),
        skill=_skill(said, came), skill_low=low, skill_high=high, bins=tuple(_bin(said[group], came[group]) for group in groups),
    )  # fmt: skip


def score_quantities(forecasts: Sequence[Forecast]) -> QuantityScores | None:
    """The scores of those forecasts of quantities that are resolved; None where there is none."""
    import numpy as np

    by_metric: dict[tuple[str, str], list[tuple[float, float, float, float]]] = defaultdict(list)
    for forecast in forecasts:
        if forecast.quantiles is not None and forecast.resolution is not None and forecast.resolution.value is not None:
            said = forecast.quantiles
            by_metric[forecast.metric, forecast.unit].append((said.p10, said.p50, said.p90, forecast.resolution.value))
    if not by_metric:
        return None
    tables = {key: np.array(rows) for key, rows in by_metric.items()}
    rows = np.concatenate(list(tables.values()))
    quantiles, values = rows[:, :3], rows[:, 3]
    inside = int(((quantiles[:, 0] <= values) & (values <= quantiles[:, 2])).sum())
    first, middle, last = (values[:, None] <= quantiles).mean(0).tolist()
    low, high = exact_share(inside, len(rows))
    metrics = tuple(
        MetricScores(metric, unit, len(table), pinball(table[:, :3], table[:, 3]), interval_score(table[:, 0], table[:, 2], table[:, 3]))
        for (metric, unit), table in tables.items()
    )
    return QuantityScores(len(rows), inside, low, high, (first, middle, last), metrics)


def pinball(quantiles: np.ndarray, values: np.ndarray) -> float:
    """The mean pinball loss (Koenker and Bassett 1978) of quantiles (n, 3) at `LEVELS` for values (n,)."""
    import numpy as np

    above = values[:, None] - quantiles
    levels = np.array(LEVELS)
    return float(np.maximum(levels * above, (levels - 1) * above).mean())


def interval_score(low: np.ndarray, high: np.ndarray, values: np.ndarray) -> float:
    """The mean interval score (Gneiting and Raftery 2007, eq. 43) of the central 80% intervals."""
    import numpy as np

    outside = np.maximum(low - values, 0) + np.maximum(values - high, 0)
    return float((high - low + 2 / (1 - NOMINAL) * outside).mean())


def _brier(said: np.ndarray, came: np.ndarray) -> float:
    return float(((said - came) ** 2).mean())


def _log_score(said: np.ndarray, came: np.ndarray) -> float:
    import numpy as np

    return float(-np.log(np.where(came == 1, said, 1 - said)).mean())


def _skill(said: np.ndarray, came: np.ndarray) -> float:
    """NaN where all came out alike: the base rate is then never wrong."""
    reference = came.mean() * (1 - came.mean())
    return float(1 - _brier(said, came) / reference) if reference else math.nan


def _skill_interval(said: np.ndarray, came: np.ndarray, days: np.ndarray, seed: int) -> tuple[float, float]:
    import numpy as np

    clusters = [np.flatnonzero(days == day) for day in np.unique(days)]
    random = generator(seed, "forecast skill", len(said))
    drawn = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        chosen = np.concatenate([clusters[index] for index in random.integers(0, len(clusters), len(clusters))])
        drawn[number] = _skill(said[chosen], came[chosen])
    return expanded_percentile(drawn, len(clusters), 0.95)


def _groups(said: np.ndarray) -> list[np.ndarray]:
    """The indices of forecasts of similar probability: equal ones together; where these are many, in groups of about equal size."""
    import numpy as np

    levels, level_of = np.unique(said, return_inverse=True)
    if len(levels) <= BINS:
        return [np.flatnonzero(level_of == level) for level in range(len(levels))]
    edges = np.unique(np.quantile(said, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    group_of = np.searchsorted(edges, said)
    return [np.flatnonzero(group_of == group) for group in np.unique(group_of)]


def _murphy(said: np.ndarray, came: np.ndarray, groups: Sequence[np.ndarray]) -> tuple[float, float]:
    """Reliability and resolution (Murphy 1973). Where a group holds several probabilities, its mean stands for it, and what is left over is
    within the group (Stephenson, Coelho and Jolliffe 2008)."""
    base, count = came.mean(), len(said)
    reliability = sum(len(group) * (said[group].mean() - came[group].mean()) ** 2 for group in groups) / count
    resolution = sum(len(group) * (came[group].mean() - base) ** 2 for group in groups) / count
    return float(reliability), float(resolution)


def _bin(said: np.ndarray, came: np.ndarray) -> CalibrationBin:
    low, high = exact_share(int(came.sum()), len(came))
    return CalibrationBin(len(came), float(said.mean()), float(came.mean()), low, high)
