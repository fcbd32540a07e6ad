"""A ledger from one database into another: everything, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import zip_longest

from ..contracts.errors import UserError
from .database import Row, Transaction, as_written, open_database
from .ledger import ROWS, Ledger

PAGE = 1000
"""Rows at a time."""


def copy_ledger(source: str, target: str) -> dict[str, int]:
    """Copy every row of a ledger into an empty database, or into one that an interrupted copy filled, and compare each with its copy.

    Args:
        source, target: addresses. Nobody else writes to the source meanwhile.

    Returns:
        Table → how many rows it has.

    Raises:
        UserError: the target holds another ledger. It is then as it was.
    """
    Ledger(source)
    Ledger(target)  # both have the schema of this version now
    counts: dict[str, int] = {}
    with open_database(source).transaction(write=True) as given, open_database(target).transaction(write=True) as taken:
        for kind in ROWS:
            taken.be_only_writer(kind)
        if all(next(_pages(taken, kind), None) is None for kind in ROWS):
            for kind in ROWS:
                for page in _pages(given, kind):
                    taken.add_numbered(page)
        for kind in ROWS:
            counts[kind.table] = 0
            for page, copied in zip_longest(_pages(given, kind), _pages(taken, kind)):
                if page is None or copied is None or [*map(_written, page)] != [*map(_written, copied)]:
                    raise UserError("this database holds another ledger", where=open_database(target).place, fix="name an empty one")
                counts[kind.table] += len(page)
    return counts


def _pages(transaction: Transaction, kind: type[Row]) -> Iterator[list[Row]]:
    """A table's rows in the order of their key, a page at a time."""
    key = kind.counted or fields(kind)[0].name
    page = transaction.find(kind, f"ORDER BY {key} LIMIT ?", PAGE)
    while page:
        yield page
        page = transaction.find(kind, f"WHERE {key} > ? ORDER BY {key} LIMIT ?", getattr(page[-1], key), PAGE)


def _written(row: Row) -> list[object]:
    return [as_written(getattr(row, field.name)) for field in fields(row)]
