"""The page of a generator in a real browser: a label is chosen or a text written, pictures come step by step, and are saved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from playwright.sync_api import Page, expect

from lodestar import tasks
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare import special_tokenizer, train_tokenizer

Visit = Callable[..., Page]
PHONE = {"width": 390, "height": 844}


def painter(conditioning: str) -> Service:
    task = tasks.find("image-generation")({"size": 8, "patch": 4, "conditioning": conditioning, "sampling": {"steps": 6}})
    task.fit(task.sample())
    texts = [text for example in task.sample() for text in task.texts(example)]
    tokenizer = train_tokenizer(texts, 300) if conditioning == "texts" else special_tokenizer()
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 1, "heads": 2}
    config = ModelConfig.from_dict({**shape, **task.architecture()})
    torch.manual_seed(0)
    return Service("painter", task, task.build(config).eval(), tokenizer, config)


@pytest.fixture(scope="module")
def label_url():
    with serving(painter("labels")) as address:
        yield address


@pytest.fixture(scope="module")
def text_url():
    with serving(painter("texts")) as address:
        yield address


def test_a_label_is_drawn_as_often_as_is_asked_and_saved(visit: Visit, label_url: str) -> None:
    page = visit(label_url)
    expect(page.locator("#input")).to_be_hidden()
    page.get_by_label("What to show").select_option("star")
    page.get_by_label("How many").select_option("2")
    page.locator("#picture-seed").fill("7")
    with page.expect_request("**/v1/images/generations") as sent:
        page.get_by_role("button", name="Draw").click()
    body = sent.value.post_data_json
    assert (body["prompt"], body["n"], body["seed"], body["stream"], body["partial_images"]) == ("star", 2, 7, True, 5)
    expect(page.locator(".made img.done")).to_have_count(2)
    expect(page.get_by_alt_text("Picture 2: star")).to_be_visible()
    expect(page.locator("progress")).to_have_count(0)
    expect(page.locator("#stats")).to_contain_text("seed 7")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download").first.click()
    assert saved.value.suggested_filename == "star-7-1.png"
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")


def test_a_wrong_number_is_shown_before_anything_is_asked(visit: Visit, label_url: str) -> None:
    page = visit(label_url)
    page.get_by_label("Guidance").fill("99")
    page.get_by_role("button", name="Draw").click()
    assert page.evaluate("document.activeElement.id") == "picture-guidance"
    expect(page.locator("#result")).to_be_hidden()


def test_a_text_is_written_in_chinese_on_a_phone(visit: Visit, text_url: str) -> None:
    page = visit(text_url, size=PHONE, locale="zh-CN", has_touch=True)
    page.get_by_role("button", name="画", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("请先说明要画什么。")
    page.get_by_label("要画什么？").fill("山")
    page.get_by_role("button", name="画", exact=True).click()
    expect(page.locator(".made img.done")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_text("在代码中调用").click()
    page.get_by_role("tab", name="Python").click()
    expect(page.locator("#snippet")).to_contain_text("client.images.generate(")
