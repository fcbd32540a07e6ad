"""A client that goes away stops its work: a real socket closes, and the engine is seen to stop."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from lodestar.deploy.api import create_app
from lodestar.deploy.engine import Engine, Job, Limits, Work
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service

# Patient, since machines that test are busy.
http_get, http_post = partial(httpx.get, timeout=60), partial(httpx.post, timeout=60)

LONG = {"prompt": "月", "max_tokens": 3000, "stop": "never to be found"}


class WatchedEngine(Engine):
    """Keeps the jobs, so that a test can see how many turns they took."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.jobs: list[Job] = []
        super().__init__(limits)

    def submit(self, work: Work, listener: Callable[[Any], None]) -> Job:
        job = super().submit(work, listener)
        self.jobs.append(job)
        return job


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> WatchedEngine:
    watched = WatchedEngine(Limits(parallel=1, waiting=2))
    monkeypatch.setattr("lodestar.deploy.serve.Engine", lambda _: watched)
    return watched


@pytest.fixture
def url(engine: WatchedEngine, slow_poet: Service, facts: list[dict[str, Any]]) -> Iterator[str]:
    with serving(slow_poet, on_request=facts.append) as address:
        yield address


def post(url: str, body: dict[str, Any]) -> socket.socket:
    """A request on a bare socket, of which the caller decides when it closes."""
    place = urlsplit(url)
    assert place.hostname
    sent = json.dumps(body).encode()
    connection = socket.create_connection((place.hostname, place.port or 80), timeout=10)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen within 60 s"
        time.sleep(0.002)


@pytest.mark.parametrize("stream", [True, False])
def test_a_closed_socket_stops_the_engine(url: str, engine: WatchedEngine, facts: list[dict[str, Any]], stream: bool) -> None:
    connection = post(url, {**LONG, "stream": stream})
    if stream:
        received = b""
        while b"data: " not in received:
            received += connection.recv(4096)
    until(lambda: bool(engine.jobs) and engine.jobs[0].turns > 5)
    connection.close()
    job = engine.jobs[0]
    until(lambda: job.cancelled)
    turns = job.turns
    until(lambda: engine.active == 0)
    assert job.turns <= turns + 1, "more than the token under way was made after the client had gone"
    assert job.turns < LONG["max_tokens"] * 0.9  # type: ignore[operator]
    until(lambda: bool(facts))
    assert (facts[0]["status"], facts[0]["outcome"]) == (499, "cancelled")
    assert 0 < facts[0]["completion_tokens"] <= job.turns
    # The engine is free for the next one.
    assert http_post(f"{url}/v1/completions", json={"prompt": "a", "max_tokens": 2}).status_code == 200


def test_a_client_that_leaves_the_queue_is_never_started(url: str, engine: WatchedEngine) -> None:
    running = post(url, LONG)
    until(lambda: bool(engine.jobs) and engine.jobs[0].turns > 0)
    waiting = post(url, LONG)
    until(lambda: engine.waiting == 1)
    waiting.close()
    until(lambda: engine.waiting == 0)
    assert engine.jobs[1].turns == 0
    running.close()


def test_a_full_queue_is_answered_with_503_and_a_time_to_retry(url: str, engine: WatchedEngine, facts: list[dict[str, Any]]) -> None:
    held = [post(url, LONG) for _ in range(3)]
    until(lambda: (engine.active, engine.waiting) == (1, 2))
    for stream in (True, False):
        response = http_post(f"{url}/v1/completions", json={**LONG, "stream": stream})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"] == {
            "message": f"The server is busy: 2 requests are waiting. Try again in {response.headers['retry-after']} s.",
            "type": "server_error",
            "param": None,
            "code": "busy",
        }
    assert http_get(f"{url}/healthz").json() == {"status": "ok", "model": "tiny-poet", "active": 1, "waiting": 2}
    for connection in held:
        connection.close()
    until(lambda: (engine.active, engine.waiting) == (0, 0))


def test_the_time_limit_is_told_before_and_within_a_stream(slow_poet: Service) -> None:
    with serving(slow_poet, limits=Limits(seconds=0.05)) as url:
        whole = http_post(f"{url}/v1/completions", json=LONG)
        streamed = http_post(f"{url}/v1/completions", json={**LONG, "stream": True})
    assert whole.status_code == 504
    assert "longer than the limit of 0.05 s" in whole.json()["error"]["message"]
    assert streamed.status_code == 200
    last = streamed.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"
    assert "[DONE]" not in streamed.text


def test_the_app_closes_its_engine(poet: Service) -> None:
    engine = Engine()
    app = create_app(poet, engine)
    assert app.title == "tiny-poet"
    engine.close()
    assert not engine._thread.is_alive()
