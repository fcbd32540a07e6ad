"""Records that are longer than the context: counted, and cut, left out or refused, as the settings say. Never in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..contracts.errors import UserError
from ..contracts.task import MODEL_LENGTH, Row
from .shards import SOURCE, TOKENS

LOST = "lost"
"""The number, in what a task encodes, of tokens that it left out of a record for the rest to fit; counted here, and not stored."""


class Fit:
    """Looks at each encoded record of a split; what is dropped stays as a record of no tokens, so that places still agree.

    Args:
        choice: `cut` leaves the cutting to the loader, which knows the row.
        context: None where nothing can be too long.
        source_context: of what is read in a pair; `context` where None.
    """

    def __init__(self, choice: Literal["cut", "drop", "refuse"], context: int | None, source_context: int | None = None) -> None:
        self.choice, self.context, self.source_context = choice, context, source_context or context
        self.records = self.tokens = self.longest = 0
        """Records that are too long; the tokens that are lost; the longest side of such a record, in tokens."""

    def __call__(self, encoded: Row) -> Row:
        own = MODEL_LENGTH if MODEL_LENGTH in encoded else TOKENS
        lengths = {name: _length(encoded[name]) for name in (own, SOURCE) if name in encoded}
        allowed = {own: self.context, SOURCE: self.source_context}
        over = {name: length - (allowed[name] or length) for name, length in lengths.items()}
        left_out = encoded.get(LOST, 0)
        assert isinstance(left_out, int)
        encoded = {name: value for name, value in encoded.items() if name != LOST}
        if max(over.values()) <= 0 and not left_out:
            return encoded
        self.records += 1
        self.longest = max(self.longest, left_out + max(lengths[name] for name in over if over[name] > 0 or left_out))
        if self.choice != "drop":
            self.tokens += left_out + sum(max(count, 0) for count in over.values())
            return encoded
        self.tokens += left_out + sum(lengths.values())
        left: dict[str, Any] = {name: [] if isinstance(value, Sequence) else value for name, value in encoded.items()}
        return left | ({MODEL_LENGTH: 0} if own == MODEL_LENGTH else {})

    def check(self, split: str) -> None:
        """Refuse what is too long, where the settings say so; raises `UserError` with the count and the longest."""
        if self.records and self.choice == "refuse":
            raise UserError(
                f"{self.records} records of {split} are longer than the context of {self.context} tokens (the longest has {self.longest})",
                where="data.too_long", fix=f"set model.context to {self.longest}, or data.too_long to cut or drop",
            )  # fmt: skip


def _length(value: Any) -> int:
    return value if isinstance(value, int) else len(value)
