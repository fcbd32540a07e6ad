"""Records of a small grammar, for the samples that templates bring: patterns whose slots are filled, the same for ever.

What judges is said in other words than what is learnt from: it is whole patterns that are held out, not fillings of one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_DEALT: tuple[Split, ...] = ("train", "validation", "train", "test", "train")

SPLIT_FILES: Mapping[Split, str] = {split: f"data/{split}.jsonl" for split in SPLITS}
SPLIT_DATA: Mapping[str, Any] = {
    "sources": [SPLIT_FILES["train"]],
    "splits": {split: [SPLIT_FILES[split]] for split in ("validation", "test")},
}
"""venture.yaml: `data`, of a sample in these files."""


def split_of(place: int) -> Split:
    """Where the pattern at a place of its list goes: of every five three to train, and one each to validation and test."""
    return _DEALT[place % len(_DEALT)]


def dealt(patterns: Iterable[T]) -> Iterator[tuple[Split, T]]:
    """Each pattern with its split."""
    return ((split_of(place), pattern) for place, pattern in enumerate(patterns))


def slots_of(pattern: str) -> list[str]:
    """The names in braces, each once."""
    return list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(pattern) if name))


def fillings(names: Sequence[str], slots: Mapping[str, Sequence[T]], count: int, random: np.random.Generator) -> list[dict[str, T]]:
    """So many different ways to fill the slots of these names, drawn at random; all there are, where that is fewer."""
    sizes = [len(slots[name]) for name in names]
    chosen = random.permutation(math.prod(sizes))[:count]
    found = []
    for rest in chosen.tolist():
        values = {}
        for name, size in zip(names, sizes, strict=True):
            rest, place = divmod(rest, size)  # noqa: PLW2901 - the digits of a number whose places count differently
            values[name] = slots[name][place]
        found.append(values)
    return found


def written(records: Mapping[Split, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Each split's file → its lines of JSON."""
    return {SPLIT_FILES[split]: lines(records[split]) for split in SPLITS}


def lines(records: Iterable[Mapping[str, Any]]) -> str:
    """Records as lines of JSON."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
