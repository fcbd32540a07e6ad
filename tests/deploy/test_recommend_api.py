"""POST /v1/recommend: what a client sends, and what it is told of its mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import torch

from lodestar import tasks
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import special_tokenizer


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Of a recommender of the sample's films, with random weights."""
    task = tasks.find("recommendation")()
    gathered = task.gather(((record, "") for record in task.sample()), {})
    assert gathered is not None
    task.fit([example for example, _ in gathered])
    shape: dict[str, Any] = {"width": 32, "depth": 1, "heads": 2, "context": 16, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    service = Service("archive-v1", task, task.build(config).eval(), special_tokenizer(), config)
    with serving(service) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


def test_a_long_history_is_one_input(client: httpx.Client) -> None:
    answer = client.post("/v1/recommend", json={"history": ["snow-bridge", "tea-caravan"] * 150, "k": 3})
    assert answer.status_code == 200
    told = answer.json()
    assert told["object"] == "recommendations"
    assert told["usage"]["prompt_tokens"] == 300
    assert len(told["recommendations"]) == 3
    assert not {"snow-bridge", "tea-caravan"} & {each["item"] for each in told["recommendations"]}


def test_nothing_to_go_by_is_answered_and_said(client: httpx.Client) -> None:
    for history in ([], ["no such film"]):
        told = client.post("/v1/recommend", json={"history": history}).json()
        assert (told["fallback"], told["unknown"], len(told["recommendations"])) == ("popularity", history, 10)


def test_the_page_knows_how_many_items_there_are(client: httpx.Client) -> None:
    card = client.get("/api/release").json()
    assert card["choices"] == {"items": 48}
    assert all(client.post("/v1/recommend", json=example).json()["unknown"] == [] for example in card["examples"])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"history": "snow-bridge"}, "the field 'history' is 'snow-bridge'"),
        ({"history": [], "k": 101}, "the field 'k' is 101"),
        ({"viewer": "ada"}, "unknown field 'viewer'"),
        ({"history": ["snow-bridge"], "search": "snow"}, "search and history were both sent"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence(client: httpx.Client, body: dict[str, Any], sentence: str) -> None:
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert sentence in message
    assert len(message) < 400
