"""Rows of whole documents: as many as fit, side by side, none of them cut but the ones that are longer than a row.

A conversation that is cut in two would teach answers to questions that the row does not hold.

Axes: B rows, T tokens.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from ..contracts.task import IGNORE
from .shards import TOKENS, Split

WINDOW = 2_048
"""Documents that are packed together: more fill rows hardly better, and would make each row of documents of one length."""
TARGETS = "targets"


def pack(lengths: np.ndarray, order: np.ndarray, context: int) -> list[list[int]]:
    """Documents into rows of at most `context` tokens, by best fit, the longest first (Johnson 1973).

    Args:
        lengths: of all documents; those of 0 tokens are left out.
        order: the documents, in the order that they come in.

    Returns:
        The documents of each row.
    """
    rows: list[list[int]] = []
    for start in range(0, len(order), WINDOW):
        part = order[start : start + WINDOW]
        sizes = np.minimum(lengths[part], context)
        # Stable, so that equal lengths keep their order and the rows follow from the order alone.
        free: list[tuple[int, int]] = []  # (tokens free, row), sorted
        for place in np.argsort(-sizes, kind="stable").tolist():
            size, document = int(sizes[place]), int(part[place])
            if not size:
                continue
            found = bisect_left(free, (size, -1))
            if found == len(free):
                rows.append([])
                left, row = context, len(rows) - 1
            else:
                left, row = free.pop(found)
            rows[row].append(document)
            if left > size:
                insort(free, (left - size, row))
    return rows


def whole_rows(split: Split, rows: Sequence[Sequence[int]], context: int, pad: int) -> dict[str, np.ndarray]:
    """The documents of each row, side by side (B, T), `T` = context. What is left holds `pad`, as no target and in a document of its own.

    `targets` are those of the task where it gave some, else the next token of the same document.
    """
    chosen = np.concatenate([np.asarray(row, np.int64) for row in rows])
    row_of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    sizes = np.minimum(split.offsets[chosen + 1] - split.offsets[chosen], context)
    # Where each document begins in its row: the sizes before it, less those before its row.
    before = np.cumsum(sizes) - sizes
    first = np.flatnonzero(np.diff(row_of, prepend=-1))
    column = before - np.repeat(before[first], np.diff(np.append(first, len(chosen))))
    number = np.arange(len(chosen)) - np.repeat(first, np.diff(np.append(first, len(chosen))))

    steps = np.arange(int(sizes.sum())) - np.repeat(before, sizes)
    source = np.repeat(split.offsets[chosen], sizes) + steps
    place = (np.repeat(row_of, sizes), np.repeat(column, sizes) + steps)

    def spread(values: np.ndarray, empty: int) -> np.ndarray:
        filled = np.full((len(rows), context), empty, np.int64)
        filled[place] = values
        return filled

    arrays = {name: spread(sequence[source], pad if name == TOKENS else 0) for name, sequence in split.sequences.items() if name != TARGETS}
    if TARGETS in split.sequences:
        targets = split.sequences[TARGETS][source].astype(np.int64)
    else:
        inside = steps + 1 < np.repeat(split.lengths[chosen], sizes)
        targets = np.where(inside, split.tokens[np.minimum(source + 1, split.token_count - 1)].astype(np.int64), IGNORE)
    # Past the cut of a document that is too long, nothing is known.
    targets = np.where(steps + 1 < np.repeat(sizes, sizes), targets, IGNORE)
    return arrays | {
        "targets": spread(targets, IGNORE),
        "document_ids": spread(np.repeat(number, sizes), max(map(len, rows))),
        "positions": spread(steps, 0),
    }
