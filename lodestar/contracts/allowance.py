"""How much longer a step may go on, where a budget says so."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UserError


@dataclass(frozen=True)
class Allowance:
    """A limit that ends a step early, all of its work kept."""

    seconds: float
    """From now on."""
    limit: str
    """The field that sets it, with the file that it stands in."""

    def used_up(self, stopped: str) -> UserError:
        """The error that a step ends with; `stopped` says where it stands."""
        return UserError(f"used up: {stopped}", where=self.limit, fix="raise it, and run the same command again to go on")
