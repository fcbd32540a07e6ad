"""The page of a recogniser in a real browser, whose microphone is one that beeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.prepare.robot_voice import Voice, say, wave_file

DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
SPEECH = wave_file(say(["yes", "moon"], Voice(), 0))


@pytest.fixture(scope="module")
def browser_arguments(browser_arguments: list[str]) -> list[str]:
    """A microphone that beeps, and leave to use it."""
    return [*browser_arguments, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def url(listener: Service) -> Iterator[str]:
    with serving(listener) as address:
        yield address


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport=DESKTOP, locale="en-GB", permissions=["microphone"])
    opened.set_default_timeout(30_000)
    yield opened
    opened.close()


def test_a_file_is_transcribed_word_by_word(context: BrowserContext, url: str, listener: Service, tmp_path: Path) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(url)
    expect(page.locator("#input")).to_be_hidden()
    page.get_by_role("button", name="Transcribe").click()
    expect(page.get_by_role("alert")).to_have_text("Record something, or choose a file first.")
    (tmp_path / "speech.wav").write_bytes(SPEECH)
    page.get_by_label("Choose a file").set_input_files(tmp_path / "speech.wav")
    expect(page.locator("#held")).to_have_text("speech.wav")
    page.get_by_role("button", name="Transcribe").click()
    files = {"file": ("speech.wav", SPEECH)}
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    expected = httpx.post(f"{url}/v1/audio/transcriptions", files=files, data=asked, timeout=60).json()
    expect(page.locator(".word").first).to_be_visible()
    assert page.locator(".word").all_text_contents() == [word["word"] for word in expected["words"]]
    with page.expect_download() as saved:
        page.get_by_role("link", name="Subtitles").click()
    written = saved.value.path().read_text("utf-8")
    assert written.startswith("1\n00:00:0")
    assert expected["segments"][0]["text"] in written
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    assert complaints == []


def test_the_microphone_is_recorded_and_heard(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    page.goto(url)
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#held")).to_have_text(re.compile(r"Recording… (0\.[2-9]|[1-9]).*"))
    page.get_by_role("button", name="Finish").click()
    expect(page.locator("#held")).to_contain_text("microphone ·")
    with page.expect_request("**/v1/audio/transcriptions") as sent:
        page.get_by_role("button", name="Transcribe").click()
    answer = sent.value.response()
    assert answer is not None
    assert answer.status == 200
    assert answer.json()["duration"] > 0.1
    expect(page.locator("#result")).to_be_visible()


def test_a_page_without_a_microphone_says_what_to_do(browser: Browser, url: str) -> None:
    context = browser.new_context(locale="zh-CN", viewport=PHONE, has_touch=True)
    context.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page = context.new_page()
    page.goto(url)
    page.get_by_role("button", name="录音").click()
    expect(page.get_by_role("alert")).to_contain_text("请选择文件")
    page.get_by_role("button", name="例 1").click()
    expect(page.locator("#result")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_text("在代码中调用").click()
    expect(page.locator("#snippet")).to_contain_text("-F file=@recording.wav")
    page.get_by_role("tab", name="Python").click()
    expect(page.locator("#snippet")).to_contain_text("client.audio.transcriptions.create")
    context.close()
