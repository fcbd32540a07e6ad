"""A forecast: what somebody expects, how surely, and by when it will be known. It is resolved once, and scored then."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from .config import Config
from .errors import UserError

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class Quantiles(Config):
    """A quantity as three of its quantiles: one time in ten it comes out below `p10`, one time in ten above `p90`."""

    p10: FiniteFloat
    p50: FiniteFloat
    p90: FiniteFloat

    @model_validator(mode="after")
    def _in_order(self) -> Quantiles:
        if not self.p10 <= self.p50 <= self.p90:
            raise ValueError(f"p10 ({self.p10:g}), p50 ({self.p50:g}) and p90 ({self.p90:g}) must not fall; put them in order")
        return self


class Resolution(Config):
    """What came of a forecast."""

    outcome: bool | None = None
    """Whether the event happened."""
    value: FiniteFloat | None = None
    """What the quantity came out as, in the forecast's unit."""
    when: date
    """The day that it was resolved on."""
    source: Literal["ledger", "person"]
    """Whether it was read from the ledger or said by somebody."""
    reference: str = Field(min_length=1)
    """Where it can be looked up: the release, the runs, or who says so and on which grounds."""

    @model_validator(mode="after")
    def _one_answer(self) -> Resolution:
        if (self.outcome is None) == (self.value is None):
            raise ValueError("a resolution has exactly one of outcome (of an event) and value (of a quantity); give the one that it is")
        return self

    def words(self, unit: str = "") -> str:
        """`yes`, `no`, or the value with its unit."""
        if self.outcome is not None:
            return "yes" if self.outcome else "no"
        return f"{self.value:g} {unit}".rstrip()


class Forecast(Config):
    """One forecast: of an event, by its `probability`, or of a quantity, by its `quantiles`."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    """Its name in the ledger, for good."""
    statement: str = Field(min_length=1)
    """What is forecast, in one sentence that can turn out true or false, or the quantity in words."""
    by: str = Field(min_length=1)
    """Who forecasts: a person, or the part of Lodestar that computed it."""
    made: date
    """The day it was made on."""
    resolve_by: date
    """The day at whose end it is known, and what is then is compared with it."""
    probability: float | None = None
    """Of an event: how likely it is, strictly between 0 and 1."""
    quantiles: Quantiles | None = None
    """Of a quantity: where it will lie."""
    metric: str = ""
    """What it is about, where it is measured: a metric of the task or the system, or one that the ledger knows (venture/forecasts.py)."""
    unit: str = ""
    """The unit of the quantiles or of the threshold: the metric's own."""
    at_least: FiniteFloat | None = None
    """Of an event on a metric: the smallest value that makes it true."""
    at_most: FiniteFloat | None = None
    """Of an event on a metric: the largest value that makes it true."""
    resolution: Resolution | None = None
    """What came of it; absent until then, and never changed after."""

    @field_validator("probability")
    @classmethod
    def _never_certain(cls, probability: float | None) -> float | None:
        if probability is not None and not 0 < probability < 1:
            raise ValueError(
                f"a probability of {probability:g} is none that a forecast can have: 0 and 1 claim certainty, which no evidence could "
                "correct; give one strictly between them, such as 0.02 or 0.98"
            )
        return probability

    @model_validator(mode="after")
    def _one_kind(self) -> Forecast:
        if (self.probability is None) == (self.quantiles is None):
            raise ValueError("a forecast has exactly one of probability (of an event) and quantiles (of a quantity); give the one it is")
        thresholds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if self.quantiles is not None and (thresholds or not self.metric):
            raise ValueError("a forecast of a quantity names its metric and no threshold; name it, and leave at_least and at_most out")
        if self.probability is not None and len(thresholds) != bool(self.metric):
            raise ValueError("an event on a metric has exactly one of at_least and at_most, any other event none; give what it means")
        if self.resolve_by < self.made:
            raise ValueError(f"resolve_by ({self.resolve_by}) is before made ({self.made}); give a later day")
        if self.resolution is not None:
            self._check_kind(self.resolution)
        return self

    @property
    def is_event(self) -> bool:
        """Whether it has a probability, and comes true or does not."""
        return self.probability is not None

    def is_due(self, today: date) -> bool:
        """Whether its last day is over."""
        return today > self.resolve_by

    def happened(self, value: float) -> bool:
        """Whether `value` of the metric makes an event true."""
        assert self.is_event
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most

    def resolved(self, resolution: Resolution) -> Forecast:
        """This forecast with what came of it.

        Raises:
            UserError: it is resolved already, or an event is given a value, or a quantity an outcome.
        """
        if self.resolution is not None:
            known = self.resolution
            raise UserError(
                f"the forecast {self.id!r} was resolved on {known.when} as {known.words(self.unit)} ({known.reference})",
                fix="a forecast is resolved once; make a new one for what is still open",
            )
        try:
            self._check_kind(resolution)
        except ValueError as error:
            raise UserError(str(error)) from None
        return self.model_copy(update={"resolution": resolution})

    def content(self) -> dict[str, Any]:
        """What was forecast, as JSON, without what came of it: what a decision record is hashed over."""
        return self.model_dump(mode="json", exclude={"resolution"})

    def _check_kind(self, resolution: Resolution) -> None:
        if self.is_event and resolution.outcome is None:
            raise ValueError(f"the forecast {self.id!r} is of an event, which happens or does not; say which, and give no value")
        if not self.is_event and resolution.value is None:
            unit = f" in {self.unit}" if self.unit else ""
            raise ValueError(f"the forecast {self.id!r} is of a quantity, {self.metric}; give its value{unit}")
