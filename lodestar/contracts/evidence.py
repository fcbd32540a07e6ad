"""Evidence: a number that a decision rests on, with its interval and where it comes from."""

from __future__ import annotations

from datetime import date as Date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .config import Config
from .score import Direction

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Source = Literal["measured", "quoted", "assumed"]
Support = Literal["real", "positive", "share"]
"""Where a quantity can lie: anywhere, above 0, or from 0 to 1."""


class Evidence(Config):
    """One quantity as far as it is known."""

    value: FiniteFloat
    """The best guess."""
    low: FiniteFloat
    """The lower end of the interval."""
    high: FiniteFloat
    """The upper end of the interval."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """How surely the quantity lies in the interval; what is left lies below it and above it in halves."""
    unit: str
    """Of the value and of both ends: `ms`, `USD/hour`; `` for a ratio."""
    source: Source
    """`measured` here, `quoted` from somebody, or `assumed`."""
    date: Date
    """The day it was measured, quoted or assumed on."""
    reference: str = Field(min_length=1)
    """Where it can be looked up: the file that was measured into, the price list, or the grounds of the assumption."""
    hash: str | None = None
    """The SHA-256, in hex, of the file that `reference` names, where it names one."""
    support: Support = "real"
    """Where it can lie."""

    @model_validator(mode="after")
    def _in_order(self) -> Evidence:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"the interval from {self.low:g} to {self.high:g} does not hold the value {self.value:g}; give low ≤ value ≤ high"
            )
        if self.support == "positive" and self.low <= 0:
            raise ValueError(f"low is {self.low:g}, and the quantity lies above 0; give a low end above 0")
        if self.support == "share" and not (self.low >= 0 and self.high <= 1):
            raise ValueError(f"the interval from {self.low:g} to {self.high:g} leaves 0 to 1, where a share lies; narrow it")
        return self

    @property
    def certain(self) -> bool:
        """Whether there is nothing left to know."""
        return self.low == self.high

    def scaled(self, factor: float, unit: str) -> Evidence:
        """The same in another unit of which one of this unit is `factor`."""
        return self.model_copy(
            update={"value": self.value * factor, "low": self.low * factor, "high": self.high * factor, "unit": unit}
        )  # fmt: skip


def support_of(low: float, high: float, unit: str, better: Direction) -> Support:
    """Where a metric can lie, told from what was seen of it: a ratio that is to be high, from 0 to 1, is a share."""
    if not unit and better == "higher" and low >= 0 and high <= 1:
        return "share"
    return "positive" if low > 0 else "real"
