"""Pairs of two token sequences, what is read and what is written: batches of like lengths, each of about as many tokens.

A batch has no fixed number of rows: it takes as many pairs as its padded tokens, of source and target together, leave room for.

Axes: B rows, S source tokens, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contracts.task import IGNORE
from .shards import TOKENS, Split
from .whole import TARGETS

STRETCH = 64
"""Batches' worth of pairs that are sorted together: enough for little padding, few enough that an epoch's batches are others each time."""


@dataclass(frozen=True)
class Limits:
    """What a batch of pairs may hold."""

    tokens: int
    """Of source and target together, padding included; a pair that is longer is a batch of its own."""
    context: int
    """Of the target, T at most."""
    source_context: int
    """S at most."""
    pad: int

    def sizes(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of each pair's source and target that a batch holds, each (n,)."""
        return np.minimum(split.source_lengths, self.source_context), np.minimum(split.lengths, self.context)


def too_long(split: Split, limits: Limits) -> int:
    """Pairs that lose an end to the limits."""
    return int(((split.source_lengths > limits.source_context) | (split.lengths > limits.context)).sum())


def epoch_batches(split: Split, limits: Limits, draw: np.random.Generator) -> list[np.ndarray]:
    """One epoch: every pair with tokens once, in batches of like lengths, which come in any order."""
    order = draw.permutation(split.records)
    order = order[split.lengths[order] > 0]
    source, target = limits.sizes(split)
    mean = float((source[order] + target[order]).mean()) if len(order) else 1.0
    stretch = max(1, round(STRETCH * limits.tokens / mean))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), stretch):
        batches += _cut(order[start : start + stretch], source, target, limits)
    return [batches[index] for index in draw.permutation(len(batches))]


def ordered_batches(split: Split, limits: Limits) -> list[np.ndarray]:
    """Every pair with tokens once, from the shortest source to the longest: the batches of an evaluation."""
    source, target = limits.sizes(split)
    return _cut(np.flatnonzero(split.lengths > 0), source, target, limits)


def _cut(chosen: np.ndarray, source: np.ndarray, target: np.ndarray, limits: Limits) -> list[np.ndarray]:
    """Sort the chosen pairs by source, then target, and cut where the padded tokens would be too many."""
    ordered = chosen[np.lexsort((target[chosen], source[chosen]))]
    batches: list[np.ndarray] = []
    begin = widest_source = widest_target = 0
    for place, (reads, writes) in enumerate(zip(source[ordered].tolist(), target[ordered].tolist(), strict=True)):
        widest_source, widest_target = max(widest_source, reads), max(widest_target, writes)
        if place > begin and (place + 1 - begin) * (widest_source + widest_target) > limits.tokens:
            batches.append(ordered[begin:place])
            begin, widest_source, widest_target = place, reads, writes
    if begin < len(ordered):
        batches.append(ordered[begin:])
    return batches


def paired_rows(split: Split, chosen: np.ndarray, limits: Limits) -> dict[str, np.ndarray]:
    """The chosen pairs (B,), padded on the right: `source_tokens`, `source_mask` (B, S; True on real tokens), `tokens`, `attention_mask`
    and `targets` (B, T; `IGNORE` on padding), other sequences (B, T), each number (B,), and the arrays.
    """
    assert split.source is not None
    source, source_mask = _padded(split.source, split.source_offsets, chosen, limits.source_context, limits.pad)
    arrays = {"source_tokens": source, "source_mask": source_mask}
    for name, sequence in split.sequences.items():
        empty = {TOKENS: limits.pad, TARGETS: IGNORE}.get(name, 0)
        arrays[name], arrays["attention_mask"] = _padded(sequence, split.offsets, chosen, limits.context, empty)
    return arrays | {name: np.asarray(column[chosen]) for name, column in split.numbers.items()} | split.array_rows(chosen)


def _padded(sequence: np.ndarray, offsets: np.ndarray, chosen: np.ndarray, most: int, empty: int) -> tuple[np.ndarray, np.ndarray]:
    """The chosen stretches of a sequence as rows, and which of their places are real."""
    begin = offsets[chosen]
    lengths = np.minimum(offsets[chosen + 1] - begin, most)
    steps = np.arange(max(int(lengths.max()), 1))
    mask = steps < lengths[:, None]
    return np.where(mask, sequence[np.where(mask, begin[:, None] + steps, 0)].astype(np.int64), empty), mask


def longest_pairs(split: Split, rows: int, limits: Limits) -> dict[str, np.ndarray]:
    """The longest pairs, a row for each `context` tokens that a batch may hold: padded, or cut, to so many of source and target together.

    So a batch of n · context tokens takes the memory of n such rows, whatever the pairs' own lengths.
    """
    source, target = limits.sizes(split)
    chosen = np.argsort(source + target, kind="stable")[-rows:]
    reads, writes = int(source[chosen].max()), int(target[chosen].max())
    width = min(max(1, round(limits.context * writes / (reads + writes))), limits.context - 1)
    arrays = paired_rows(split, chosen, limits)
    for name, array in arrays.items():
        if array.ndim == 2:
            wanted = limits.context - width if name.startswith("source") else width
            row = array[:, :wanted]
            arrays[name] = np.pad(row, ((0, 0), (0, wanted - row.shape[1])), mode="edge")
    return arrays
