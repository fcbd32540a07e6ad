"""The engine: one thread owns the model, and every request's work goes through it a turn at a time.

A request's work is an iterator: each `next` is one turn (for a completion, one token), and what it yields goes to the request's
listener. Up to `parallel` requests take turns, so a long answer never blocks a short one; the others wait, first come, first served,
and past `waiting` of them the engine says that it is busy. Turns are not batched across requests: the cache of the model has one length
for all of its rows, so requests that start at different times cannot share one forward pass.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ..contracts import clock
from ..contracts.errors import LodestarError

Work = Callable[[], Iterator[Any]]
"""Makes the iterator; called on the engine's thread, so that even its preparation takes a turn."""


@dataclass(frozen=True)
class Limits:
    """How much the engine takes on."""

    parallel: int = 4
    """Requests that take turns; each holds a KV cache."""
    waiting: int = 64
    """Requests that wait for their first turn; more are refused."""
    seconds: float = 300.0
    """From the arrival of a request to its last token, waiting included."""


class BusyError(LodestarError):
    """The queue is full, or the engine is closing; try again in `retry_after_s`."""

    def __init__(self, retry_after_s: int, waiting: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"The server is busy: {waiting} requests are waiting. Try again in {retry_after_s} s.")


class TimeLimitError(LodestarError):
    """A request took longer than `Limits.seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The request took longer than the limit of {seconds:g} s. Ask for fewer tokens, or try again when fewer wait.")


class JobCancelledError(LodestarError):
    """The request was withdrawn, or the engine was closed under it."""

    def __init__(self) -> None:
        super().__init__("The request was cancelled.")


@dataclass(frozen=True)
class Done:
    """The last event of every job: without an error, the work ran to its end."""

    error: Exception | None = None


class Job:
    """One request's work in the engine. `cancel` may be called from any thread, and more than once."""

    def __init__(self, work: Work, listener: Callable[[Any], None], deadline: float) -> None:
        self.work, self.listener, self.deadline = work, listener, deadline
        self.submitted, self.started = clock.seconds(), math.nan
        self.turns = 0
        self._steps: Iterator[Any] | None = None
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop the work before its next turn."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def queue_ms(self) -> float:
        """What it waited for its first turn; NaN before that."""
        return 1000 * (self.started - self.submitted)

    def turn(self) -> Done | None:
        """Take one turn, on the engine's thread; the job's end, or None while there is more to do."""
        if self._steps is None:
            self.started = clock.seconds()
            self._steps = self.work()
        self.turns += 1
        try:
            self.tell(next(self._steps))
        except StopIteration:
            return Done()
        return None

    def tell(self, event: Any) -> None:
        """Hand an event to the listener; a listener that is gone cancels the job."""
        try:
            self.listener(event)
        except RuntimeError:  # the listener's event loop has been closed
            self.cancel()

    def release(self) -> None:
        """Let go of the work, and with it of its KV cache."""
        close = getattr(self._steps, "close", None)
        if close is not None:
            close()
        self._steps = None


class Engine:
    """Runs jobs on a thread of its own, in turns. Use as a context manager, or call `close`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._active: deque[Job] = deque()
        self._closing = False
        self._recent_seconds: deque[float] = deque(maxlen=32)
        self._thread = threading.Thread(target=self._run, name="lodestar-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def active(self) -> int:
        """Requests that take turns now."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, work: Work, listener: Callable[[Any], None]) -> Job:
        """Queue `work`. The listener is called on the engine's thread with what the work yields, and at last with a `Done`.

        Raises:
            BusyError: when the queue is full or the engine is closing; nothing was queued then.
        """
        job = Job(work, listener, clock.seconds() + self.limits.seconds)
        with self._changed:
            # Both are counted: in a burst, requests that have a turn free stand in the queue until the engine comes to admit them.
            held = len(self._active) + len(self._waiting)
            if self._closing or held >= self.limits.parallel + self.limits.waiting:
                raise BusyError(self._retry_after_s(), len(self._waiting))
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def close(self) -> None:
        """Cancel what is left and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _retry_after_s(self) -> int:
        """When a place should be free: the recent mean time of a request, over the requests that run at once."""
        mean = sum(self._recent_seconds) / len(self._recent_seconds) if self._recent_seconds else 1.0
        return max(1, min(60, math.ceil(mean / self.limits.parallel)))

    def _run(self) -> None:
        with torch.inference_mode():
            while self._wait():
                for job in self._admit():
                    self._end(job, self._ended_early(job) or Done(JobCancelledError()))
                if self._active:
                    job = self._active[0]
                    end = self._turn(job)
                    if end is None:
                        self._active.rotate(-1)
                    else:
                        self._active.popleft()
                        self._end(job, end)
            for job in [*self._active, *self._waiting]:
                self._end(job, Done(JobCancelledError()))
            self._active.clear()
            self._waiting.clear()

    def _wait(self) -> bool:
        """Wait until there is work; False when the engine closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._active or self._waiting or self._closing)
            return not self._closing

    def _admit(self) -> list[Job]:
        """Let in what fits; returns the waiting ones that ended before their first turn."""
        with self._changed:
            ended = [job for job in self._waiting if self._ended_early(job)]
            for job in ended:
                self._waiting.remove(job)
            while self._waiting and len(self._active) < self.limits.parallel:
                self._active.append(self._waiting.popleft())
        return ended

    def _ended_early(self, job: Job) -> Done | None:
        if job.cancelled:
            return Done(JobCancelledError())
        if clock.seconds() > job.deadline:
            return Done(TimeLimitError(self.limits.seconds))
        return None

    def _turn(self, job: Job) -> Done | None:
        early = self._ended_early(job)
        if early is not None:
            return early
        try:
            return job.turn()
        except Exception as error:  # noqa: BLE001 - whatever a request's work raises ends that request, never the engine
            return Done(error)

    def _end(self, job: Job, end: Done) -> None:
        job.release()
        self._recent_seconds.append(clock.seconds() - job.submitted)
        job.tell(end)
