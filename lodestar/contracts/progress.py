"""Progress bars with rate and time left, for anything that takes more than a second."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Bar(Protocol):
    """What a step may do with its bar."""

    total: float | None

    def update(self, n: float = 1) -> object: ...
    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None: ...


@contextmanager
def bar(label: str, total: float | None, unit: str, *, initial: float = 0) -> Iterator[Bar]:
    """A bar on standard error; in a log file (no terminal) it prints a line every ten seconds instead."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    scale = unit == "B"
    with tqdm(
        total=total, desc=label, unit=unit, initial=initial, unit_scale=scale, dynamic_ncols=terminal,
        mininterval=0.2 if terminal else 10.0, delay=1.0, leave=True, file=sys.stderr,
    ) as shown:  # fmt: skip
        yield shown


def track(items: Iterable[T], label: str, unit: str, *, total: int | None = None) -> Iterator[T]:
    """The items, with a bar over them."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with bar(label, total, unit) as shown:
        for item in items:
            yield item
            shown.update()


def note(sentence: str) -> None:
    """A line on standard error for the person who waits, above any bar."""
    from tqdm import tqdm

    tqdm.write(sentence, file=sys.stderr)
