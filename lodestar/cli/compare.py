"""Say which of two releases is better, by a paired test on the examples that both were measured on.

用同一批样本的成对检验，判断两个版本孰优。
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.language import say
from ._command import lodestar_command, show, venture_option

if TYPE_CHECKING:
    from ..venture.venture import Venture


@lodestar_command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@venture_option
def command(a: str, b: str, venture: Path) -> None:
    from .. import tasks
    from ..evaluate.compare import compare
    from ..evaluate.scorecard import SCORECARD
    from ..venture.product import read_scorecard
    from ..venture.venture import Venture

    opened = None if Path(a, SCORECARD).is_file() and Path(b, SCORECARD).is_file() else Venture.open(venture)
    first, second = (_folder(opened, name) for name in (a, b))
    task = tasks.find(read_scorecard(first).task)
    found = compare(first, second, task.metrics)
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
    show({"a": str(first), "b": str(second), "comparisons": value}, "\n".join(lines))


def _folder(venture: Venture | None, name: str) -> Path:
    """A release's folder by its name, or the folder of an evaluation by its path."""
    from ..evaluate.scorecard import SCORECARD
    from ..venture.product import find_release

    if venture is None or Path(name, SCORECARD).is_file():
        return Path(name)
    return venture.releases / find_release(venture, name).name
