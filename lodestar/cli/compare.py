"""Say which of two releases is better, by a paired test on the examples that both were measured on.

用同一批样本的成对检验，判断两个版本孰优。
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.language import say
from ._command import Outcome, lodestar_command, show, venture_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..evaluate.compare import Comparison
    from ..venture.venture import Venture

CONFIDENCE = 0.95


@lodestar_command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@venture_option
def command(a: str, b: str, venture: Path) -> None:
    from ..evaluate.scorecard import SCORECARD
    from ..venture.venture import Venture

    opened = None if Path(a, SCORECARD).is_file() and Path(b, SCORECARD).is_file() else Venture.open(venture)
    first, second = (_folder(opened, name) for name in (a, b))
    found = compare_and_note(opened or _around(venture), first, second)
    show(*told(found, {a: first, b: second}, a, b))


def told(found: Sequence[Comparison], folders: Mapping[str, Path], a: str, b: str) -> Outcome:
    """What was found, under the names that the reader gave the two."""
    lines = [str(comparison.words(a, b)) for comparison in found]
    if found:
        headline = found[0]
        better = {"a": a, "b": b}.get(headline.verdict)
        verdict = say(f"{better} is better.", f"{better} 更好。") if better else say("Cannot tell which is better.", "无法判断孰优。")
        lines.insert(0, f"{verdict} ({headline.metric.name})" if better else verdict)
    value = [
        {
            "metric": comparison.metric.name,
            "a": comparison.a,
            "b": comparison.b,
            "verdict": comparison.verdict,
            "needed": comparison.needed,
            **asdict(comparison.difference),
        }
        for comparison in found
    ]
    return Outcome({"a": str(folders[a]), "b": str(folders[b]), "comparisons": value}, "\n".join(lines))


def compare_and_note(venture: Venture | None, a: Path, b: Path) -> list[Comparison]:
    """What is told of the evaluations in two folders; written down for the studio's page, where both are the venture's."""
    from .. import tasks
    from ..evaluate.compare import compare
    from ..venture.product import read_scorecard

    found = compare(a, b, tasks.find(read_scorecard(a).task).metrics, confidence=CONFIDENCE)
    if venture is not None and all(folder.resolve().is_relative_to(venture.folder.resolve()) for folder in (a, b)):
        _note(venture, a, b, found)
    return found


def _note(venture: Venture, a: Path, b: Path, found: Sequence[Comparison]) -> None:
    from ..contracts.clock import now
    from ..venture.pairs import Pair, PairedDifference, evaluation_id, save_pair

    first, second = evaluation_id(a), evaluation_id(b)
    if first is None or second is None or first == second:
        return
    differences = [
        PairedDifference(
            metric=each.metric.name, unit=each.metric.unit, better=each.metric.better, value=each.difference.value,
            low=each.difference.low, high=each.difference.high, confidence=CONFIDENCE, examples=each.examples, needed=each.needed,
        )
        for each in found
    ]  # fmt: skip
    save_pair(venture, Pair(a=first, b=second, date=now().date(), differences=differences))


def _around(folder: Path) -> Venture | None:
    """The venture that the command stands in, where it stands in one: two folders are compared anywhere."""
    from ..venture.venture import Venture
    from ..venture.vision import VENTURE_FILE

    return Venture.open(folder) if (folder / VENTURE_FILE).is_file() else None


def _folder(venture: Venture | None, name: str) -> Path:
    """A release's folder by its name, or the folder of an evaluation by its path."""
    from ..evaluate.scorecard import SCORECARD
    from ..venture.product import find_release

    if venture is None or Path(name, SCORECARD).is_file():
        return Path(name)
    return venture.releases / find_release(venture, name).name
