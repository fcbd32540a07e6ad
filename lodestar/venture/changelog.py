"""What a release changes against the one before: scores, data, settings and promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..contracts.language import Words
from ..contracts.record import RunRecord
from .words import figure, interval, threshold

if TYPE_CHECKING:
    from .product import Release

Records = Mapping[str, RunRecord]
"""A step → what it did."""
LONGEST = 80
"""Characters of a setting's value that are shown."""


def changes(before: Release, after: Release, records_before: Records, records_after: Records) -> list[Words]:
    """Each change in a sentence; a step without a record in one of the two says nothing."""
    return [
        *_scores(before, after),
        *_promises(before, after),
        *_data(records_before, records_after),
        *_settings(records_before, records_after),
    ]


def _scores(before: Release, after: Release) -> Iterator[Words]:
    """Beside each other, with their intervals: whether one is better is for the paired test to tell."""
    same = before.scorecard.data == after.scorecard.data
    for score in after.scorecard.scores:
        old = before.scorecard.score(score.metric)
        if old is None:
            yield Words(f"{score.metric}: measured for the first time", f"{score.metric}：首次测量")
            continue
        was, now = (f"{figure(each.value, each.unit)} {interval(each)}" for each in (old, score))
        if was != now:
            shown = f"{was} → {now}"
            other = Words("", "") if same else Words(", on other records", "（样本不同）")
            yield Words(f"{score.metric}: {shown}{other.en}", f"{score.metric}：{shown}{other.zh}")
    for old in before.scorecard.scores:
        if after.scorecard.score(old.metric) is None:
            yield Words(f"{old.metric}: measured no more", f"{old.metric}：不再测量")


def _promises(before: Release, after: Release) -> Iterator[Words]:
    old, new = ({gate.target.metric: threshold(gate.target) for gate in made.gates} for made in (before, after))
    for metric in dict.fromkeys([*old, *new]):
        if metric not in new:
            yield Words(f"the promise {metric} {old[metric]} was given up", f"放弃承诺 {metric} {old[metric]}")
        elif metric not in old:
            yield Words(f"a new promise: {metric} {new[metric]}", f"新增承诺：{metric} {new[metric]}")
        elif old[metric] != new[metric]:
            yield Words(f"the promise {metric}: {old[metric]} → {new[metric]}", f"承诺 {metric}：{old[metric]} → {new[metric]}")


def _data(before: Records, after: Records) -> Iterator[Words]:
    if "prepare" not in before or "prepare" not in after:
        return
    old, new = before["prepare"].facts.get("splits", {}), after["prepare"].facts.get("splits", {})
    for split in new:
        if split in old and old[split]["records"] != new[split]["records"]:
            counts = f"{old[split]['records']:,} → {new[split]['records']:,}"
            yield Words(f"{split}: {counts} records", f"{split}：记录数 {counts}")


def _settings(before: Records, after: Records) -> Iterator[Words]:
    for step in after:
        if step not in before:
            continue
        old, new = (dict(_flat(records[step].config)) for records in (before, after))
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                words = f"{step}.{name}: {_shown(old.get(name))} → {_shown(new.get(name))}"
                yield Words(words, words.replace(": ", "：", 1))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _shown(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
