"""Pictures and recordings in conversations, over real sockets, through OpenAI's own client; and the page in a browser."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from lodestar import tasks
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.explain.request import answer as explain
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer

PHONE = {"width": 390, "height": 844}
OPTIONS: dict[str, dict[str, Any]] = {
    "pictures": {"size": 16, "patch": 4, "tower_depth": 1},
    "sounds": {"reads": "sounds", "rate": 8000, "bands": 20, "seconds": 3, "tower_depth": 1},
}


def service_of(reads: str) -> Service:
    task = tasks.find("multimodal")(OPTIONS[reads])
    texts = [text for example in task.sample() for text in task.texts(example)]
    tokenizer = train_tokenizer(texts, 360, task.special_tokens, single_characters=True)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 2, "heads": 2, "context": 256, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    return Service(f"tiny-{reads}", task, task.build(config).eval(), tokenizer, config, 1_700_000_000, explainer=explain)


@pytest.fixture(scope="module")
def viewer() -> Service:
    return service_of("pictures")


@pytest.fixture(scope="module")
def hearer() -> Service:
    return service_of("sounds")


@pytest.fixture(scope="module")
def viewer_url(viewer: Service) -> Iterator[str]:
    with serving(viewer) as url:
        yield url


@pytest.fixture(scope="module")
def hearer_url(hearer: Service) -> Iterator[str]:
    with serving(hearer) as url:
        yield url


@pytest.mark.parametrize("reads", ["pictures", "sounds"])
def test_openais_client_is_answered_as_the_task_answers(reads: str, request: pytest.FixtureRequest) -> None:
    service: Service = request.getfixturevalue({"pictures": "viewer", "sounds": "hearer"}[reads])
    url = request.getfixturevalue({"pictures": "viewer_url", "sounds": "hearer_url"}[reads])
    messages: Any = service.task.request(service.task.shown()[0])["messages"]
    assert {part["type"] for part in messages[-1]["content"]} == {{"pictures": "image_url", "sounds": "input_audio"}[reads], "text"}
    drawing: Any = {"max_tokens": 24, "temperature": 1.0, "seed": 11}
    expected = service.answer({"messages": messages, **drawing})
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none is needed", max_retries=0) as client:
        whole = client.chat.completions.create(model=service.name, messages=messages, **drawing)
        streaming: Any = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client.chat.completions.create(model=service.name, messages=messages, **drawing, **streaming))
        other = client.chat.completions.create(model=service.name, messages=messages, n=2, **drawing)
    assert whole.choices[0].message.content == expected["message"]["content"]
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == expected["usage"]["prompt_tokens"]
    told = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == expected["message"]["content"]
    assert len(told) > 3
    assert other.choices[0].message.content == expected["message"]["content"]
    assert other.choices[1].message.content != expected["message"]["content"]


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}, "is a path or an address, and neither is opened here"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "is a path or an address, and neither is opened here"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}, "the file is no picture that can be read"),
        ({"type": "image_url", "image_url": {"address": "x"}}, "message 1 of messages"),
        ({"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}}, "this model reads pictures"),
        ({"type": "video_url", "video_url": {"url": "x"}}, "a part of type 'video_url'"),
    ],
)
def test_what_is_no_picture_is_refused_with_400(viewer_url: str, part: dict[str, Any], sentence: str) -> None:
    body = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}], "stream": True}
    told = httpx.post(f"{viewer_url}/v1/chat/completions", json=body, timeout=60)
    assert told.status_code == 400
    assert sentence in told.json()["error"]["message"]


def test_an_answer_about_a_picture_is_explained_over_http(viewer: Service, viewer_url: str) -> None:
    request = viewer.task.request(viewer.task.shown()[0])
    told = httpx.post(f"{viewer_url}/v1/explain", json={"request": request, "output": "red", "orders": 19}, timeout=60).json()
    assert told["answer"] == "red"
    assert told["grid"] == {"rows": 2, "columns": 2}
    assert set(told["faithfulness"]) == {"gradients", "rollout", "attention"}
    both = json.loads(json.dumps(request))
    both["messages"][-1]["content"].append(both["messages"][-1]["content"][0])
    refused = httpx.post(f"{viewer_url}/v1/explain", json={"request": both}, timeout=60)
    assert "2 pictures were sent, and what is explained is an answer about one picture" in refused.json()["error"]["message"]


def test_the_command_that_is_shown_asks_about_a_file(hearer: Service, hearer_url: str, viewer: Service, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    (tmp_path / "file.wav").write_bytes(hearer.task.shown()[0].audios[0].read())  # type: ignore[attr-defined]
    command = hearer.curl(hearer_url)
    assert len(command) < 500
    told = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert json.loads(told)["choices"][0]["message"]["role"] == "assistant"
    assert "$(base64 < file.png" in viewer.curl("")


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_asked_about_on_the_page(visit: Callable[..., Page], viewer: Service, viewer_url: str, tmp_path: Path) -> None:
    page = visit(viewer_url)
    (tmp_path / "noise.png").write_bytes(picture())
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "noise.png")
    expect(page.locator("#preview")).to_be_visible()
    page.get_by_label("Your question").fill("What colour is it?")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Max tokens").fill("9")
    with page.expect_request("**/v1/chat/completions") as sent:
        page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    content = sent.value.post_data_json["messages"][0]["content"]
    assert base64.b64decode(content[0]["image_url"]["url"].partition(",")[2]) == picture()
    expected = viewer.answer({"messages": [{"role": "user", "content": content}], "max_tokens": 9})
    assert page.locator("#answer .made").text_content() == (expected["message"]["content"] or "(the model added nothing)")
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#explanation-picture .seen").first).to_be_visible()
    page.get_by_text("Use it from code").click()
    page.get_by_role("tab", name="Python").click()
    expect(page.locator("#snippet")).to_contain_text('file = {"type": "image_url"')
    compile(str(page.locator("#snippet").text_content()), "snippet", "exec")


def test_nothing_is_asked_without_a_picture_and_examples_bring_theirs(visit: Callable[..., Page], viewer_url: str) -> None:
    page = visit(viewer_url, size=PHONE, locale="zh-CN", has_touch=True)
    page.get_by_label("你的问题").fill("有几个图形？")
    page.get_by_role("button", name="提问", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("请先选一张图片")
    page.get_by_role("group", name="可以试试的例子").get_by_role("button").first.click()
    expect(page.locator("#answer .seen")).to_be_visible()
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_a_recording_is_asked_about_on_the_page(visit: Callable[..., Page], hearer: Service, hearer_url: str, tmp_path: Path) -> None:
    page = visit(hearer_url)
    recording = hearer.task.shown()[0].audios[0].read()  # type: ignore[attr-defined]
    (tmp_path / "tune.wav").write_bytes(recording)
    page.get_by_label("Choose a file").set_input_files(tmp_path / "tune.wav")
    page.get_by_label("Your question").fill("How many notes are there?")
    with page.expect_request("**/v1/chat/completions") as sent:
        page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    part = sent.value.post_data_json["messages"][0]["content"][0]
    assert base64.b64decode(part["input_audio"]["data"]) == recording
    expect(page.get_by_role("button", name="Why?")).to_be_hidden()
    expect(page.locator("#answer .made")).not_to_be_empty()
