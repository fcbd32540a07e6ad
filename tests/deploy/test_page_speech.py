"""The page of a synthesiser in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service

DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
LOADED = "player => new Promise((found) => { if (player.readyState) found(); else player.onloadedmetadata = found; })"


@pytest.fixture(scope="module")
def url(narrator: Service) -> Iterator[str]:
    with serving(narrator) as address:
        yield address


@pytest.fixture
def opened(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """The page in a fresh profile; whatever the console complains of fails the test at its end."""
    complaints: list[str] = []
    contexts = []

    def open_page(**options: object) -> Page:
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(60_000)
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_text_is_said_drawn_and_saved(opened: Callable[..., Page]) -> None:
    page = opened(viewport=DESKTOP, locale="en-GB")
    page.get_by_label("Your text").fill("Hello star")
    page.get_by_label("Voice").select_option("treble")
    page.get_by_role("button", name="Say it").click()
    expect(page.locator("#player")).to_be_visible()
    assert "".join(page.locator(".sounds .word").all_text_contents()) == "hellostar"
    page.locator("#player").evaluate(LOADED)
    assert page.locator("#player").evaluate("player => player.duration") > 0.1
    shades = page.evaluate("""() => {
        const canvas = document.querySelector(".spectrogram");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(data.filter((_, place) => place % 4 === 0)).size;
    }""")
    assert shades > 20
    page.locator(".sounds .word").nth(3).click()
    assert page.locator("#player").evaluate("player => player.currentTime") > 0
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save").click()
    content = saved.value.path().read_bytes()
    assert content[:4] == b"RIFF"
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")


def test_on_a_phone_in_chinese(opened: Callable[..., Page]) -> None:
    page = opened(viewport=PHONE, locale="zh-CN", has_touch=True)
    page.get_by_label("你的文本").fill("是星海")
    page.get_by_role("button", name="朗读").click()
    expect(page.locator("#player")).to_be_visible()
    assert "".join(page.locator(".sounds .word").all_text_contents()) == "shir4xing1hai3"
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_text("在代码中调用").click()
    expect(page.locator("#snippet")).to_contain_text("--output speech.wav")
    page.get_by_role("tab", name="Python").click()
    expect(page.locator("#snippet")).to_contain_text("client.audio.speech.create")
