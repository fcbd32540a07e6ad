"""Two releases behind one server: who gets which is drawn once for each user, and is told of each request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from lodestar.build.bundle import Bundle, save_bundle
from lodestar.cli._serving import on_record
from lodestar.cli.main import main
from lodestar.deploy.canary import Canary
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.venture.rollout import TAKEN_BACK, Rollout, Terms
from lodestar.venture.venture import Venture


@pytest.fixture
def canary(judge: Service, tmp_path: Path) -> Canary:
    folder = tmp_path / "judge-2"
    save_bundle(folder, Bundle(judge.model, judge.config, judge.tokenizer, judge.task.describe()))
    return Canary(folder, judge.task, 0.4, "north")


@contextmanager
def both(judge: Service, canary: Canary, told: list[dict[str, Any]]) -> Iterator[httpx.Client]:
    with (
        serving(replace(judge, release="v1"), on_request=told.append, canary=canary) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def ask(client: httpx.Client, **body: Any) -> str:
    return str(client.post("/v1/classify", json={"input": "a", **body}).raise_for_status().json()["model"])


def test_a_user_always_gets_the_same_and_the_share_is_kept(canary: Canary) -> None:
    users = [f"u{number}" for number in range(5000)]
    taken = [canary.takes(user) for user in users]
    assert taken == [canary.takes(user) for user in users]
    assert 0.37 < sum(taken) / 5000 < 0.43
    other = [replace(canary, key="south").takes(user) for user in users]
    assert 0.4 < sum(a == b for a, b in zip(taken, other, strict=True)) / 5000 < 0.64, "another key draws anew: 0.4² + 0.6²"
    assert 0.37 < sum(canary.takes(None) for _ in range(5000)) / 5000 < 0.43


def test_each_request_is_told_with_its_release_until_the_canary_is_stopped(judge: Service, canary: Canary) -> None:
    told: list[dict[str, Any]] = []
    users = [f"u{number}" for number in range(12)]
    expected = ["canary" if canary.takes(user) else "current" for user in users]
    assert set(expected) == {"canary", "current"}
    with both(judge, canary, told) as client:
        answered = [ask(client, user=user, model="tiny-judge") for user in users]
        assert answered == [{"canary": "judge-2", "current": "tiny-judge"}[arm] for arm in expected]
        assert ask(client, model="judge-2") == "judge-2"
        assert {model["id"] for model in client.get("/v1/models").json()["data"]} == {"tiny-judge", "judge-2"}
        canary.stop()
        assert {ask(client, user=user) for user in users} == {"tiny-judge"}
    assert [fact["arm"] for fact in told] == [*expected, None, *[None] * 12]
    assert all(fact["release"] == "v1" for fact in told if fact["arm"] == "current")


def test_a_canary_that_fails_is_taken_back_by_itself_and_nobody_meets_it_again(judge: Service, canary: Canary, tmp_path: Path) -> None:
    class Broken(type(judge.task)):  # type: ignore[misc]
        def answer(self, *_: Any) -> dict[str, Any]:
            raise RuntimeError("a bug that no test found")

    assert main(["new", "x", "--template", "classification", "--path", str(tmp_path / "x")]) == 0
    venture = Venture.open(tmp_path / "x")
    canary.task = Broken()
    rollout = Rollout(Terms("v1", "v2", canary.share, None, "2026-01-01T00:00:00.000Z"))
    statuses = []
    with (
        on_record(venture, "v1", rollout, canary) as record,
        serving(replace(judge, release="v1"), on_request=record.note, answered=record.answered, canary=canary) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        number = 0
        # The ledger is told on a thread of its own, and a busy disk lets it fall behind the answers.
        while not canary.stopped and number < 10_000:
            statuses.append(client.post("/v1/classify", json={"input": "a", "user": f"u{number}"}).status_code)
            number += 1
        assert canary.stopped
        after = {client.post("/v1/classify", json={"input": "a", "user": f"u{again}"}).status_code for again in range(40)}
    assert set(statuses) == {200, 500}
    assert after == {200}
    (event,) = venture.ledger.events(TAKEN_BACK)
    assert event.detail["signal"] == "failed"
    assert event.detail["current_events"] == 0
    assert "v2 was taken back: requests that failed came" in event.detail["words"]["en"]
    assert sum(request.arm == "canary" and request.status == 500 for request in venture.ledger.requests()) == statuses.count(500)
