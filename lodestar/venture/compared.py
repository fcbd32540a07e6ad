"""The last comparison of the strategies, kept as it was made: for who may not wait for another, and shows what was known then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..contracts.config import Config
from ..contracts.record import fingerprint
from ..store.files import read_json, sha256_file, write_json
from .decision import Comparison, Problem
from .pilots import evidence_folder

if TYPE_CHECKING:
    from .venture import Venture

COMPARISON_FILE = "comparison.json"
"""In the venture's state folder."""


class Compared(Config):
    """One comparison, with what it was made from."""

    basis: str
    """The fingerprint of venture.yaml and of what the pilots had measured."""
    problem: Problem
    comparison: Comparison

    def is_of(self, venture: Venture) -> bool:
        """Whether nothing that it rests on has changed since."""
        return self.basis == _basis(venture)


def keep(venture: Venture, problem: Problem, comparison: Comparison) -> None:
    """Keep a comparison, in the place of the one before it."""
    made = Compared(basis=_basis(venture), problem=problem, comparison=comparison)
    write_json(venture.state / COMPARISON_FILE, made.model_dump(mode="json"))


def last_comparison(venture: Venture) -> Compared | None:
    """The one that was kept last; None where strategies were never compared."""
    path = venture.state / COMPARISON_FILE
    return Compared.parse(read_json(path), where=path) if path.exists() else None


def _basis(venture: Venture) -> str:
    # An evidence file is named by the hash of its content.
    measured = sorted(path.name for path in evidence_folder(venture).glob("*.json"))
    return fingerprint({"venture": sha256_file(venture.path), "measured": measured})
