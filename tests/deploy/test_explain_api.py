"""POST /v1/explain over a real server: what it tells equals what is told offline, for every task; and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from lodestar import tasks
from lodestar.build.quantize import quantize
from lodestar.deploy.engine import Limits
from lodestar.deploy.routes import ApiLimits
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.explain.explanation import METHODS, explain
from lodestar.explain.request import ExplainRequest, answer
from lodestar.explain.rollout import rollout
from lodestar.explain.steps import finish
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from tests.text_tasks import TEXT_TASKS

Start = Callable[..., AbstractContextManager[str]]
TOLERANCE = 2e-5
"""Six digits are sent."""


WRITTEN = {"translation": "灯亮了。", "summarization": "The lamp is lit."}
"""Where the model's own answer would take long to write."""


def explained_service(name: str, **fields: Any) -> Service:
    task = tasks.find(name)()
    sample = list(task.sample())
    task.fit(sample)
    tokenizer = train_tokenizer([text for example in sample for text in task.texts(example)], 400, task.special_tokens)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 2, "heads": 2, "context": 512, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture(), **fields})
    torch.manual_seed(0)
    return Service(f"tiny-{name}", task, task.build(config).eval(), tokenizer, config, explainer=answer)


def asked_of(service: Service) -> dict[str, Any]:
    request = service.task.request(service.task.sample()[0])
    if service.task.endpoint == "embeddings":
        request["input"].append("Dogs are welcome.")
    return request


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_what_is_served_equals_what_is_told_offline(name: str) -> None:
    service = explained_service(name)
    request, output = asked_of(service), WRITTEN.get(name)
    asked = {"request": request, "output": output, "orders": 3}
    with serving(service) as url, httpx.Client(base_url=url, timeout=120) as client:
        assert client.get("/api/release").json()["explains"]
        told = client.post("/v1/explain", json={**asked, "layer": 2, "head": 1, "language": "zh"}).json()
        reading = service.task.reading(service.model, service.tokenizer, request, output)
        found = finish(explain(service.model, service.tokenizer, reading, layer=1, head=0, orders=3))
        assert told["object"] == "explanation"
        assert told["id"].startswith("expl-")
        assert told["answer"] == found.answer
        assert told["probability"] == pytest.approx(found.probability, abs=TOLERANCE)
        assert (told["layers"], told["heads"]) == (2, 2)
        assert [word["text"] for word in told["words"]] == told["columns"] == [word.text for word in found.words]
        for method in METHODS:
            assert [word[method] for word in told["words"]] == pytest.approx(found.importance[method].tolist(), abs=TOLERANCE, rel=1e-4)
            verdict = told["faithfulness"][method]
            assert verdict["curve"] == pytest.approx(found.verdicts[method].curve.tolist(), abs=TOLERANCE)
            assert verdict["believed"] == found.verdicts[method].wins
            assert any(character > "\u4e00" for character in verdict["sentence"])
        assert len(told["random_curve"]) == len(told["shares_removed"])
        np.testing.assert_allclose(told["attention"], found.maps[1][0], atol=TOLERANCE)
        np.testing.assert_allclose(np.sum(told["attention"], -1), 1, atol=1e-4)
        np.testing.assert_allclose(told["rollout"], found.flow, atol=TOLERANCE)
        assert (told["alignment"] is not None) == (service.config.architecture == "encoder-decoder")
        if told["alignment"] is not None:
            assert "".join(told["alignment"]["output"]).startswith(found.answer[:1])
            np.testing.assert_allclose(np.sum(told["alignment"]["weights"], -1), 1, atol=1e-4)
        # One pass shows a layer and a head, and the whole answer is theirs, too.
        seen = client.post("/v1/explain", json={**asked, "only": "attention", "layer": 2, "head": 1}).json()
        assert seen["attention"] == told["attention"]
        assert seen["columns"] == told["columns"]
        drawn = client.post("/v1/explain", json={**asked, "html": True}).json()
        assert drawn["html"].count('<svg class="plot"') == 3
        assert drawn["html"].count('<svg class="map"') == 3 + (told["alignment"] is not None)
        assert "<script" not in drawn["html"]
        assert "style=" not in drawn["html"]  # the page's security policy forbids it
        assert ":host" in drawn["css"]


@pytest.fixture(scope="module")
def sorter() -> Service:
    return explained_service("classification")


@pytest.fixture(scope="module")
def url(sorter: Service) -> Iterator[str]:
    with serving(sorter) as address:
        yield address


