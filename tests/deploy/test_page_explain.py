"""The panel that says why: on the page, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.explain.request import answer
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks import find

PHONE = {"width": 390, "height": 844}
Visit = Callable[..., Page]


def explained(name: str) -> Service:
    task = find(name)()
    sample = list(task.sample())
    task.fit(sample)
    tokenizer = train_tokenizer([text for example in sample for text in task.texts(example)], 400, task.special_tokens)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 2, "heads": 2, "context": 256, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    return Service(f"tiny-{name}", task, task.build(config).eval(), tokenizer, config, explainer=answer)


@pytest.fixture(scope="module")
def sorter() -> Service:
    return explained("classification")


@pytest.fixture(scope="module")
def sorter_url(sorter: Service) -> Iterator[str]:
    with serving(sorter) as url:
        yield url


def picture(page: Page) -> Any:
    """The drawing, once it is there; Playwright looks into the shadow root."""
    expect(page.locator("#explanation")).to_have_attribute("aria-busy", "false")
    return page.locator("#explanation-picture")


def test_a_label_is_explained_and_another_one_too(visit: Visit, sorter_url: str) -> None:
    page = visit(sorter_url)
    expect(page.locator("#why")).to_be_hidden()
    page.get_by_label("Your text").fill("我爱学习编程")
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("button", name="Why?").click()
    drawn = picture(page)
    asked = {"request": {"input": "我爱学习编程"}, "html": True}
    told = httpx.post(f"{sorter_url}/v1/explain", json=asked, timeout=60).json()
    expect(drawn.locator(".said")).to_contain_text(told["answer"])
    expect(drawn.locator(".summary")).to_have_text(told["summary"])
    assert "".join(drawn.locator(".gradients .text").all_text_contents()) == "我爱学习编程"
    expect(drawn.get_by_role("img", name="Deletion curve")).to_have_count(3)
    expect(drawn.locator(".verdict")).to_have_count(3)
    # The style sheet has come through the page's security policy: a marked word has a ground of its own.
    grounds = drawn.locator(".gradients mark").evaluate_all("(marks) => marks.map((mark) => getComputedStyle(mark).backgroundColor)")
    assert len(set(grounds)) > 1
    other = next(label for label in sorter_labels(page) if label != told["answer"])
    page.get_by_label("Why, or why not").select_option(other)
    expect(drawn.locator(".said")).to_contain_text(other)
    picture(page)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#explanation")).to_be_hidden()
    expect(page.get_by_role("button", name="Why?")).to_be_focused()


def sorter_labels(page: Page) -> list[str]:
    return page.get_by_label("Why, or why not").locator("option").all_text_contents()


def test_a_layer_and_a_head_are_chosen_by_keyboard_and_by_pointer(visit: Visit, sorter_url: str) -> None:
    page = visit(sorter_url)
    page.get_by_label("Your text").fill("The lamp is lit, and the boats are home.")
    page.get_by_label("Your text").press("Control+Enter")
    page.get_by_role("button", name="Why?").press("Enter")
    drawn = picture(page)
    caption = drawn.locator(".maps figcaption").first
    expect(caption).to_contain_text("The mean of all layers and heads.")
    expect(drawn.locator(".maps .frame")).to_have_count(0)
    before = drawn.locator(".maps svg").first.inner_html()
    page.get_by_label("Layer", exact=True).focus()
    page.keyboard.press("ArrowDown")
    expect(caption).to_contain_text("Layer 1, the mean of its heads.")
    page.get_by_label("Head", exact=True).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(caption).to_contain_text("Layer 1, head 2.")
    assert drawn.locator(".maps svg").first.inner_html() != before
    drawn.locator("[data-layer='2'][data-head='1']").click()
    expect(caption).to_contain_text("Layer 2, head 1.")
    expect(page.get_by_label("Layer", exact=True)).to_have_value("2")
    expect(page.get_by_label("Head", exact=True)).to_have_value("1")
    expect(drawn.locator(".maps .frame")).to_have_count(1)
    for control in page.locator("#explanation button, #explanation select, #explanation [tabindex]").all():
        named = control.evaluate("(e) => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || '').trim()")
        assert named, control.evaluate("(e) => e.outerHTML")


def test_the_next_answer_takes_the_panel_away_and_the_language_redraws_it(visit: Visit, sorter_url: str) -> None:
    page = visit(sorter_url)
    page.get_by_label("Your text").fill("很好用。")
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("button", name="Why?").click()
    drawn = picture(page)
    expect(drawn.locator(".kind")).to_have_text("The answer")
    page.get_by_role("button", name="切换到中文").click()
    expect(drawn.locator(".kind")).to_have_text("答案")
    expect(page.get_by_role("heading", name="为什么这样回答")).to_be_visible()
    page.get_by_role("button", name="分类").click()
    expect(page.locator("#explanation")).to_be_hidden()
    expect(page.get_by_role("button", name="为什么？")).to_have_attribute("aria-expanded", "false")


def test_a_refusal_stands_in_the_panel(browser: Browser, sorter_url: str) -> None:
    page = browser.new_page(locale="en-US")  # the browser reports the 400 on the console, so this page's is not watched
    page.goto(sorter_url)
    page.get_by_label("Your text").fill("灯" * 300)
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#explanation-status")).to_contain_text("; explain a part of the text.")
    expect(page.locator("#explanation-status")).to_have_class("error")
    page.get_by_label("Your text").fill("灯")
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#explanation-picture .said")).to_be_visible()
    expect(page.locator("#explanation-status")).to_be_hidden()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_a_translation_s_alignment_without_scrolling_sideways(visit: Visit, scheme: str) -> None:
    with serving(explained("translation")) as url:
        page = visit(url, size=PHONE, locale="zh-CN", color_scheme=scheme)
        page.get_by_label("你的文本").fill("The harbour is quiet.")
        page.get_by_role("button", name="翻译", exact=True).click()
        page.get_by_role("button", name="为什么？").click()
        drawn = picture(page)
        expect(drawn.get_by_role("img", name="输出与原文的对齐")).to_be_visible()
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0
        # The page's theme is the drawing's, too, however it was chosen.
        ink = "(element) => getComputedStyle(element).color"
        before = drawn.locator(".said").evaluate(ink)
        page.get_by_role("button", name="浅色或深色").click()
        assert drawn.locator(".said").evaluate(ink) != before


TASKS = {
    "chat": ("Your message", "Which way?", "Send"),
    "text-generation": ("Your beginning", "The lamp", "Continue"),
    "code-generation": ("Your beginning", "def add(a, b):\n", "Continue"),
    "summarization": ("Your document", "灯亮了。船都回来了。", "Summarise"),
    "question-answering": ("Your question", "Who lit the lamp?", "Look it up"),
    "retrieval": ("A question", "Where is the lamp?\nOn the pier.\n<b>In</b> the box.", "Compare"),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_s_answer_is_explained(visit: Visit, name: str) -> None:
    label, text, button = TASKS[name]
    with serving(explained(name)) as url:
        page = visit(url)
        page.get_by_label(label).fill(text)
        if name == "question-answering":
            page.get_by_label("The text").fill("Ada lit the lamp. It burns.")
        if name == "summarization":
            page.get_by_label("Tokens of the summary, at most").fill("6")
        if page.get_by_label("Max tokens").is_visible():
            page.get_by_label("Max tokens").fill("5")
            page.get_by_label("Seed").fill("1")
        page.get_by_role("button", name=button, exact=True).click()
        with page.expect_request("**/v1/explain") as sent:
            page.get_by_role("button", name="Why?").click()
        drawn = picture(page)
        expect(drawn.locator(".said")).to_be_visible()
        body = sent.value.post_data_json
        shown = page.locator(".made").last.text_content() if name in ("chat", "text-generation", "code-generation") else None
        assert shown is None or body["output"] == shown
        if name == "chat":
            assert body["request"] == {"messages": [{"role": "user", "content": text}]}
        if name == "retrieval":
            expect(drawn.locator(".said")).to_contain_text(body["output"])


def test_where_nothing_explains_nothing_is_offered(visit: Visit, sorter: Service) -> None:
    with serving(replace(sorter, explainer=None)) as url:
        page = visit(url)
        page.get_by_label("Your text").fill("a")
        page.get_by_role("button", name="Classify").click()
        expect(page.locator(".verdict")).to_be_visible()
        expect(page.locator("#stop")).to_be_disabled()
        expect(page.locator("#why")).to_be_hidden()
