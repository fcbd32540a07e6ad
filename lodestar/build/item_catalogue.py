"""The items that a recommender knows, by their names, their titles and a part of a title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ..contracts.errors import UserError
from .item_terms import item_terms


class Catalogue:
    """A task's `state`, read: the items that were chosen in training, the commonest first, then those that are only described."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.items: Sequence[str] = state.get("items", [])
        self.titles: Sequence[str] = state.get("titles", [])
        self.counts: Sequence[int] = state.get("counts", [])
        """How often those that were chosen were."""
        self.terms: Sequence[str] = state.get("terms", [])
        self.terms_of_items: Sequence[Sequence[int]] | None = state.get("terms_of_items")

    @property
    def seen(self) -> int:
        """Items that were chosen in training."""
        return len(self.counts)

    @cached_property
    def places(self) -> dict[str, int]:
        """Name → place."""
        return {item: place for place, item in enumerate(self.items)}

    @cached_property
    def _by_title(self) -> dict[str, list[int]]:
        """Title in small letters → the places of all that have it."""
        found: dict[str, list[int]] = {}
        for place, title in enumerate(self.titles):
            found.setdefault(_plain(title), []).append(place)
        return found

    def title(self, item: str) -> str:
        """The title of an item; its name where nothing is known of it."""
        place = self.places.get(item)
        return item if place is None else self.titles[place]

    def named(self, place: int) -> dict[str, str]:
        """An item as it is told to a client."""
        return {"item": self.items[place], "title": self.titles[place]}

    def call(self, item: str) -> str:
        """What a person would call an item so that `find` finds it: its title, where no other has the same."""
        title = self.title(item)
        return title if len(self._by_title.get(_plain(title), [])) == 1 else item

    def find(self, called: str) -> int | None:
        """The place of an item that is called by its name or its title; None where there is no such item.

        Raises:
            UserError: several have this title.
        """
        if called in self.places:
            return self.places[called]
        found = self._by_title.get(_plain(called), [])
        if len(found) > 1:
            names = ", ".join(repr(self.items[place]) for place in found[:5])
            raise UserError(f"{len(found)} items are called {called!r}", where="request", fix=f"send the name of one: {names}")
        return found[0] if found else None

    def search(self, text: str, count: int) -> list[int]:
        """Items whose title holds a text: those that begin with it first, then the more popular ones."""
        wanted = _plain(text)
        found = [place for title, places in self._by_title.items() if wanted and wanted in title for place in places]
        return sorted(found, key=lambda place: (not _plain(self.titles[place]).startswith(wanted), place))[:count]


def catalogue_state(counts: Mapping[str, int], described: Mapping[str, tuple[str, str]], *, texts: bool) -> dict[str, Any]:
    """The state that `Catalogue` reads.

    Args:
        counts: how often each item was chosen in training.
        described: item → its title and its text.
        texts: whether terms are kept, and with them the items that nobody chose. Of one of these without a term that others have nothing
            is known, and it is left out.
    """
    seen = sorted(counts, key=lambda item: (-counts[item], item))
    others = sorted(described.keys() - counts.keys()) if texts else []
    names = [*seen, *others]
    terms, of_items = item_terms([" ".join(described.get(item, ("", ""))) for item in names]) if texts else ([], [])
    kept = [place for place in range(len(names)) if place < len(seen) or of_items[place]]
    items = [names[place] for place in kept]
    return {
        "items": items, "titles": [described.get(item, ("", ""))[0] or item for item in items], "counts": [counts[item] for item in seen],
        "terms": terms, "terms_of_items": [of_items[place] for place in kept] if terms else None,
    }  # fmt: skip


def _plain(title: str) -> str:
    return title.strip().casefold()
