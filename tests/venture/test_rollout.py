"""A roll-out: watched as it goes, taken back where it is worse, and the same again after a restart."""

from __future__ import annotations

from typing import Literal

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.randomness import generator
from lodestar.store.ledger import FeedbackRow, Request
from lodestar.venture.product import release, releases
from lodestar.venture.rollout import STARTED, Rollout, Terms, latest_rollout, open_rollout, plan_words, take_back

Arm = Literal["current", "canary"]
TERMS = Terms(current="v1", canary="v2", share=0.2, slow_ms=100.0, started="2026-12-01T00:00:00.000Z")


def request(number: int, arm: Arm | None, *, status: int = 200, latency: float = 5.0, user: str | None = None) -> Request:
    return Request(
        time=f"2099-12-02T00:{number // 60 % 60:02}:{number % 60:02}.000Z", release="v2" if arm == "canary" else "v1", route="/v1/classify",
        tokens_in=1, tokens_out=0, latency_ms=latency, status=status, id=f"r{number}", user_hash=user, retries=0, arm=arm,
    )  # fmt: skip


def bad(number: int) -> FeedbackRow:
    return FeedbackRow(time="2099-12-03T00:00:00.000Z", release="v2", request=f"r{number}", rating="down")


@pytest.fixture
def two(venture, write_runs):
    """A venture with v1 and v2."""
    write_runs(venture)
    release(venture)
    write_runs(venture, "b", finished="2099-01-02T00:00:00Z")
    release(venture)
    return venture


@pytest.mark.parametrize("signal", ["failed", "slow", "bad"])
def test_each_signal_takes_it_back_and_says_why(signal):
    rollout = Rollout(TERMS)
    for number in range(40):
        if rollout.alarm is None:
            canary = number % 2 == 0
            status, latency = (500 if signal == "failed" else 200), (500.0 if signal == "slow" else 5.0)
            rollout.request(request(number, "canary" if canary else "current", status=status, latency=latency))
            if signal == "bad":
                rollout.feedback(bad(number))
    assert rollout.alarm == signal
    assert "v2 was taken back" in rollout.words().en
    assert "times as often as with v1" in rollout.words().en
    assert "v2 已自动回退" in rollout.words().zh


def test_what_was_not_drawn_and_what_the_client_did_wrong_tells_nothing():
    rollout = Rollout(TERMS)
    for number in range(100):
        rollout.request(request(number, None, status=500))
        rollout.request(request(1000 + number, "canary", status=400))
        rollout.feedback(bad(5000 + number))
    assert rollout.alarm is None
    assert all(test.new + test.current == 0 for test in rollout.tests.values())


def test_a_user_who_fails_again_and_again_is_one_user():
    rollout = Rollout(TERMS)
    for number in range(200):
        rollout.request(request(number, "canary", status=500, user="unlucky"))
    assert rollout.alarm is None
    assert rollout.tests["failed"].new == 1
    for number in range(200, 220):
        rollout.request(request(number, "canary", status=500, user=f"user{number}"))
    assert rollout.alarm == "failed"


def test_a_release_that_is_alike_is_taken_back_once_in_twenty_at_most_even_where_failures_come_in_bursts():
    """300 roll-outs of 2,000 requests whose failures depend on the hour; with chance, at most 24 false alarms."""
    random, alarms = generator(0, "rollouts"), 0
    for _ in range(300):
        rollout = Rollout(TERMS)
        burst = random.uniform(size=20) < 0.2
        drawn, failed = random.uniform(size=2000) < TERMS.share, random.uniform(size=2000) < 0.3
        for number in range(2000):
            if burst[number // 100] and failed[number] and rollout.alarm is None:
                rollout.request(request(number, "canary" if drawn[number] else "current", status=500))
        alarms += rollout.alarm is not None
    assert alarms <= 24


def test_a_roll_out_goes_on_after_a_restart_and_stays_taken_back(two):
    first, second = releases(two)
    rollout = open_rollout(two, first, second, 0.2)
    for number in range(2):
        two.ledger.add_request(request(number, "canary", status=500))
        rollout.request(request(number, "canary", status=500))
    again = open_rollout(two, first, second, 0.2)
    assert again.tests == rollout.tests
    assert len(two.ledger.events(STARTED)) == 1
    for number in range(2, 12):
        two.ledger.add_request(request(number, "canary", status=500))
    over = latest_rollout(two)
    assert over is not None
    assert over.alarm == "failed"
    assert take_back(two, over) == over.words()
    with pytest.raises(UserError, match=r"v2 was taken back: .* or try it once more with --again"):
        open_rollout(two, first, second, 0.2)


def test_what_was_taken_back_begins_from_nothing_when_it_is_tried_again(two, monkeypatch):
    first, second = releases(two)
    open_rollout(two, first, second, 0.2)
    for number in range(12):
        two.ledger.add_request(request(number, "canary", status=500))
    monkeypatch.setattr("lodestar.venture.rollout.precise_timestamp", lambda: "2099-12-31T00:00:00.000Z")
    assert open_rollout(two, first, second, 0.2, again=True).requests == {"current": 0, "canary": 0}
    assert open_rollout(two, first, second, 0.2).alarm is None, "the new one goes on"


@pytest.mark.parametrize(("share", "sentence"), [(0.0, "a share of 0 leaves nothing"), (1.0, "a share of 1 leaves nothing")])
def test_a_share_is_between_none_and_all(two, share, sentence):
    first, second = releases(two)
    with pytest.raises(UserError, match=sentence):
        open_rollout(two, first, second, share)
    with pytest.raises(UserError, match="v1 cannot be tried out beside itself"):
        open_rollout(two, first, first, 0.1)
    assert two.ledger.events() == []


def test_the_plan_says_how_soon_and_what_is_slow(two):
    first, second = releases(two)
    words = plan_words(open_rollout(two, first, second, 0.1).terms)
    assert "taken back within" in words.en
    assert "slow is above 100 ms" in words.en, "as the vision promises"
