"""What a person may do from the page, beside reading: each act with the least role that it takes, its form, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..contracts.errors import UserError, quoted
from ..contracts.language import Words
from ..store.people import Role
from ..venture.venture import Venture
from .access import Person


@dataclass(frozen=True)
class Field:
    """One question of a form."""

    name: str
    label: Words
    kind: Literal["text", "long", "choice", "date", "password"] = "text"
    choices: Sequence[tuple[str, str]] = ()
    """Of a choice: each value, and what it is called."""
    required: bool = True
    value: str = ""
    """What stands there at first."""


@dataclass(frozen=True)
class Act:
    """One thing to do."""

    name: str
    """Its place in the address: POST /do/NAME."""
    place: str
    """The view that its form stands under, or `overview` or `people`."""
    least: Role
    heading: Words
    button: Words
    fields: Callable[[Venture], Sequence[Field] | None]
    """What its form asks; None where there is nothing to do now."""
    do: Callable[[Venture, Person, Mapping[str, str]], Words]
    """Does it, and says what was done; a `UserError` says why not."""
    in_view: bool = False
    """Whether the view has the forms for it itself, as a board has on its cards."""

    def answers(self, venture: Venture, form: Mapping[str, str]) -> dict[str, str]:
        """What the form was filled in with, held against its questions.

        Raises:
            UserError: an answer is missing, or one is not among the choices.
        """
        found = {}
        for field in self.fields(venture) or ():
            given = form.get(field.name, "").replace("\r\n", "\n")  # as browsers end a line
            value = given if field.kind == "password" else given.strip()
            if not value and field.required:
                raise UserError("this is not filled in", where=str(field.label), fix="fill it in")
            if value and field.kind == "choice" and value not in {choice for choice, _ in field.choices}:
                raise UserError(f"{quoted(value)} is not among the choices", where=str(field.label), fix="choose one of the list")
            found[field.name] = value
        return found
