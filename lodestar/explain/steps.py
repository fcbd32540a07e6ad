"""Long work in steps: a generator that yields where others may have their turn, and returns what it made.

A server answers many requests on one thread. What takes seconds is done there a step at a time, each about as long as one pass of the
model, so that a conversation goes on beside it. No context (inference mode, evaluation mode) may be held across a `yield`: it would be the
others', too.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]


def finish(steps: Steps[T]) -> T:
    """Do all of the steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
