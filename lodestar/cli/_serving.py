"""What serving needs from a venture: the release's task, and a place in the ledger for what was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import clock
from ..contracts.errors import UserError
from ..contracts.progress import note
from ..store.files import read_json

if TYPE_CHECKING:
    from ..contracts.task import Task
    from ..deploy.canary import Canary
    from ..venture.rollout import Rollout
    from ..venture.venture import Venture

PRESENCE_SECONDS = 30.0
"""How often a server says that it is there: so much of the time of a killed one is not paid for."""


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


@dataclass(frozen=True)
class Record:
    """What a server tells the venture's ledger, and asks of it."""

    venture: Venture
    rollout: Rollout | None = None
    """Where a second release is tried out: what is watched."""
    canary: Canary | None = None
    """And what is stopped when that one is worse."""

    def note(self, facts: dict[str, Any]) -> None:
        """Write down the facts of a request, or a user's feedback on one."""
        from ..store.ledger import FeedbackRow, Request
        from ..venture.users import user_hash

        ledger = self.venture.ledger
        if "latency_ms" not in facts:
            release = ledger.release_of(facts["id"])
            assert release is not None  # told on the same thread, and after its answer
            said = {name: facts[name] for name in ("rating", "comment", "outcome")}
            feedback = FeedbackRow(time=clock.precise_timestamp(), release=release, request=facts["id"], **said)
            ledger.add_feedback(feedback)
            self._watch(lambda rollout: rollout.feedback(feedback))
            return
        user = None if facts["user"] is None else user_hash(self.venture, facts["user"])
        request = Request(
            time=facts["at"], release=facts["release"], route=facts["route"], tokens_in=facts["prompt_tokens"],
            tokens_out=facts["completion_tokens"], status=facts["status"], latency_ms=facts["latency_ms"], id=facts["id"],
            first_token_ms=facts["first_token_ms"], user_hash=user, retries=facts["retries"], arm=facts["arm"],
        )  # fmt: skip
        ledger.add_request(request)
        self._watch(lambda rollout: rollout.request(request))

    def _watch(self, observe: Callable[[Rollout], None]) -> None:
        """Take a fact into account, and the new release back, where that shows it to be worse."""
        if self.rollout is None or self.canary is None or self.canary.stopped:
            return
        from ..venture.rollout import take_back

        observe(self.rollout)
        if self.rollout.alarm is not None:
            self.canary.stop()
            note(str(take_back(self.venture, self.rollout)))

    def answered(self, id: str) -> bool:
        """Whether the ledger knows an answer of this id."""
        return self.venture.ledger.release_of(id) is not None


@contextmanager
def on_record(venture: Venture, release: str, rollout: Rollout | None = None, canary: Canary | None = None) -> Iterator[Record]:
    """A record of what is served, and of the time in which a server is there to serve it, which is paid for whether it is asked or not."""
    ledger = venture.ledger
    number = ledger.start_server(release, clock.precise_timestamp())
    over = threading.Event()

    def say_that_it_is_there() -> None:
        while not over.wait(PRESENCE_SECONDS):
            with suppress(UserError):  # a ledger that is away for a while is told when it is back
                ledger.see_server(number, clock.precise_timestamp())

    presence = threading.Thread(target=say_that_it_is_there, name="lodestar-presence", daemon=True)
    presence.start()
    try:
        yield Record(venture, rollout, canary)
    finally:
        over.set()
        presence.join()
        ledger.see_server(number, clock.precise_timestamp())
