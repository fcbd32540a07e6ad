"""Money, always with its currency, and what a venture pays and asks for (venture.yaml: `economics`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from .config import Config
from .errors import UserError

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
"""As ISO 4217 names it: USD, CNY, EUR."""


class Money(Config):
    """An amount of one currency."""

    amount: float = Field(ge=0, allow_inf_nan=False)
    """How much."""
    currency: Currency
    """Of what: USD, CNY, EUR, …"""


class People(Config):
    """Somebody's work on the running product: support, moderation, being called at night."""

    role: str
    """What they do."""
    hours_per_week: float = Field(ge=0, le=168)
    """How long, on average."""
    hour: Money
    """What an hour costs, all included."""


class Price(Config):
    """What the product is sold for: by the request or by the token."""

    per_request: Money | None = None
    """For each request that is answered."""
    per_million_tokens: Money | None = None
    """For a million tokens, read and written, of requests that are answered."""

    @model_validator(mode="after")
    def _one_way(self) -> Price:
        if (self.per_request is None) == (self.per_million_tokens is None):
            raise ValueError("a price has exactly one of per_request and per_million_tokens; give the one that it is")
        return self

    @property
    def money(self) -> Money:
        found = self.per_request or self.per_million_tokens
        assert found is not None
        return found


class EconomicsSettings(Config):
    """What the running product costs and earns (venture.yaml: `economics`)."""

    currency: Currency
    """What the report counts in."""
    rates: dict[Currency, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """What one unit of another currency is worth in this one: `{EUR: 1.08}`."""
    machine_hour: Money | None = None
    """What an hour of the serving machine costs; `budget.per_hour` where absent."""
    people: list[People] = []
    """Who works on the running product."""
    price: Price | None = None
    """What it is sold for; without one there is no margin to tell."""

    @model_validator(mode="after")
    def _every_currency_has_a_rate(self) -> EconomicsSettings:
        for field, money in self._amounts():
            if not self.knows(money.currency):
                raise ValueError(
                    f"{field} is in {money.currency}, and the report counts in {self.currency}; "
                    f"say what one {money.currency} is worth in {self.currency}, with rates: {{{money.currency}: …}}"
                )
        return self

    def knows(self, currency: str) -> bool:
        """Whether amounts of a currency can be counted."""
        return currency == self.currency or currency in self.rates

    def convert(self, money: Money, what: str) -> float:
        """An amount in the report's currency; `what` it is of stands in the error.

        Raises:
            UserError: there is no rate for its currency.
        """
        if not self.knows(money.currency):
            raise UserError(
                f"{what} is in {money.currency}, and the report counts in {self.currency}", where="economics.rates",
                fix=f"say what one {money.currency} is worth in {self.currency}",
            )  # fmt: skip
        return money.amount * (1.0 if money.currency == self.currency else self.rates[money.currency])

    def _amounts(self) -> Iterator[tuple[str, Money]]:
        if self.machine_hour is not None:
            yield "machine_hour", self.machine_hour
        for person in self.people:
            yield f"people: {person.role}", person.hour
        if self.price is not None:
            yield "price", self.price.money
