"""POST /v1/feedback, and what a request says of its user: facts for the ledger, never more than was sent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import openai
import pytest

from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service

Start = Callable[..., AbstractContextManager[str]]


def ask(url: str, **body: Any) -> str:
    return str(httpx.post(f"{url}/v1/classify", json={"input": "a", **body}, timeout=60).raise_for_status().json()["id"])


def send(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/feedback", json=body, timeout=60)


def test_an_opinion_and_what_came_of_an_answer_are_taken_apart_or_together(
    start: Start, judge: Service, facts: list[dict[str, Any]]
) -> None:
    with start(judge) as url:
        id = ask(url)
        assert send(url, id=id, outcome=True).json() == {"object": "feedback", "id": id, "rating": None, "outcome": True}
        assert send(url, id=id, rating="down", comment="晚了", outcome=False).status_code == 200
    assert [(fact["rating"], fact["comment"], fact["outcome"]) for fact in facts[1:]] == [(None, "", True), ("down", "晚了", False)]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "The feedback says nothing. Send `rating` (up or down), `outcome` (true or false), or both."),
        ({"comment": "well"}, "The feedback says nothing."),
        ({"rating": "good"}, "'rating' must be 'up' or 'down'"),
        ({"outcome": "yes"}, "'outcome' must be a valid boolean"),
        ({"rating": "up", "comment": "x" * 2001}, "'comment' must be"),
    ],
)
def test_feedback_that_cannot_be_kept_is_one_sentence(start: Start, judge: Service, body: dict[str, Any], sentence: str) -> None:
    with start(judge) as url:
        refused = send(url, id=ask(url), **body)
    assert refused.status_code == 400
    assert sentence in refused.json()["error"]["message"]


def test_feedback_on_an_answer_of_an_earlier_server_is_taken_where_the_ledger_knows_it(judge: Service) -> None:
    told: list[dict[str, Any]] = []
    with serving(judge, on_request=told.append, answered=lambda id: id == "clsf-earlier") as url:
        assert send(url, id="clsf-earlier", outcome=True).status_code == 200
        refused = send(url, id="clsf-never", outcome=True)
    assert refused.status_code == 404
    assert "There is no answer 'clsf-never'" in refused.json()["error"]["message"]
    assert [fact["id"] for fact in told] == ["clsf-earlier"]


def test_a_user_is_told_only_where_the_client_names_one(start: Start, judge: Service, facts: list[dict[str, Any]]) -> None:
    with start(judge) as url:
        ask(url)
        ask(url, user="u-17")
        refused = httpx.post(f"{url}/v1/classify", json={"input": "a", "user": 17}, timeout=60)
    assert refused.status_code == 400
    assert "'user' must be a text of at most 512 characters" in refused.json()["error"]["message"]
    assert [fact["user"] for fact in facts] == [None, "u-17", None]


def test_openai_s_client_names_its_user_and_counts_its_retries(start: Start, poet: Service, facts: list[dict[str, Any]]) -> None:
    with start(poet) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        client.completions.create(model="tiny-poet", prompt="月", max_tokens=2, user="u-17")
        client.completions.create(model="tiny-poet", prompt="月", max_tokens=2, extra_headers={"x-stainless-retry-count": "2"})
        client.completions.create(model="tiny-poet", prompt="月", max_tokens=2, extra_headers={"x-stainless-retry-count": "many"})
    assert [(fact["user"], fact["retries"]) for fact in facts] == [("u-17", 0), (None, 2), (None, 0)]
