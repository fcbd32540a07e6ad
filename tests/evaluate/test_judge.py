"""Preferences told by judges whose taste is known, each behind a server of its own."""

from __future__ import annotations

import itertools
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.evaluate.judge import Choice, Judgement, Pair, check_judge, http_judge, judge, preference

ASKED = [{"role": "user", "content": "Which way is north?"}]
PAIRS = [Pair(ASKED, f"South {number}.", f"By the star, {number}.") for number in range(12)]
Taste = Callable[[str, str], str]


@contextmanager
def server(
    taste: Taste, seen: list[dict[str, Any]] | None = None, key: str | None = None, busy: Callable[[], int] = lambda: 0
) -> Iterator[str]:
    """An OpenAI-compatible server that tells which of the two answers it was shown it likes; `busy` gives the status of a refusal, or 0."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if seen is not None:
                seen.append(body)
            allowed = key is None or self.headers.get("Authorization") == f"Bearer {key}"
            shown = json.loads(body["messages"][-1]["content"])
            told = {"choices": [{"message": {"content": taste(shown["answer A"], shown["answer B"])}}]} if allowed else {"error": "no key"}
            data = json.dumps(told).encode()
            self.send_response(busy() or (200 if allowed else 401))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    opened = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=opened.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{opened.server_address[1]}/v1"
    finally:
        opened.shutdown()
        thread.join()
        opened.server_close()


def likes_stars(a: str, b: str) -> str:
    return json.dumps({"winner": "tie" if ("star" in a) == ("star" in b) else "A" if "star" in a else "B"})


def test_the_better_answer_wins_wherever_it_stands() -> None:
    seen: list[dict[str, Any]] = []
    with server(likes_stars, seen) as url:
        found = preference(PAIRS, judge(http_judge(url, None), "critic", PAIRS))
    assert (found.wins, found.losses, found.ties, found.contradictions) == (12, 0, 0, 0)
    assert (found.win_rate.value, found.verdict) == (1.0, "B")
    assert found.longer == 1.0
    assert len(seen) == 24
    assert {body["model"] for body in seen} == {"critic"}
    # Each answer stood first once.
    first, second = (json.loads(body["messages"][-1]["content"]) for body in seen[:2])
    assert (first["answer A"], first["answer B"]) == (second["answer B"], second["answer A"]) == ("South 0.", "By the star, 0.")


def test_a_judge_that_leans_to_a_place_decides_nothing() -> None:
    with server(lambda a, b: '{"winner": "A"}') as url:
        found = preference(PAIRS, judge(http_judge(url, None), "critic", PAIRS))
    assert (found.ties, found.contradictions, found.win_rate.value, found.verdict) == (12, 12, 0.5, "tie")
    assert found.longer is None


def test_half_won_and_half_lost_cannot_be_told_apart() -> None:
    pairs = [Pair(ASKED, "star", "sun") if number % 2 else Pair(ASKED, "sun", "star") for number in range(12)]
    with server(likes_stars) as url:
        found = preference(pairs, judge(http_judge(url, None), "critic", pairs))
    assert found.win_rate.value == 0.5
    assert found.win_rate.low < 0.5 < found.win_rate.high
    assert found.verdict == "tie"


@pytest.mark.parametrize(("wins", "losses", "ties"), [(1, 0, 0), (5, 0, 0), (6, 0, 0), (40, 20, 40), (35, 25, 0), (0, 9, 1), (0, 0, 4)])
def test_a_verdict_is_one_where_a_sign_test_finds_it(wins: int, losses: int, ties: int) -> None:
    """The sign test counted out: how often so uneven a split comes of tossing a coin."""
    split: list[tuple[Choice, int]] = [("B", wins), ("A", losses), ("tie", ties)]
    told = [winner for winner, times in split for _ in range(times)]
    found = preference([Pair(ASKED, "sun", "star")] * len(told), [Judgement(winner, winner) for winner in told])
    decided = wins + losses
    chance = 2 * sum(math.comb(decided, more) for more in range(max(wins, losses), decided + 1)) / 2**decided
    assert (found.verdict != "tie") == (chance <= 0.05)
    assert found.win_rate.value == pytest.approx((wins + ties / 2) / len(told))
    assert found.win_rate.low <= found.win_rate.value <= found.win_rate.high


def test_what_cannot_be_read_is_counted_and_decides_nothing() -> None:
    """One in four verdicts is chatter, or names both."""
    asked = itertools.count()

    def chatters(a: str, b: str) -> str:
        number = next(asked)
        if number % 8 == 0:
            return "Both are nice."
        return '{"winner": "A"}, or {"winner": "B"}?' if number % 8 == 3 else likes_stars(a, b)

    with server(chatters) as url:
        judged = judge(http_judge(url, None), "critic", PAIRS)
    found = preference(PAIRS, judged)
    assert (found.unread, found.wins, found.losses, found.ties, found.contradictions) == (6, 6, 0, 6, 0)
    assert [judged[0].first, judged[0].second, judged[1].first, judged[1].second] == [None, "B", "B", None]


def test_a_busy_server_is_asked_again() -> None:
    refusals = iter([429, 503])
    with server(likes_stars, busy=lambda: next(refusals, 0)) as url:
        assert len(judge(http_judge(url, None), "critic", PAIRS[:1])) == 1
    with server(likes_stars, busy=lambda: 429) as url, pytest.raises(UserError, match=r"answered 429.*; try again later"):
        check_judge(http_judge(url, None), "critic")


def test_the_question_s_language_is_the_judge_s() -> None:
    seen: list[dict[str, Any]] = []
    with server(likes_stars, seen) as url:
        judge(http_judge(url, None), "critic", [Pair([{"role": "user", "content": "哪边是北？"}], "南", "star")])
        judge(http_judge(url, None), "critic", PAIRS[:1], criteria="Only stars count.")
    assert "你比较" in seen[0]["messages"][0]["content"]
    assert seen[2]["messages"][0]["content"].endswith("Only stars count.")


def test_what_keeps_a_judge_from_judging_is_one_sentence() -> None:
    with server(likes_stars, key="open sesame") as url:
        check_judge(http_judge(url, "open sesame"), "critic")
        with pytest.raises(UserError, match="answered 401") as refused:
            check_judge(http_judge(url, "sesame"), "critic")
        assert "sesame" not in str(refused.value)
    with server(lambda a, b: "Both are nice.") as url, pytest.raises(UserError, match="no verdict but 'Both are nice"):
        check_judge(http_judge(url, None), "critic")
    with pytest.raises(UserError, match="cannot be asked"):
        check_judge(http_judge(url, None), "critic")
    with pytest.raises(UserError, match="no address"):
        http_judge("api.example.org", None)
