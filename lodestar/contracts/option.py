"""An option of a decision: a way to the product, as far as its outcome follows from quantities that have evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from .config import Config

Kind = Literal["scratch", "fine-tune", "adapter", "api", "rules", "baseline"]
"""Train from scratch; fine-tune an open model, whole or by an adapter; prompt a bought API; rules that the team writes; the task's own
simplest method."""
UNTRAINED: Sequence[Kind] = ("api", "rules", "baseline")
"""Those of which no model of one's own comes."""


class Option(Config):
    """One way to the product. Each field that names a quantity holds its key among the evidence; one that is absent costs nothing.

    Two options that name the same key share the quantity: what turns out true of it, turns out true for both.
    """

    name: str = Field(min_length=1)
    """How the team calls it."""
    kind: Kind
    machine: str = ""
    """The machine that it is made and served on; none for a bought API."""
    metrics: dict[str, str]
    """Each target's metric → the quantity: what the finished product will score."""
    train_hours: str | None = None
    """Hours of the machine until the model is trained, on the machine that the evidence is from."""
    effort_days: str | None = None
    """Working days of people until it serves."""
    hour_price: str | None = None
    """The price of an hour of the machine."""
    speed: str | None = None
    """How many times as fast the machine is as the one that the evidence is from."""
    request_hours: str | None = None
    """Hours of the machine in one request, on the machine that the evidence is from."""
    request_price: str | None = None
    """The price of one request to a bought API."""
    settings: dict[str, Any] = {}
    """The fields of venture.yaml that make this option; None: the field is to be taken out."""
    infeasible: str = ""
    """Why it cannot be done, in words; empty where it can."""

    @property
    def quantities(self) -> tuple[str, ...]:
        """The keys of everything that its outcome depends on by itself."""
        named = (self.train_hours, self.effort_days, self.hour_price, self.speed, self.request_hours, self.request_price)
        return (*self.metrics.values(), *(key for key in named if key is not None))
