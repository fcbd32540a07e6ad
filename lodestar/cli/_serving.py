"""What serving needs from a venture: the release's task, and a place in the ledger for what was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.errors import UserError
from ..store.files import read_json

if TYPE_CHECKING:
    from ..contracts.task import Task
    from ..venture.venture import Venture


def task_of(release: Path) -> Task:
    """The task of a release's folder."""
    from .. import tasks

    return tasks.load(read_json(release / "task.json"))


def named_folders(given: Iterable[str]) -> dict[str, Path]:
    """NAME=FOLDER, several times, as a mapping.

    Raises:
        UserError: one is none of these, or a name stands twice.
    """
    found: dict[str, Path] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not (name and equals and folder):
            raise UserError(f"{one!r} is no NAME=FOLDER", where="--adapter", fix="write such as --adapter mate=runs/train-1/adapter")
        if name in found:
            raise UserError(f"two adapters are called {name!r}", where="--adapter", fix="give them different names")
        found[name] = Path(folder)
    return found


def note_in(venture: Venture, release: str) -> Callable[[dict[str, Any]], None]:
    """A function that writes the facts of a request, or a user's feedback on one, into the venture's ledger."""
    from ..store.ledger import Request

    ledger = venture.ledger

    def note(facts: dict[str, Any]) -> None:
        if "latency_ms" not in facts:
            ledger.add_event("feedback", {"release": release, **facts})
            return
        taken, written = facts["prompt_tokens"], facts["completion_tokens"]
        ledger.add_request(
            Request(
                time=facts["at"], release=release, route=facts["route"], tokens_in=taken, tokens_out=written, status=facts["status"],
                latency_ms=facts["latency_ms"], id=facts["id"], first_token_ms=facts["first_token_ms"],
            )
        )  # fmt: skip

    return note
