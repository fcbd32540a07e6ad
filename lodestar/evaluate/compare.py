"""Which of two evaluations is better? Told by a paired test on the examples that both measured, or not told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..contracts.errors import UserError
from ..contracts.language import Words
from ..contracts.record import Scorecard
from ..contracts.score import Metric
from ..store.files import read_json
from .bootstrap import Difference, paired_difference
from .planning import units_needed
from .scorecard import SCORECARD, read_clusters, read_measurements

NEGLIGIBLE = 0.01
"""Of a standard error: telling a smaller difference would take a hundred thousand times as many examples."""
Verdict = Literal["a", "b", "unknown"]


@dataclass(frozen=True)
class Comparison:
    """One metric of two models on the same examples."""

    metric: Metric
    a: float
    b: float
    difference: Difference
    """Of b less a."""
    examples: int

    @property
    def verdict(self) -> Verdict:
        """Which one is better, where the interval of the difference leaves zero out."""
        if not self.difference.certain:
            return "unknown"
        return "b" if (self.difference.value > 0) == (self.metric.better == "higher") else "a"

    @property
    def needed(self) -> int | None:
        """How many such examples would tell a difference of this size four times in five; None where it is as good as none."""
        found = self.difference
        if not found.standard_error or abs(found.value) < NEGLIGIBLE * found.standard_error:
            return None
        return units_needed(found.value, found.standard_error * math.sqrt(self.examples))

    def words(self, a: str, b: str) -> Words:
        """One sentence, with the names that the reader gave the two."""
        name, found = self.metric.name, self.difference
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        if found.standard_error == 0 and found.value == 0:
            return Words(
                f"{name}: {a} and {b} are alike on every one of these {self.examples} examples ({self.a:.4g})",
                f"{name}：{a} 与 {b} 在这 {self.examples} 个样本上结果全同（{self.a:.4g}）",
            )
        if self.verdict == "unknown":
            needed = self.needed
            more = Words("", "") if needed is None else Words(f"; some {needed:,} examples would", f"；约需 {needed:,} 个样本才能分辨")
            return Words(
                f"{name}: cannot tell {a} and {b} apart below {found.detectable:.2g}{unit} on these {self.examples} examples "
                f"({self.a:.4g} and {self.b:.4g}, difference {found.value:+.2g}, between {found.low:+.2g} and {found.high:+.2g}{more.en})",
                f"{name}：在这 {self.examples} 个样本上，小于 {found.detectable:.2g}{unit} 的差异无法分辨；{a} 与 {b} 不分高下"
                f"（{self.a:.4g} 与 {self.b:.4g}，差 {found.value:+.2g}，介于 {found.low:+.2g} 与 {found.high:+.2g}{more.zh}）",
            )
        better = a if self.verdict == "a" else b
        return Words(
            f"{name}: {better} is better ({a} {self.a:.4g}, {b} {self.b:.4g}{unit}; difference {found.value:+.2g}, "
            f"between {found.low:+.2g} and {found.high:+.2g})",
            f"{name}：{better} 更好（{a} 为 {self.a:.4g}，{b} 为 {self.b:.4g}{unit}；差 {found.value:+.2g}，"
            f"介于 {found.low:+.2g} 与 {found.high:+.2g}）",
        )


def compare(
    a: Path, b: Path, metrics: Sequence[Metric], *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> list[Comparison]:
    """Compare two folders that `evaluate` wrote, on the same examples.

    Args:
        metrics: the task's; those that one of the two could not measure are left out.

    Raises:
        UserError: a folder holds no evaluation, or the two are of different tasks, of no common example, or with a metric computed in
            different ways.
    """
    first, second = _scorecard_of(a), _scorecard_of(b)
    if first.task != second.task:
        raise UserError(
            f"{a} measured {first.task} and {b} measured {second.task}", where="compare", fix="compare two evaluations of one task"
        )
    (a_ids, a_tables), (b_ids, b_tables) = read_measurements(a), read_measurements(b)
    if not np.array_equal(np.sort(a_ids), np.sort(b_ids)):
        common = len(set(a_ids) & set(b_ids))
        raise UserError(
            f"the two were measured on different examples ({common} in common of {len(a_ids)} and {len(b_ids)})",
            where="compare", fix="evaluate both on the same split of the same data, with the same evaluate.examples and evaluate.seed",
        )  # fmt: skip
    # Both in the order of the ids, so that a row is the same example in each.
    a_columns = {name: column[np.argsort(a_ids, kind="stable")] for name, column in a_tables["model"].items()}
    b_columns = {name: column[np.argsort(b_ids, kind="stable")] for name, column in b_tables["model"].items()}
    clusters = read_clusters(a)
    clusters = None if clusters is None else clusters[np.argsort(a_ids, kind="stable")]
    found = []
    for metric in (each for each in metrics if first.score(each.name) and second.score(each.name)):
        _check_computed_alike(metric.name, first, second)
        difference = paired_difference(
            metric, a_columns, b_columns, resamples=resamples, confidence=confidence, seed=seed, clusters=clusters
        )
        if not np.isnan(difference.value):
            found.append(Comparison(metric, metric.compute(a_columns), metric.compute(b_columns), difference, len(a_ids)))
    return found


def _check_computed_alike(metric: str, first: Scorecard, second: Scorecard) -> None:
    ways = [card.signatures.get(metric) for card in (first, second)]
    if ways[0] != ways[1]:
        raise UserError(
            f"{metric} was computed in two ways ({ways[0]}; {ways[1]})", where="compare",
            fix="evaluate both again with the same options and versions",
        )  # fmt: skip


def _scorecard_of(folder: Path) -> Scorecard:
    path = folder / SCORECARD
    if not path.exists():
        raise UserError("no evaluation here", where=folder, fix="name a release, or a folder that `lodestar evaluate` wrote")
    return Scorecard.parse(read_json(path), where=path)
