"""An interaction as it stands in a file: who chose what, and when; or, without a user, what is known of an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import model_validator

from ..contracts.errors import UserError, nearest
from ..contracts.task import Example

CUSTOMARY = {
    "userId": "user", "user_id": "user", "movieId": "item", "item_id": "item", "itemId": "item", "timestamp": "time", "genres": "text",
}  # fmt: skip
"""Columns as the common data sets call them, where nothing else is said."""


class Interactions(Example):
    """What a user chose: one item and when, or all of them in their order. Without a user, what is known of an item."""

    user: str | None = None
    """Who chose; absent in a record that describes an item. A number is taken as its text."""
    item: str | None = None
    """The name that the item is known by."""
    items: list[str] = []
    """In its place, all that the user chose, in their order."""
    time: float | None = None
    """When, as a number that grows (seconds since 1970, say), or as a date. Absent, the order is that of the file."""
    times: list[float] = []
    """Of `items`."""
    rating: float | None = None
    """How much it was liked, for `options.least_rating`."""
    title: str = ""
    """What a person calls the item."""
    text: str = ""
    """What else is known of it in words: its kind, its maker, what it is about."""
    fresh: int | None = None
    """Of `items`, how many at the end are held out. Filled in when the data is prepared."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Numbers as names, dates as seconds, and the columns of the common data sets by their own names.

        Raises:
            UserError: there is no item in the record, or its date is none.
        """
        given: dict[str, Any] = {}
        for name, value in fields.items():
            field = CUSTOMARY.get(name, name)
            if name in cls.model_fields or field not in fields:
                given[field] = value
        if not given.get("item") and not given.get("items"):
            guess = nearest("item", [str(name) for name in fields])
            found = ", ".join(map(str, fields)) or "none"
            raise UserError(
                f"no column 'item' or 'items'; the columns found are {found}", fix=f"set data.columns: {{item: {guess or 'COLUMN'}}}"
            )
        for name in ("user", "item"):
            given[name] = name_of(given.get(name))
        if isinstance(given.get("items"), list):
            given["items"] = [name_of(item) for item in given["items"]]
        for name in ("rating", "title", "text"):
            if given.get(name) in ("", None):
                given.pop(name, None)
        given["time"] = seconds_of(given.get("time"))
        if isinstance(given.get("times"), list):
            given["times"] = [seconds_of(time) for time in given["times"]]
        return given

    @model_validator(mode="after")
    def _one_item_or_several(self) -> Self:
        if self.item is not None and self.items:
            raise ValueError("a record has item or items, not both; remove one")
        if self.times and len(self.times) != len(self.items):
            raise ValueError(f"{len(self.items)} items have {len(self.times)} times; give one for each, or none")
        if self.items and self.user is None:
            raise ValueError("a list of items needs the user who chose them; add user")
        return self

    @property
    def chosen(self) -> Sequence[str]:
        """The one item, or all of them."""
        return self.items if self.item is None else [self.item]


def name_of(value: Any) -> Any:
    """A user's or an item's name; a whole number as its digits, nothing as None."""
    if value in ("", None):
        return None
    # A column of integers with a gap is one of floats.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(int(value)) if number and float(value).is_integer() else str(value) if number else value


def seconds_of(value: Any) -> Any:
    """A time as a number: of a date the seconds since 1970, in UTC where it names no zone.

    Raises:
        UserError: it is neither.
    """
    if not isinstance(value, str):
        return value
    try:
        return float(value) if value else None
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise UserError(
            f"the time {value!r} is no number and no date", fix="write seconds, or 2026-12-31, or 2026-12-31T23:59:59"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
