"""What is told of each request, for the ledger: facts and counts, never its text."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from ..contracts import clock

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Answers that are remembered without a ledger."""


class Exchange:
    """One request and its answer, from arrival to end. `close` tells it, once."""

    def __init__(self, tell: Callable[[dict[str, Any]], None], route: str, prefix: str, release: str, retries: int) -> None:
        self._tell, self.route, self.release, self.retries = tell, route, release, retries
        self.user: str | None = None
        """Whom the client names; whoever is told of the exchange keeps it under another name, or not at all."""
        self.arm: str | None = None
        """Of two releases that are compared, the one that it was given by the draw; None where nothing is drawn."""
        self.id = f"{prefix}-{uuid4().hex}"
        self.at, self._start = clock.precise_timestamp(), clock.seconds()
        self.created = int(clock.now().timestamp())
        self.prompt_tokens = self.completion_tokens = 0
        self.queue_ms: float | None = None
        self.first_token_ms: float | None = None
        self.streamed = False
        self._closed = False

    def elapsed_ms(self) -> float:
        return 1000 * (clock.seconds() - self._start)

    def count(self, tokens: int) -> None:
        """So many new tokens have arrived."""
        if tokens and self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms()
        self.completion_tokens += tokens

    def close(self, status: int, outcome: str) -> None:
        """The end: its HTTP status (499 where the client had gone) and outcome: `stop`, `length`, `answered`, `cancelled`, …"""
        if self._closed:
            return
        self._closed = True
        self._tell(
            {
                "id": self.id, "route": self.route, "at": self.at, "status": status, "outcome": outcome, "streamed": self.streamed,
                "prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens,
                "release": self.release, "arm": self.arm, "user": self.user, "retries": self.retries,
                "queue_ms": self.queue_ms, "first_token_ms": self.first_token_ms, "latency_ms": self.elapsed_ms(),
            }
        )  # fmt: skip


class Exchanges:
    """All exchanges of a server. They are told on one thread of their own, in order, so that a slow ledger delays no answer.

    Args:
        answered: whether an id that this server does not remember is of an answer given earlier.
    """

    def __init__(self, on_request: Callable[[dict[str, Any]], None] | None, answered: Callable[[str], bool] | None = None) -> None:
        self._on_request, self._known_earlier = on_request, answered
        self._teller = ThreadPoolExecutor(1, thread_name_prefix="lodestar-exchanges")
        self._answered: OrderedDict[str, None] = OrderedDict()

    def begin(self, route: str, prefix: str, *, release: str = "", retries: int = 0) -> Exchange:
        """`prefix` begins the answer's id, as in OpenAI's `cmpl-…`; `retries` is how often the client tried before."""
        return Exchange(self._remember_and_tell, route, prefix, release, retries)

    def knows(self, answer_id: str) -> bool:
        """Whether this is the id of an answer. What came of one is often told days later: the ledger is asked, where there is one."""
        return answer_id in self._answered or (self._known_earlier is not None and self._known_earlier(answer_id))

    def tell(self, facts: dict[str, Any]) -> None:
        if self._on_request is not None:
            self._teller.submit(self._call, self._on_request, facts)

    def close(self) -> None:
        """Wait until all has been told."""
        self._teller.shutdown()

    def _remember_and_tell(self, facts: dict[str, Any]) -> None:
        if facts["status"] == 200:
            self._answered[facts["id"]] = None
            while len(self._answered) > REMEMBERED:
                self._answered.popitem(last=False)
        self.tell(facts)

    @staticmethod
    def _call(on_request: Callable[[dict[str, Any]], None], facts: dict[str, Any]) -> None:
        try:
            on_request(facts)
        except Exception:  # the ledger's trouble must not end the service; the log keeps it
            log.exception("a request could not be written to the ledger")
