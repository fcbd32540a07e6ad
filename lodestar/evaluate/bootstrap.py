"""Intervals by resampling examples with replacement (Efron and Tibshirani 1993), seeded.

Examples that share their luck (the questions on one text, the requests of one user) are drawn together, as clusters: drawn one by one they
would count as independent evidence, and intervals would be too narrow (Davison and Hinkley 1997, section 3.8).

Intervals are percentiles, at levels widened for small samples so that they keep what a t interval would: Hesterberg 2015, "What
Teachers Should Know About the Bootstrap", section 5.2 ("expanded percentile").

Rows that are all right, or all wrong, give the same ratio however they are drawn, and no percentile tells how few they are. There the
interval is the exact one of a share (Clopper and Pearson 1934): of three right out of three, from 0.29.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..contracts.intervals import exact_share, expanded_percentile
from ..contracts.randomness import generator
from ..contracts.score import Columns, Metric, Score


@dataclass(frozen=True)
class Difference:
    """What a paired bootstrap says about metric(b) - metric(a) on the same examples."""

    value: float
    low: float
    high: float
    standard_error: float
    detectable: float
    """The smallest true difference that a test at this confidence finds four times in five with these examples."""

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def scores(
    metrics: Sequence[Metric], columns: Columns, *, resamples: int, confidence: float, seed: int, clusters: np.ndarray | None = None
) -> list[Score]:
    """Each metric's value with its interval; those that the columns cannot give (NaN) are left out.

    Resamples that give NaN (no example of a kind was drawn) say nothing about the metric and are left out, too. `clusters` names for each
    row the one that it belongs to, where rows share their luck.
    """
    values = [metric.compute(columns) for metric in metrics]
    known = [(metric, value) for metric, value in zip(metrics, values, strict=True) if not math.isnan(value)]
    drawn = resampled([metric for metric, _ in known], [columns], resamples=resamples, seed=seed, clusters=clusters)
    rows = count(columns)
    units = rows if clusters is None else len(np.unique(clusters))
    found = []
    for number, (metric, value) in enumerate(known):
        resamples_of = drawn[:, 0, number]
        if metric.recentred:
            resamples_of = resamples_of + (value - np.nanmean(resamples_of))
        if metric.unit == "" and value in (0.0, 1.0) and np.nanmin(resamples_of) == np.nanmax(resamples_of):
            low, high = exact_share(units if value else 0, units, confidence)
        else:
            low, high = expanded_percentile(resamples_of, units, confidence)
        # The interval of few or very uneven rows can miss the value itself, which would read as a mistake.
        low, high = min(low, value), max(high, value)
        found.append(
            Score(
                metric=metric.name,
                value=value,
                low=low,
                high=high,
                confidence=confidence,
                count=rows,
                unit=metric.unit,
                better=metric.better,
            )
        )
    return found


def paired_difference(
    metric: Metric, a: Columns, b: Columns, *, resamples: int, confidence: float, seed: int, clusters: np.ndarray | None = None
) -> Difference:
    """Resample the examples, each with both of its measurements, and look at metric(b) - metric(a).

    Args:
        clusters: for each example which one it belongs to (n,); each its own where absent.
    """
    drawn = resampled([metric], [a, b], resamples=resamples, seed=seed, clusters=clusters)
    differences = drawn[:, 1, 0] - drawn[:, 0, 0]
    units = count(a) if clusters is None else len(np.unique(clusters))
    low, high = expanded_percentile(differences, units, confidence)
    error = float(np.nanstd(differences, ddof=1))
    # Power 80 %: the quantile of the test plus that of the power, in standard errors.
    detectable = error * (ndtri(0.5 + confidence / 2) + ndtri(0.8))
    return Difference(metric.compute(b) - metric.compute(a), low, high, error, float(detectable))


def resampled(
    metrics: Sequence[Metric], tables: Sequence[Columns], *, resamples: int, seed: int, clusters: np.ndarray | None = None
) -> np.ndarray:
    """The metrics (resamples, tables, metrics) over the same draws of rows, or of whole clusters of rows, in every table."""
    rows = count(tables[0])
    members = None if clusters is None else [np.flatnonzero(clusters == name) for name in np.unique(clusters)]
    units = rows if members is None else len(members)
    random = generator(seed, "bootstrap", units)
    values = np.empty((resamples, len(tables), len(metrics)))
    for draw in range(resamples):
        drawn = random.integers(0, units, units)
        chosen = drawn if members is None else np.concatenate([members[unit] for unit in drawn])
        for number, table in enumerate(tables):
            taken = _Taken(table, chosen)
            values[draw, number] = [metric.compute(taken) for metric in metrics]
    return values


class _Taken(Mapping[str, np.ndarray]):
    """Some rows of a table, each column taken when a metric asks for it: a table may hold what no metric reads (pictures, say)."""

    def __init__(self, table: Columns, rows: np.ndarray) -> None:
        self._table, self._rows, self._columns = table, rows, dict[str, np.ndarray]()

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            self._columns[name] = self._table[name][self._rows]
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def count(columns: Columns) -> int:
    """The number of rows."""
    return len(next(iter(columns.values())))
