"""The studio as people meet it: in a real browser, in both languages, on a phone, on paper, by the keyboard."""

from __future__ import annotations

import io
import re
import threading
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from lodestar.contracts.language import Words
from lodestar.store.lock import hold
from lodestar.studio import app, view
from lodestar.studio.view import STAGES, View, views

from .conftest import DESKTOP, PASSWORDS, PATIENCE_MS

PHONE = {"width": 390, "height": 844}
DRAWING = (
    '<figure id="drawn" data-live><svg class="plot" viewBox="0 0 40 20" role="img" aria-label="loss">'
    '<rect width="40" height="20" fill="#1d7a55"/><text x="2" y="12">{}</text></svg><figcaption>Loss, by step</figcaption></figure>'
)
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view of a test's own, whose picture is another at each look."""
    turn = count(1)
    own = View("drawing", "product", Words("Drawing", "图画"), lambda _venture, _query: DRAWING.format(next(turn)))
    known = {**views(), "drawing": own}
    for module in (app, view):
        monkeypatch.setattr(module, "views", lambda: known)


def log_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.keyboard.press("Enter")


def test_a_founder_comes_in_through_the_door_and_leaves_by_it(team, serve, visit):
    page = visit(serve(team.folder), "/vision", refusals=1)
    expect(page).to_have_title(re.compile("Log in"))
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This name and password do not belong together.")
    expect(page.get_by_label("Name")).to_have_value("Ada")
    log_in(page, "Ada")
    expect(page.get_by_role("heading", level=1)).to_have_text("Listener <b>")
    assert page.url.endswith("/vision")
    expect(page.get_by_role("link", name="Ada · founder")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login"))
    page.goto(page.url.replace("/login", "/vision"))
    expect(page).to_have_title(re.compile("Log in"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_fits_a_screen_and_a_phone_in_both_languages(venture, serve, visit, language):
    url = serve(venture.folder)
    page = visit(url, locale="zh-CN" if language == "zh" else "en-US")
    for path in ("/", "/people", *(f"/{name}" for name in views())):
        page.goto(url + path)
        assert page.locator("html").get_attribute("lang") == ("zh-CN" if language == "zh" else "en")
        assert page.get_by_role("heading", level=1).count() == 1, path
        chinese = len(re.findall(r"[\u4e00-\u9fff]", page.locator("main").inner_text()))
        assert (chinese > 15) == (language == "zh"), path
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, (path, size)
        # Whoever hears the page is told what each picture, field and button is.
        for control in page.locator("main :is(input:not([type=hidden]), select, textarea, button)").all():
            named = control.evaluate("e => e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim() || e.title")
            assert named, control.evaluate("e => e.outerHTML")
        for picture in page.locator("main :is(img, svg.plot)").all():
            assert picture.evaluate(
                "e => e.alt || e.getAttribute('aria-label') || e.getAttribute('aria-hidden') || e.querySelector('title')"
            )


def test_the_language_is_chosen_once_and_remembered(venture, serve, visit):
    url = serve(venture.folder)
    page = visit(url, "/vision")
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_text("我们的北极星")).to_be_visible()
    assert page.url == f"{url}/vision"
    page.goto(f"{url}/people")
    expect(page.get_by_role("heading", level=1)).to_have_text("成员")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("People")


def test_the_keyboard_reaches_the_content_and_the_stages(venture, serve, visit):
    page = visit(serve(venture.folder))
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="To the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    flow = page.get_by_role("navigation", name="The five stages")
    flow.get_by_role("link").first.focus()
    reached = []
    for _ in STAGES:
        reached.append(page.evaluate("new URL(document.activeElement.href).pathname.slice(1)"))
        page.keyboard.press("Tab")
    assert tuple(reached) == STAGES
    flow.get_by_role("link", name="vision").press("Enter")
    expect(flow.get_by_role("link", name="vision")).to_have_attribute("aria-current", "page")


def test_a_printed_page_has_its_content_and_no_buttons(venture, serve, visit):
    page = visit(serve(venture.folder), "/people")
    expect(page.get_by_role("button", name="Add")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Add")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_every_picture_can_be_saved_and_looks_the_same_alone(venture, serve, visit, drawing, tmp_path: Path):
    page = visit(serve(venture.folder), "/drawing")
    with page.expect_download() as drawn:
        page.get_by_role("button", name="Save picture: loss-by-step (SVG)").click()
    assert drawn.value.suggested_filename == "loss-by-step.svg"
    drawn.value.save_as(tmp_path / "a.svg")
    text = ElementTree.parse(tmp_path / "a.svg").getroot().find("{http://www.w3.org/2000/svg}text")
    assert text is not None
    assert "font-size: 15px" in text.get("style", "")  # the style sheet's, which the file does not have
    with page.expect_download() as painted:
        page.get_by_role("button", name="Save picture: loss-by-step (PNG)").click()
    assert painted.value.suggested_filename == "loss-by-step.png"
    painted.value.save_as(tmp_path / "a.png")
    picture = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).convert("RGB")
    box = page.locator("svg.plot").bounding_box()
    assert box is not None
    assert abs(picture.width - 2 * box["width"]) <= 1
    assert picture.getpixel((picture.width - 3, 3)) == (0x1D, 0x7A, 0x55)


def test_live_parts_are_kept_fresh_while_something_runs_and_only_then(venture, serve, visit, drawing):
    page = visit(serve(venture.folder), "/drawing")
    page.evaluate("window.loaded = 'once'")
    text = page.locator("svg.plot text")
    first = text.text_content()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response(re.compile("/api/now")):
        pass
    assert text.text_content() == first
    running, over = threading.Event(), threading.Event()

    def work() -> None:
        with hold(venture.state, "run"):
            running.set()
            over.wait(PATIENCE_MS / 1000)

    worker = threading.Thread(target=work)
    worker.start()
    running.wait()
    expect(text).not_to_have_text(first or "")
    assert page.evaluate("window.loaded") == "once"
    expect(page.get_by_role("button", name="Save picture: loss-by-step (PNG)")).to_have_count(1)
    over.set()
    worker.join()


def test_a_form_is_sent_and_what_was_done_is_told(team, serve, visit):
    page = visit(serve(team.folder), "/people")
    log_in(page, "Ada")
    page.get_by_label("Name").first.fill("Cy")
    page.get_by_label("Password, for them to change").fill("north by north west")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status")).to_have_text("Cy can log in now.")
    assert {user.name: user.role for user in team.ledger.people.all()}["Cy"] == "viewer"
    page.reload()
    expect(page.get_by_role("status")).to_have_count(0)