def test_the_roll_out_is_that_of_the_heads_that_are_served(url: str) -> None:
    """By hand: half the mean over heads and half the token itself, layer after layer; here every token is a word."""
    request = {"request": {"input": "q!z?x#k"}}
    with httpx.Client(base_url=url, timeout=60) as client:
        told = client.post("/v1/explain", json=request).json()
        assert all(word["tokens"][1] - word["tokens"][0] == 1 for word in told["words"])
        flow = np.eye(len(told["words"]))
        maps = []
        for layer in (1, 2):
            heads = [client.post("/v1/explain", json={**request, "only": "attention", "layer": layer, "head": head}) for head in (1, 2)]
            maps.append(np.array([head.json()["attention"] for head in heads]))
            flow = (maps[-1].mean(0) + np.eye(len(flow))) / 2 @ flow
    np.testing.assert_allclose(told["rollout"], flow, atol=1e-4)
    np.testing.assert_allclose(rollout([torch.tensor(one) for one in maps]), flow, atol=1e-12)


def test_the_label_s_probability_is_the_one_that_classify_tells(sorter: Service, url: str) -> None:
    sorter.task.state["calibration"] = {"temperature": 3.0}
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            shares = client.post("/v1/classify", json={"input": "很好用，推荐。"}).json()["probabilities"]
            for label, share in shares.items():
                told = client.post("/v1/explain", json={"request": {"input": "很好用，推荐。"}, "output": label, "orders": 1}).json()
                assert told["answer"] == label
                assert told["probability"] == pytest.approx(share, abs=TOLERANCE)
    finally:
        del sorter.task.state["calibration"]


LONG = "灯" * 600
BAD = [
    ({}, "the field 'request' is missing"),
    ({"request": "a text"}, "the field 'request' is 'a text'"),
    ({"request": {"input": "a"}, "outptu": "x"}, "unknown field 'outptu'; did you mean 'output'"),
    ({"request": {"inptu": "a"}}, "unknown field 'inptu'; did you mean 'input'"),
    ({"request": {"input": ""}}, "the text has no word whose part in the answer could be told; explain a longer text"),
    ({"request": {"input": ["a", "b"]}}, "several texts were sent, and one is explained at a time"),
    ({"request": {"input": ["a"] * 200}}, "at most 128 are answered at once"),
    ({"request": {"input": LONG}}, "the context has 512 tokens, and the text takes 1801; explain a part of the text"),
    ({"request": {"input": "a"}, "output": "postive"}, "unknown label 'postive'; did you mean 'positive'"),
    ({"request": {"input": "a"}, "layer": 3}, "there is no layer 3; the model has 2"),
    ({"request": {"input": "a"}, "head": 9, "only": "attention"}, "there is no head 9"),
    ({"request": {"input": "a"}, "layer": 0}, "greater than or equal to 1"),
    ({"request": {"input": "a"}, "orders": 1000}, "less than or equal to 199"),
    ({"request": {"input": "a"}, "language": "fr"}, "'en' or 'zh'"),
]


@pytest.mark.parametrize(("body", "sentence"), BAD, ids=range(len(BAD)))
def test_a_request_at_fault_is_one_sentence(url: str, body: dict[str, Any], sentence: str) -> None:
    response = httpx.post(f"{url}/v1/explain", json=body, timeout=60)
    assert response.status_code == 400, response.text
    assert sentence in response.json()["error"]["message"]


def test_other_refusals(url: str, sorter: Service) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        assert client.post("/v1/explain", json={"request": {"input": "a"}, "model": "other"}).status_code == 404
        half = client.post("/v1/explain", content=b'{"request": {"input": "\\ud800"}}', headers={"Content-Type": "application/json"})
        assert "surrogate" in half.json()["error"]["message"]
        assert client.post("/v1/explain", json=[1]).status_code == 400
        assert "POST /v1/explain" in client.get("/v1/nothing").json()["error"]["message"]
        assert client.post("/v1/explain", json={"request": {"input": "a b"}, "model": sorter.name, "orders": 1}).status_code == 200


def test_a_text_past_the_limit_is_refused_however_large_the_context() -> None:
    service = explained_service("text-generation", context=2048)
    with serving(service) as url:
        response = httpx.post(f"{url}/v1/explain", json={"request": {"prompt": "月" * 800}}, timeout=60)
    assert response.status_code == 400
    assert "and at most 512 are explained at once; explain a part of the text." in response.json()["error"]["message"]


def test_openai_s_body_is_taken_as_it_was_sent() -> None:
    service = explained_service("chat")
    body = {
        "messages": [{"role": "user", "content": "Which way is north?"}],
        "model": service.name,
        "stream": True,
        "user": "me",
        "n": None,
    }
    with serving(service) as url:
        told = httpx.post(f"{url}/v1/explain", json={"request": body, "output": "Up.", "orders": 2}, timeout=60)
    assert told.status_code == 200, told.text
    assert told.json()["answer"] == "Up."


