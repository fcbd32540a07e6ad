"""Which split a record belongs to: a function of the record alone, so it is the same for ever.

The digest of a record's canonical JSON (of its path, where it has one) is read as a number u in [0, 1). The record is in test where
u < test, in validation where u < test + validation, else in train. So adding records moves none, and raising the share of test
keeps every record that was in test there.

A data set so small that a share of it rounds to nothing still gets one record for each split that is asked for: of the split with the
most records, the one whose u is nearest to the empty split's interval. These are the only records that more data can move.
"""

from __future__ import annotations

import numpy as np

from ..contracts.errors import UserError
from ..contracts.settings import DataSettings
from .sources import SPLITS

TRAIN, VALIDATION, TEST = range(len(SPLITS))


def assign(unit: np.ndarray, explicit: np.ndarray, settings: DataSettings) -> np.ndarray:
    """The split of each record, as an index into `SPLITS`.

    A split that the user gave files for consists of those files; the other records share out among the remaining splits.

    Args:
        unit: 64 bits of each record's digest (n,), uint64.
        explicit: the split that the user put each record in, or -1 (n,).

    Raises:
        UserError: there are fewer records than splits to fill.
    """
    shares: dict[str, float] = {"validation": settings.validation, "test": settings.test}
    wanted = {name: 0.0 if name in settings.splits else share for name, share in shares.items()}
    drawn = unit / 2.0**64
    split = explicit.astype(np.int8)
    free = explicit < 0
    split[free] = np.where(
        drawn[free] < wanted["test"], TEST, np.where(drawn[free] < wanted["test"] + wanted["validation"], VALIDATION, TRAIN)
    )
    for index, name in ((TEST, "test"), (VALIDATION, "validation"), (TRAIN, "train")):
        if wanted.get(name, 1.0) > 0 and name not in settings.splits and not (split == index).any():
            _fill(index, split, unit, free)
    counts = {name: int((split == index).sum()) for index, name in enumerate(SPLITS)}
    asked = [name for name in SPLITS if name == "train" or name in settings.splits or wanted[name] > 0]
    if any(not counts[name] for name in asked):
        found = ", ".join(f"{name} {counts[name]}" for name in SPLITS)
        total = len(unit)
        raise UserError(
            f"{total} {'record is' if total == 1 else 'records are'} too few to fill {', '.join(asked)} ({found})",
            where="data", fix="give more records, or set data.validation and data.test to 0",
        )  # fmt: skip
    return split


def _fill(empty: int, split: np.ndarray, unit: np.ndarray, free: np.ndarray) -> None:
    """Move the records of one unit (one record, or the parts of one document) into the split that is empty."""
    held = [np.unique(unit[free & (split == index)]) for index in range(len(SPLITS))]
    donor = max(range(len(SPLITS)), key=lambda index: len(held[index]))
    if len(held[donor]) < 2:
        return  # it would only move the hole
    above = _ORDER.index(donor) > _ORDER.index(empty)
    split[free & (unit == held[donor][0 if above else -1])] = empty


_ORDER = (TEST, VALIDATION, TRAIN)
"""The splits from u = 0 up."""
