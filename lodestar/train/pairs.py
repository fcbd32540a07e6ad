"""Records of preferences, and batches of them in an order that is a function of the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..contracts.errors import UserError
from ..contracts.progress import note, track
from ..contracts.randomness import generator
from ..contracts.record import fingerprint
from ..contracts.task import Batch, device_of
from .preference import DESIRABLE, REFERENCE, Reference, reference_log_probabilities
from .scoring import Scored, padded


@dataclass(frozen=True)
class Pair:
    """Two replies to one prompt, the first of which is preferred."""

    chosen: Scored
    rejected: Scored
    reference: tuple[float, float] | None = None
    """log π₀ of both, where it was computed before training."""

    @property
    def texts(self) -> tuple[Scored, Scored]:
        return self.chosen, self.rejected


@dataclass(frozen=True)
class Judged:
    """One reply that is wanted or not (KTO)."""

    reply: Scored
    desirable: bool
    mismatched: Scored
    """The prompt with the reply to another one, by which the divergence from the reference is estimated."""
    reference: tuple[float, float] | None = None

    @property
    def texts(self) -> tuple[Scored, Scored]:
        return self.reply, self.mismatched


def judged(replies: Sequence[tuple[Scored, bool]]) -> list[Judged]:
    """KTO's records: each prompt is mismatched with the next one's reply.

    Raises:
        UserError: there are fewer than two, or all are judged alike.
    """
    if len({desirable for _, desirable in replies}) < 2:
        raise UserError("KTO needs replies that are wanted and replies that are not", where="data", fix="give some of both")
    following = [*replies[1:], replies[0]]
    return [Judged(reply, desirable, reply.with_reply_of(other)) for (reply, desirable), (other, _) in zip(replies, following, strict=True)]


Records = Sequence[Pair | Judged]


def that_fit(records: Records, context: int, name: str) -> list[Any]:
    """The records whose texts fit the context; how many do not is told. A text that was cut would be preferred, or not, for its cut.

    Args:
        name: of the split, for the person who reads.

    Raises:
        UserError: none fits.
    """
    fitting = [record for record in records if max(len(text.tokens) for text in record.texts) <= context]
    if not fitting:
        raise UserError(
            f"no preference of the {name} data fits the context of {context} tokens", where="model.context", fix="lengthen it"
        )  # fmt: skip
    if len(fitting) < len(records):
        left_out = len(records) - len(fitting)
        note(f"{left_out:,} of {len(records):,} preferences of the {name} data are longer than the context ({context}) and left out.")
    return fitting


def batch_of(records: Records, pad: int) -> Batch:
    """First texts above second texts, (2B, T), with what is known of them; the form that `Preference.loss` takes."""
    firsts, seconds = zip(*(record.texts for record in records), strict=True)
    batch = padded([*firsts, *seconds], pad)
    known = [record.reference for record in records]
    if all(values is not None for values in known):
        batch[REFERENCE] = torch.tensor(known).T.flatten()
    desirable = [record.desirable for record in records if isinstance(record, Judged)]
    return batch | ({DESIRABLE: torch.tensor(desirable)} if desirable else {})


def with_reference(model: nn.Module, records: Records, *, rows: int, pad: int, reference: Reference | None = None) -> list[Any]:
    """The records with the reference's log-probabilities, computed once: for full fine-tuning, where the model will be another one.

    Args:
        model: the reference, or what `reference` makes it of.
        rows: records at once.
    """
    known: list[Any] = []
    for batch in track(list(_parts(records, rows)), "reference", "batch"):
        tensors = {name: tensor.to(device_of(model)) for name, tensor in batch_of(batch, pad).items()}
        values = reference_log_probabilities(model, tensors, reference).cpu().view(2, -1).T.tolist()
        known += [replace(record, reference=(first, second)) for record, (first, second) in zip(batch, values, strict=True)]
    return known


class PreferenceLoader:
    """`rows` records a batch, for ever, each epoch in another order; the last batch of an epoch may have fewer.

    Its state is two counters (`contracts.task.Loader`).
    """

    def __init__(self, records: Records, *, rows: int, pad: int, seed: int) -> None:
        self._records, self._rows, self._pad, self._seed = records, rows, pad, seed
        self._identity = {"records": fingerprint([[list(text.tokens) for text in record.texts] for record in records]), "rows": rows}
        self._epoch = self._place = 0

    def next_batch(self) -> Batch:
        order = generator(self._seed, "preferences", self._epoch).permutation(len(self._records))
        chosen = order[self._place : self._place + self._rows]
        self._place += self._rows
        if self._place >= len(self._records):
            self._epoch, self._place = self._epoch + 1, 0
        return batch_of([self._records[index] for index in chosen], self._pad)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "place": self._place, **self._identity}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it was taken from other records or with another batch.
        """
        if any(state.get(name) != value for name, value in self._identity.items()):
            raise UserError(
                "the checkpoint's place in the data was taken with other preferences or another batch",
                where="loader", fix="train with those of the checkpoint, or start a new run",
            )  # fmt: skip
        self._epoch, self._place = int(state["epoch"]), int(state["place"])


def in_order(records: Records, *, rows: int, pad: int) -> list[Batch]:
    """Every record once: the fixed batches of an evaluation."""
    return [batch_of(part, pad) for part in _parts(records, rows)]


def _parts(records: Records, rows: int) -> Iterator[Records]:
    for start in range(0, len(records), rows):
        yield records[start : start + rows]
