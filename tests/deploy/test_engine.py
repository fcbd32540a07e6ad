"""The engine takes turns, refuses what it cannot hold, and stops what is no longer wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from lodestar.deploy.engine import BusyError, Done, Engine, Job, JobCancelledError, Limits, TimeLimitError, Work


class Listener:
    """Collects a job's events; `end` waits for the last."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()

    def __call__(self, event: Any) -> None:
        self.queue.put(event)

    def next(self) -> Any:
        return self.queue.get(timeout=60)

    def end(self) -> tuple[list[Any], Done]:
        events = []
        while not isinstance(event := self.next(), Done):
            events.append(event)
        return events, event


def submit(engine: Engine, work: Work) -> tuple[Job, Listener]:
    listener = Listener()
    return engine.submit(work, listener), listener


class Gate:
    """Work that takes each of its turns only when the test lets it."""

    def __init__(self) -> None:
        self.turns: SimpleQueue[None] = SimpleQueue()
        self.closed = threading.Event()

    def __call__(self) -> Iterator[int]:
        try:
            for turn in range(1_000_000):
                self.turns.get(timeout=60)
                yield turn
        finally:
            self.closed.set()

    def let(self) -> None:
        self.turns.put(None)


def test_requests_take_turns() -> None:
    """Three requests, submitted while the engine is held: their turns alternate, so the short one is not behind the long ones."""
    order: list[str] = []

    def work(name: str, turns: int) -> Work:
        def steps() -> Iterator[str]:
            for _ in range(turns):
                order.append(name)
                yield name

        return steps

    gate = Gate()
    with Engine(Limits(parallel=4)) as engine:
        gated, held = submit(engine, gate)
        listeners = [submit(engine, work(name, turns))[1] for name, turns in (("a", 4), ("b", 4), ("c", 1))]
        gate.let()
        held.next()
        gated.cancel()
        gate.let()
        for listener in listeners:
            assert listener.end()[1] == Done()
    assert order == ["a", "b", "c", "a", "b", "a", "b", "a", "b"]


def test_more_than_the_parallel_ones_wait_their_turn_and_more_than_the_waiting_ones_are_refused() -> None:
    gate = Gate()
    with Engine(Limits(parallel=1, waiting=1)) as engine:
        held, first = submit(engine, gate)
        gate.let()
        first.next()  # it is active now, so the queue is empty
        second, waiting = submit(engine, lambda: iter(["second"]))
        with pytest.raises(BusyError, match="1 requests are waiting") as refused:
            submit(engine, lambda: iter(["third"]))
        assert 1 <= refused.value.retry_after_s <= 60
        assert (engine.active, engine.waiting) == (1, 1)
        held.cancel()
        gate.let()
        assert waiting.end() == (["second"], Done())
        assert second.queue_ms > 0


def test_a_burst_is_not_refused_while_turns_are_free() -> None:
    """While a turn is under way nothing is admitted, so requests that will run at once stand in the queue for a moment."""
    gate = Gate()
    with Engine(Limits(parallel=3, waiting=1)) as engine:
        first, _ = submit(engine, gate)
        while not first.turns:  # the engine is now inside the first one's turn
            threading.Event().wait(0.001)
        rest = [submit(engine, lambda: iter(["done"]))[1] for _ in range(3)]
        with pytest.raises(BusyError):
            submit(engine, lambda: iter(()))
        first.cancel()  # or it would hold the engine again in its next turn
        gate.let()
        assert [listener.end()[0] for listener in rest] == [["done"]] * 3


def test_a_cancelled_job_takes_no_further_turn_and_lets_go_of_its_work() -> None:
    gate = Gate()
    with Engine() as engine:
        job, listener = submit(engine, gate)
        gate.let()
        assert listener.next() == 0
        job.cancel()
        gate.let()  # for the turn that may be under way
        events, end = listener.end()
        assert events in ([], [1])
        assert isinstance(end.error, JobCancelledError)
        assert gate.closed.is_set()
        assert job.turns <= 2


def test_a_job_cancelled_while_it_waits_never_starts() -> None:
    gate = Gate()
    with Engine(Limits(parallel=1)) as engine:
        held, first = submit(engine, gate)
        gate.let()
        first.next()
        job, listener = submit(engine, lambda: iter(["never"]))
        job.cancel()
        gate.let()
        assert isinstance(listener.end()[1].error, JobCancelledError)
        assert job.turns == 0
        held.cancel()
        gate.let()


def test_the_time_limit_ends_a_request_that_runs_and_one_that_waits() -> None:
    def slow() -> Iterator[int]:
        for turn in range(1_000_000):
            threading.Event().wait(0.01)
            yield turn

    with Engine(Limits(parallel=1, seconds=0.1)) as engine:
        _, running = submit(engine, slow)
        _, waiting = submit(engine, slow)
        for listener in (running, waiting):
            error = listener.end()[1].error
            assert isinstance(error, TimeLimitError)
            assert "0.1 s" in str(error)


def test_a_failing_request_ends_alone() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("ours")

    with Engine() as engine:
        _, failing = submit(engine, broken)
        events, end = failing.end()
        assert events == [1]
        assert isinstance(end.error, ZeroDivisionError)
        assert submit(engine, lambda: iter([2]))[1].end() == ([2], Done())


def test_a_listener_that_is_gone_cancels_its_job() -> None:
    gate = Gate()

    def gone(_: object) -> None:
        raise RuntimeError("Event loop is closed")

    with Engine() as engine:
        engine.submit(gate, gone)
        gate.let()
        gate.let()
        assert gate.closed.wait(60)


def test_closing_cancels_what_is_left_and_refuses_what_comes_after() -> None:
    gate = Gate()
    engine = Engine(Limits(parallel=1))
    _, active = submit(engine, gate)
    _, waiting = submit(engine, lambda: iter(["never"]))
    gate.let()
    active.next()
    gate.let()
    engine.close()
    assert isinstance(active.end()[1].error, JobCancelledError)
    events, end = waiting.end()
    assert events == []
    assert isinstance(end.error, JobCancelledError)
    with pytest.raises(BusyError):
        submit(engine, gate)