def test_where_nothing_explains_there_is_no_route(judge: Service, poet: Service) -> None:
    for service in (judge, poet, replace(judge, explainer=answer)):  # the last one's task does not tell what its model read
        with serving(service) as url:
            assert not httpx.get(f"{url}/api/release").json()["explains"]
            assert httpx.post(f"{url}/v1/explain", json={"request": {"input": "a"}}).status_code == 404


def test_codes_have_no_gradients_and_it_is_said() -> None:
    service = explained_service("classification")
    quantize(service.model, bits=8)
    with serving(service) as url:
        response = httpx.post(f"{url}/v1/explain", json={"request": {"input": "a"}}, timeout=60)
    assert response.status_code == 400
    assert "the weights are codes, which have no gradients" in response.json()["error"]["message"]


@pytest.fixture(scope="module")
def writer() -> Service:
    return explained_service("text-generation")


PROMPT = "The lamp at the end of the pier burns for the boats. 灯为船而亮。" * 3
SLOW = {"request": {"prompt": PROMPT}, "output": "月", "orders": 99}
"""Takes about a hundred passes of the model."""


def test_a_stream_goes_on_while_an_explanation_is_made(writer: Service, start: Start, facts: list[dict[str, Any]]) -> None:
    ended: list[httpx.Response] = []
    with start(writer) as url:
        thread = threading.Thread(target=lambda: ended.append(httpx.post(f"{url}/v1/explain", json=SLOW, timeout=300)))
        thread.start()
        while httpx.get(f"{url}/healthz").json()["active"] == 0:
            pass
        body = {"prompt": "月", "max_tokens": 4, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as response:
            events = [line for line in response.iter_lines() if line.startswith("data: {")]
        assert not ended  # the stream had its turns before the explanation was done
        thread.join()
    assert ended[0].status_code == 200, ended[0].text
    assert sum(len(json.loads(event[6:])["choices"]) for event in events) >= 1
    assert [fact["route"] for fact in facts] == ["/v1/completions", "/v1/explain"]
    assert facts[1]["status"] == 200


def test_one_is_made_at_a_time_few_wait_and_who_leaves_stops_his(writer: Service, start: Start, facts: list[dict[str, Any]]) -> None:
    leaving = threading.Event()

    def endless(*_: Any) -> Iterator[None]:
        while True:
            yield None

    async def leave(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            asked = asyncio.ensure_future(client.post("/v1/explain", json=SLOW))
            while not leaving.is_set():
                await asyncio.sleep(0.01)
                if asked.done():  # refused, since the one that is to be refused had come before it
                    asked = asyncio.ensure_future(client.post("/v1/explain", json=SLOW))
            asked.cancel()

    with start(replace(writer, explainer=endless), api_limits=ApiLimits(explanations=1), limits=Limits(parallel=2)) as url:
        threads = [threading.Thread(target=lambda: asyncio.run(leave(url))) for _ in range(2)]
        for thread in threads:
            thread.start()
        with httpx.Client(base_url=url, timeout=60) as client:
            refused = None
            while refused is None:  # it waits itself, until both of the others have come before it
                with contextlib.suppress(httpx.ReadTimeout):
                    refused = client.post("/v1/explain", json=SLOW, timeout=httpx.Timeout(60, read=2))
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "busy"
            assert client.get("/healthz").json()["active"] == 1  # the other one waits outside of the engine, whose second place is free
            assert client.post("/v1/completions", json={"prompt": "月", "max_tokens": 2}).status_code == 200
            leaving.set()
            for thread in threads:
                thread.join()
            while client.get("/healthz").json()["active"]:
                pass
    assert [fact["outcome"] for fact in facts].count("cancelled") >= 2


def test_the_guide_s_body_is_answered_with_the_fields_that_it_names(url: str) -> None:
    guides = [(Path(__file__).parents[2] / "docs" / name).read_text("utf-8") for name in ("explain.md", "explain.zh.md")]
    bodies = [re.findall(r"^```json\n(.*?)^```", guide, re.MULTILINE | re.DOTALL) for guide in guides]
    assert bodies[0] == bodies[1]
    for body in bodies[0]:
        response = httpx.post(f"{url}/v1/explain", json=json.loads(body), timeout=60)
        assert response.status_code == 200, response.text
        for guide in guides:
            for field in ("rows", "columns", "attention", "rollout", "alignment", "faithfulness", "random_curve"):
                assert f"`{field}`" in guide
                assert field in response.json()
    for guide in guides:
        for field in ExplainRequest.model_fields:
            assert f"`{field}`" in guide
