"""POST /v1/images/generations over HTTP: OpenAI's own client, streams of pictures on their way, and what is refused."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import openai
import pytest
import torch
from PIL import Image

from lodestar import tasks
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare import special_tokenizer

Start = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def painter() -> Service:
    """Draws something or other for each of the signs."""
    task = tasks.find("image-generation")({"size": 8, "patch": 4, "sampling": {"steps": 4}})
    task.fit(task.sample())
    config = ModelConfig.from_dict({"width": 32, "depth": 2, "heads": 2, **task.architecture()})
    torch.manual_seed(0)
    model = task.build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return Service("painter", task, model, special_tokenizer(), config)


def size_of(file: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(file))).size


def test_openais_client_asks_and_is_answered(painter: Service, start: Start, facts: list[dict[str, Any]]) -> None:
    with start(painter) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        answer = client.images.generate(
            model="painter", prompt="star", n=2, size="auto", response_format="b64_json", quality="auto", user="me",
            extra_body={"seed": 7, "guidance": 3, "steps": 5},
        )  # fmt: skip
    offline = painter.answer({"prompt": "star", "n": 2, "seed": 7, "guidance": 3, "steps": 5})
    assert answer.data is not None
    assert [each.b64_json for each in answer.data] == [each["b64_json"] for each in offline["data"]]
    assert size_of(str(answer.data[0].b64_json)) == (8, 8)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1, 8)
    assert answer.created > 1_700_000_000
    (told,) = facts
    assert (told["route"], told["status"], told["outcome"]) == ("/v1/images/generations", 200, "answered")
    assert (told["prompt_tokens"], told["completion_tokens"]) == (1, 8)


def test_openais_client_streams_pictures_on_their_way(painter: Service, start: Start, facts: list[dict[str, Any]]) -> None:
    with start(painter) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        events = list(client.images.generate(prompt="大", stream=True, partial_images=3, extra_body={"seed": 1, "steps": 8}))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    offline = painter.answer({"prompt": "大", "seed": 1, "steps": 8})
    assert events[-1].b64_json == offline["data"][0]["b64_json"]
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert [event.partial_image_index for event in partial] == [0, 1, 2]
    assert len({event.b64_json for event in partial}) == 3
    assert facts[0]["streamed"]


def test_several_pictures_are_streamed_side_by_side(painter: Service, start: Start) -> None:
    body = {"prompt": "star", "n": 2, "stream": True, "partial_images": 1, "seed": 3}
    with start(painter) as url, httpx.stream("POST", f"{url}/v1/images/generations", json=body, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    assert [(event["type"].rpartition(".")[2], event["index"]) for event in events] == [
        ("partial_image", 0), ("partial_image", 1), ("completed", 0), ("completed", 1),
    ]  # fmt: skip
    assert (events[0]["step"], events[0]["steps"]) == (2, 4)
    assert {event["seed"] for event in events[2:]} == {3}


def test_without_a_seed_pictures_differ_and_the_seed_is_told(painter: Service, start: Start) -> None:
    with start(painter) as url, httpx.Client(base_url=url, timeout=60) as client:
        first, second = (client.post("/v1/images/generations", json={"prompt": "star", "seed": None}).json() for _ in range(2))
        assert first["data"] != second["data"]
        again = client.post("/v1/images/generations", json={"prompt": "star", "seed": first["seed"]}).json()
    assert again["data"] == first["data"]


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"prompt": "tringle"}, 400, "the label 'tringle' stands in no training record; did you mean 'triangle'"),
        ({"n": 11}, 400, "less than or equal to 10"),
        ({"size": "1024x1024"}, 400, "the size '1024x1024' is not made here; ask for 8x8, or auto"),
        ({"guidance": 50}, 400, "less than or equal to 20"),
        ({"steps": 0}, 400, "greater than or equal to 1"),
        ({"response_format": "url"}, 400, "none is kept to be linked to. Leave response_format out, or set it to b64_json."),
        ({"quality": "hd"}, 400, "This server does not support 'quality'. Leave it out."),
        ({"stream": "yes"}, 400, "The parameter 'stream' must be true or false."),
        ({"model": "dall-e-3"}, 404, "There is no model 'dall-e-3' here. This server has 'painter'."),
        ({"prompt": "\ud800"}, 400, "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_sentence(
    painter: Service, start: Start, fields: dict[str, Any], status: int, sentence: str
) -> None:
    with start(painter) as url:
        content = json.dumps({"prompt": "star", **fields}).encode()
        told = httpx.post(f"{url}/v1/images/generations", content=content, headers={"Content-Type": "application/json"}, timeout=60)
    assert told.status_code == status
    assert sentence in told.json()["error"]["message"]


def test_a_mistake_in_a_stream_is_its_last_event(painter: Service, start: Start) -> None:
    with start(painter) as url:
        told = httpx.post(f"{url}/v1/images/generations", json={"prompt": "tringle", "stream": True}, timeout=60).text
    assert "did you mean 'triangle'" in told
    assert "[DONE]" not in told


def test_the_page_is_told_what_can_be_asked_for(painter: Service) -> None:
    told = painter.describe()
    assert told["form"] == "images"
    assert set(told["choices"]) >= {"labels", "size", "most", "steps", "guidance"}
    assert {example["prompt"] for example in told["examples"]} <= set(told["choices"]["labels"])
    assert "/v1/images/generations" in painter.curl("http://x")
