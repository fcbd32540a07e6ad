"""Objects in pictures over HTTP, and the page that draws them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from lodestar import tasks
from lodestar.deploy.service import Service
from lodestar.explain.request import answer as explainer
from lodestar.model.config import ModelConfig
from lodestar.prepare import special_tokenizer

Start = Callable[..., AbstractContextManager[str]]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def finder() -> Service:
    """Sees signs anywhere, with scores around a half."""
    task = tasks.find("object-detection")({"width": 48, "height": 48, "patch": 8})
    task.fit(task.sample())
    config = ModelConfig.from_dict({"width": 32, "depth": 2, "heads": 2, "initial_std": 0.3, **task.architecture()})
    torch.manual_seed(0)
    model: Any = task.build(config).eval()
    torch.nn.init.normal_(model.one.label.weight, std=0.5)
    torch.nn.init.zeros_(model.one.label.bias)
    task.state["threshold"] = 0.75
    return Service("finder", task, model, special_tokenizer(), config, explainer=explainer)


def asked(finder: Service, number: int = 1) -> dict[str, Any]:
    return finder.task.request(finder.task.sample()[number])


def test_the_answer_over_http_is_the_tasks_and_is_told_what_it_is(finder: Service, start: Start) -> None:
    body = asked(finder)
    wanted = finder.answer(body)
    with start(finder) as url, httpx.Client(base_url=url, timeout=60) as client:
        told = client.post("/v1/detect", json=body).json()
        assert (told["object"], told["id"][:4]) == ("detections", "dtct")
        assert {name: told[name] for name in wanted} == wanted
        assert all(each["score"] >= 0.75 for each in told["detections"])
        assert len(client.post("/v1/detect", json={**body, "threshold": 0.0}).json()["detections"]) == 100
        several = client.post("/v1/detect", json={"input": [body["input"]] * 3}).json()
        assert len(several["results"]) == 3
        refused = client.post("/v1/detect", json={**body, "treshold": 0.1})
        assert refused.status_code == 400
        assert "did you mean 'threshold'" in refused.json()["error"]["message"]
        card = client.get("/api/release").json()
        assert (card["form"], card["choices"]["threshold"]) == ("detect", 0.75)


@pytest.fixture
def page(finder: Service, start: Start, browser: Browser, request: pytest.FixtureRequest) -> Any:
    context = browser.new_context(viewport=getattr(request, "param", {"width": 1200, "height": 900}), locale="en")
    with start(finder) as url:
        opened = context.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        opened.goto(url)
        yield opened
        assert faults == []
    context.close()


def look(page: Page, finder: Service, tmp_path: Path, number: int = 1) -> None:
    content = next(iter(finder.task.sample()[number].media())).read()
    (tmp_path / "picture.png").write_bytes(content)
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "picture.png")
    page.get_by_role("button", name="Find objects").click()


@pytest.mark.parametrize("page", [{"width": 1200, "height": 900}, PHONE], indirect=True)
def test_the_page_draws_a_box_for_each_object_and_lists_them(page: Page, finder: Service, tmp_path: Path) -> None:
    look(page, finder, tmp_path)
    count = len(finder.answer(asked(finder))["detections"])
    expect(page.locator(".verdict")).to_have_text(re.compile(rf"^{count} objects?$"))
    expect(page.locator(".boxes rect")).to_have_count(count)
    expect(page.locator(".objects button")).to_have_count(count)
    page.get_by_label("Least score shown").fill("0.5")
    expect(page.locator(".boxes rect")).not_to_have_count(count)
    best = finder.answer(asked(finder))["detections"][0]
    first = page.locator(".objects button").first
    expect(first).to_contain_text(best["label"])
    # With the keyboard: the box of the line that is reached stands out, and stays so when it is chosen.
    page.mouse.move(1, 1)  # off the boxes
    first.focus()
    expect(page.locator(".boxes .lit")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(first).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Find objects").focus()
    expect(page.locator(".boxes .lit rect")).to_have_attribute("x", str(best["box"]["left"]).removesuffix(".0"))
    # Nothing reaches out of the page, and the boxes lie on the picture.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    image, layer = (page.locator(each).bounding_box() for each in (".detected img", ".boxes"))
    assert image == pytest.approx(layer, abs=0.5)


def test_the_page_explains_the_object_that_is_chosen(page: Page, finder: Service, tmp_path: Path) -> None:
    look(page, finder, tmp_path)
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#explanation-picture svg.seen").first).to_be_visible()
    expect(page.locator("#explanation-picture .asked").first).to_be_visible()


def test_the_page_speaks_chinese(page: Page, finder: Service, tmp_path: Path) -> None:
    page.get_by_role("button", name="切换到中文").or_(page.locator("#language")).first.click()
    (tmp_path / "picture.png").write_bytes(next(iter(finder.task.sample()[1].media())).read())
    page.get_by_label("选择图片").set_input_files(tmp_path / "picture.png")
    page.get_by_role("button", name="找出物体").click()
    expect(page.locator(".verdict")).to_have_text(re.compile(r"^找到 \d+ 个物体$"))
    expect(page.locator("output[for=least]")).to_contain_text("显示分数不低于 0.75 的框")
