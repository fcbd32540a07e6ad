"""Batches from a prepared split, in an order that is a function of the seed alone.

A loader's state is two counters: after `load_state_dict` the very same batches follow. No loop here goes over tokens.

Axes: B rows, T tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from ..contracts.errors import UserError
from ..contracts.randomness import generator
from ..contracts.task import IGNORE, Batch
from .pairs import Limits, epoch_batches, longest_pairs, ordered_batches, paired_rows, too_long
from .shards import TOKENS, Split
from .whole import TARGETS, pack, whole_rows

Arrays = dict[str, np.ndarray]
Batching = Literal["packed", "padded", "whole", "paired"]
"""As in `Task.batching`."""


class PackedLoader:
    """Rows of `context` tokens cut from all documents end to end, for ever.

    Each epoch cuts the stream at another offset, so that rows begin in other places, and visits the rows in another order. Every
    token but the ones before the offset and behind the last whole row is learnt once an epoch. A row's targets are its tokens one on;
    the first token of a document is no target, since what stands before it is another document.

    Args:
        rows: B.
        context: T.
        seed: decides the offsets and orders.

    Raises:
        UserError: the split has fewer than context + 1 tokens.
    """

    def __init__(self, split: Split, *, rows: int, context: int, seed: int) -> None:
        check_context(split, context)
        self._split, self._rows, self._context, self._seed = split, rows, context, seed
        self._epoch = 0
        self._row = 0
        self._starts = self._epoch_starts()

    def next_batch(self) -> Batch:
        """`tokens` and `targets` (B, T), `document_ids` and `positions` (B, T) where a row holds several documents."""
        parts: list[np.ndarray] = []
        missing = self._rows
        while missing:
            part = self._starts[self._row : self._row + missing]
            parts.append(part)
            missing -= len(part)
            self._row += len(part)
            if self._row == len(self._starts):
                self._epoch, self._row = self._epoch + 1, 0
                self._starts = self._epoch_starts()
        return _tensors(packed_rows(self._split, np.concatenate(parts), self._context))

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins, and what the counters mean."""
        return {"epoch": self._epoch, "row": self._row, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it was taken from other data, or with another batch, context or seed.
        """
        _check_identity(state, self._identity())
        self._epoch, self._row = int(state["epoch"]), int(state["row"])
        self._starts = self._epoch_starts()

    def _identity(self) -> dict[str, Any]:
        return {"kind": "packed", **_identity(self._split, self._rows, self._context, self._seed)}

    def _epoch_starts(self) -> np.ndarray:
        """Where this epoch's rows begin, in its order."""
        draw = generator(self._seed, "packed", self._epoch)
        spare = self._split.token_count - self._context - 1
        offset = int(draw.integers(0, min(self._context, spare + 1)))
        starts = offset + self._context * np.arange((spare - offset) // self._context + 1, dtype=np.int64)
        draw.shuffle(starts)
        return starts


class _EpochLoader(ABC):
    """Goes through an epoch's units, whatever they are, and then through the next one's: another order, from the seed."""

    KIND: ClassVar[str]
    UNIT: ClassVar[str]
    """What the state calls the number of the next unit."""

    def __init__(self, split: Split, *, rows: int, context: int, seed: int, pad: int) -> None:
        check_records(split)
        self._split, self._rows, self._context, self._seed, self._pad = split, rows, context, seed, pad
        self._epoch = self._place = 0
        self._units = self._epoch_units()

    @abstractmethod
    def _epoch_units(self) -> list[Any]:
        """The units of the epoch `_epoch`, in its order."""

    def _take(self, most: int) -> list[Any]:
        """The next units, at most so many, and no more than the epoch has left."""
        taken = self._units[self._place : self._place + most]
        self._place += len(taken)
        if self._place == len(self._units):
            self._epoch, self._place = self._epoch + 1, 0
            self._units = self._epoch_units()
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins, and what the counters mean."""
        return {"epoch": self._epoch, self.UNIT: self._place, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it was taken from other data, or with another batch, context or seed.
        """
        _check_identity(state, self._identity())
        self._epoch, self._place = int(state["epoch"]), int(state[self.UNIT])
        self._units = self._epoch_units()

    def _identity(self) -> dict[str, Any]:
        return {"kind": self.KIND, **_identity(self._split, self._rows, self._context, self._seed)}


class PaddedLoader(_EpochLoader):
    """One example a row, padded on the right, for ever.

    Each epoch visits all examples in another order. Examples of like length share a batch: the epoch's order is cut into stretches of
    `BUCKET` batches, each is sorted by length, and its batches are shuffled again. An example longer than `context` loses its end;
    `truncated` says how many do. The last batch of an epoch may have fewer rows.
    """

    KIND, UNIT = "padded", "batch"
    BUCKET = 64

    @property
    def truncated(self) -> int:
        """Examples of the split that are longer than the context."""
        return int((self._split.lengths > self._context).sum())

    def next_batch(self) -> Batch:
        """`tokens` and `attention_mask` (B, T), other sequences (B, T) padded with 0, each number of the example (B,), and its arrays."""
        (chosen,) = self._take(1)
        return _tensors(padded_rows(self._split, chosen, self._context, self._pad))

    def _epoch_units(self) -> list[np.ndarray]:
        draw = generator(self._seed, "padded", self._epoch)
        lengths = np.minimum(self._split.lengths, self._context)
        order = draw.permutation(self._split.records)
        order = order[lengths[order] > 0]
        batches: list[np.ndarray] = []
        stretch = self.BUCKET * self._rows
        for start in range(0, len(order), stretch):
            part = order[start : start + stretch]
            part = part[np.argsort(lengths[part], kind="stable")]
            batches += [part[at : at + self._rows] for at in range(0, len(part), self._rows)]
        return [batches[index] for index in draw.permutation(len(batches))]


class WholeLoader(_EpochLoader):
    """Rows of as many whole documents as fit, for ever.

    Each epoch visits all documents in another order, packs those that come near each other (see `pack`), and visits the rows in another
    order. A document longer than `context` loses its end.
    """

    KIND, UNIT = "whole", "row"

    def next_batch(self) -> Batch:
        """`tokens`, `targets`, `document_ids` and `positions` (B, T)."""
        chosen: list[list[int]] = []
        while len(chosen) < self._rows:
            chosen += self._take(self._rows - len(chosen))
        return _tensors(whole_rows(self._split, chosen, self._context, self._pad))

    def _epoch_units(self) -> list[list[int]]:
        draw = generator(self._seed, "whole", self._epoch)
        rows = pack(self._split.lengths, draw.permutation(self._split.records), self._context)
        return [rows[index] for index in draw.permutation(len(rows))]


class PairedLoader(_EpochLoader):
    """Pairs of what is read and what is written, padded on the right, for ever.

    Each epoch visits all pairs in another order. Those of like lengths share a batch, of at most rows × context padded tokens, source and
    target together. A pair that is longer than its contexts loses its ends; `truncated` says how many do.

    Args:
        context: T at most.
        source_context: S at most; `context` where None.
    """

    KIND, UNIT = "paired", "batch"

    def __init__(self, split: Split, *, rows: int, context: int, seed: int, pad: int, source_context: int | None = None) -> None:
        self._limits = Limits(rows * context, context, source_context or context, pad)
        super().__init__(split, rows=rows, context=context, seed=seed, pad=pad)

    @property
    def truncated(self) -> int:
        """Pairs of the split that are longer than the contexts."""
        return too_long(self._split, self._limits)

    def next_batch(self) -> Batch:
        """See `pairs.paired_rows`."""
        (chosen,) = self._take(1)
        return _tensors(paired_rows(self._split, chosen, self._limits))

    def _epoch_units(self) -> list[np.ndarray]:
        return epoch_batches(self._split, self._limits, generator(self._seed, "paired", self._epoch))

    def _identity(self) -> dict[str, Any]:
        return super()._identity() | {"source_context": self._limits.source_context}


class Sequential:
    """Every record of a split once, in order: the fixed batches of an evaluation. Iterating again gives the same.

    Args:
        batching: the task's.
        source_context: as `PairedLoader`'s.
        limit: batches at most, evenly spaced over the split; all where absent.
    """

    def __init__(
        self,
        split: Split,
        batching: Batching,
        *,
        rows: int,
        context: int,
        pad: int,
        source_context: int | None = None,
        limit: int | None = None,
    ) -> None:
        check_records(split)
        self._split, self._batching, self._context, self._pad = split, batching, context, pad
        self._limits = Limits(rows * context, context, source_context or context, pad)
        units: Any
        if batching == "whole":
            units = pack(split.lengths, np.arange(split.records), context)
        elif batching == "packed":
            # The last token is only a target.
            units = np.arange(0, max(split.token_count - 1, 1), context, dtype=np.int64)
        elif batching == "padded":
            units = np.argsort(np.minimum(split.lengths, context), kind="stable")
            units = units[split.lengths[units] > 0]
        else:
            units = []
        batches = (
            ordered_batches(split, self._limits) if batching == "paired" else [units[at : at + rows] for at in range(0, len(units), rows)]
        )
        if batching == "paired":
            batches = list(ordered_batches(split, self._limits))
        if limit is not None and limit < len(batches):
            batches = [batches[index] for index in np.linspace(0, len(batches) - 1, limit).round().astype(int)]
        self._batches: list[Any] = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for chosen in self._batches:
            if self._batching == "packed":
                yield _tensors(packed_rows(self._split, chosen, self._context, self._pad))
            elif self._batching == "whole":
                yield _tensors(whole_rows(self._split, chosen, self._context, self._pad))
            elif self._batching == "paired":
                yield _tensors(paired_rows(self._split, chosen, self._limits))
            else:
                yield _tensors(padded_rows(self._split, chosen, self._context, self._pad))


def make_loader(
    split: Split, batching: Batching, *, rows: int, context: int, seed: int, pad: int, source_context: int | None = None
) -> PackedLoader | PaddedLoader | WholeLoader | PairedLoader:
    """The training loader for a task's batching."""
    if batching == "packed":
        return PackedLoader(split, rows=rows, context=context, seed=seed)
    if batching == "paired":
        return PairedLoader(split, rows=rows, context=context, seed=seed, pad=pad, source_context=source_context)
    made = WholeLoader if batching == "whole" else PaddedLoader
    return made(split, rows=rows, context=context, seed=seed, pad=pad)


def longest_rows(split: Split, batching: Batching, *, rows: int, context: int, pad: int, source_context: int | None = None) -> Batch:
    """The rows that take the most memory in training: of padded ones and of pairs the longest, any of the others, which are all as long."""
    if batching in ("packed", "whole"):
        return make_loader(split, batching, rows=rows, context=context, seed=0, pad=pad).next_batch()
    check_records(split)
    if batching == "paired":
        return _tensors(longest_pairs(split, rows, Limits(rows * context, context, source_context or context, pad)))
    chosen = np.argsort(np.minimum(split.lengths, context), kind="stable")[-rows:]
    return _tensors(padded_rows(split, chosen, context, pad))


def check_context(split: Split, context: int) -> None:
    """Refuse, before anything is trained, a context that the split cannot fill once."""
    if split.token_count < context + 1:
        fix = f"set model.context to {split.token_count - 1} or less, or give more data"
        if split.token_count < 10:
            fix = "give more data"
        raise UserError(
            f"the {split.name} split has {split.token_count} tokens, too few for one row of the context {context}",
            where="model.context", fix=fix,
        )  # fmt: skip


def check_records(split: Split) -> None:
    """Refuse a split with nothing in it."""
    if not split.all_tokens:
        raise UserError(f"the {split.name} split has no tokens", where=split.folder, fix="give more data")


def packed_rows(split: Split, starts: np.ndarray, context: int, pad: int = 0) -> Arrays:
    """The rows (B, T) that begin at `starts` in the stream. Past its end they hold `pad`, in a document of its own, as no target."""
    places = starts[:, None] + np.arange(context + 1)
    end = split.token_count
    inside = places < end
    whole = bool(inside.all())
    safe = places if whole else np.minimum(places, end - 1)
    arrays: Arrays = {}
    for name, sequence in split.sequences.items():
        values = sequence[safe].astype(np.int64)
        if not whole:
            values[~inside] = pad if name == TOKENS else IGNORE if name == TARGETS else 0
        arrays[name] = values[:, :-1]
        if name == TARGETS or (name == TOKENS and TARGETS not in split.sequences):
            targets = values[:, :-1] if name == TARGETS else values[:, 1:]
    # Documents by their place in `offsets`; equal neighbours are empty documents, which hold no token.
    first = np.searchsorted(split.offsets, safe[:, 0], side="right") - 1
    last = np.searchsorted(split.offsets, safe[:, -1], side="right") - 1
    if whole and (first == last).all():
        return arrays | {"targets": targets}
    document = np.searchsorted(split.offsets, safe, side="right") - 1
    begin = np.maximum(split.offsets[document], starts[:, None])
    document = np.where(inside, document, split.records)
    targets = np.where(inside[:, 1:] & (document[:, 1:] == document[:, :-1]), targets, IGNORE)
    arrays["targets"] = targets
    if (document[:, :-1] != document[:, :1]).any():
        begin = np.where(inside, begin, end)
        arrays["document_ids"] = (document - first[:, None])[:, :-1]
        arrays["positions"] = (places - begin)[:, :-1]
    return arrays


def padded_rows(split: Split, chosen: np.ndarray, context: int, pad: int) -> Arrays:
    """The chosen records (B,), one a row, cut at `context` and padded to the longest of them, rounded up to a multiple of 8; their numbers
    and arrays beside them.
    """
    beside = split.array_rows(chosen) | {name: np.asarray(column[chosen]) for name, column in split.numbers.items()}
    if not split.sequences:
        return beside
    begin = split.offsets[chosen]
    lengths = np.minimum(split.offsets[chosen + 1] - begin, context)
    width = min(context, -(-int(lengths.max()) // 8) * 8)  # few widths: fewer shapes for a compiler to meet
    steps = np.arange(max(width, 1))
    mask = steps < lengths[:, None]
    places = np.where(mask, begin[:, None] + steps, 0)
    arrays: Arrays = {}
    for name, sequence in split.sequences.items():
        arrays[name] = np.where(mask, sequence[places].astype(np.int64), pad if name == TOKENS else 0)
    return arrays | {"attention_mask": mask} | beside


def _tensors(arrays: Arrays) -> Batch:
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _identity(split: Split, rows: int, context: int, seed: int) -> dict[str, Any]:
    return {"records": split.records, "tokens": split.token_count, "rows": rows, "context": context, "seed": seed}


def _check_identity(state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    for name, value in identity.items():
        if state.get(name) != value:
            raise UserError(
                f"the checkpoint's place in the data was taken with {name} {state.get(name)}, and here it is {value}",
                where="loader", fix="train with the settings and the data of the checkpoint, or start a new run",
            )  # fmt: skip
