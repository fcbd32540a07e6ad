"""A venture with a plan and a team, its studio on a real server, and a real browser before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

from lodestar.deploy.listening import LOOPBACK_HOSTS, in_background, listen
from lodestar.store.files import write_atomic
from lodestar.studio import access
from lodestar.studio.access import add_user
from lodestar.studio.app import create_app
from lodestar.venture.venture import Venture

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 60_000
DESKTOP = {"width": 1280, "height": 900}
PASSWORDS = {"Ada": "the star stands still", "Bo": "a needle in the hay", "小云": "远处有一盏不灭的灯火"}
ROLES = {"Ada": "founder", "Bo": "engineer", "小云": "viewer"}

VENTURE = {
    "name": "Listener <b>",
    "statement": "Every shop hears its customers.",
    "audience": "owners of small shops",
    "north_star": "accuracy",
    "red_lines": ["Never identify a person | or a household."],
    "task": "classification",
    "data": {"sources": ["reviews.jsonl"]},
    "targets": [{"metric": "accuracy", "at_least": 0.8, "why": "better than <i>the intern</i>", "by": "2099-12-31"}],
}
PLAN = {
    "begin": "2026-11-02",
    "people": [{"name": "Ada"}, {"name": "小云"}],
    "tasks": [
        {"id": "collect", "title": "Collect <b>data</b>", "owner": "Ada", "estimate": [4, 8, 16]},
        {"id": "train", "title": "Train", "kind": "machine", "step": "train", "estimate": "measured", "depends": ["collect"]},
        {"id": "sign", "title": "Sign the contract", "owner": "小云", "estimate": [1, 2, 4]},
    ],
}


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords at a cost that a test can pay; what a hash costs stands in it."""
    monkeypatch.setattr(access, "SCRYPT", (16, 8, 1))


@pytest.fixture
def venture(tmp_path: Path) -> Venture:
    folder = tmp_path / "venture"
    for name, content in (("venture.yaml", VENTURE), ("plan.yaml", PLAN)):
        write_atomic(folder / name, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    return Venture.open(folder)


@pytest.fixture
def team(venture: Venture, quick_hashes: None) -> Venture:
    """The venture with a founder, an engineer and a viewer."""
    for name, role in ROLES.items():
        add_user(venture.ledger.people, name, role, PASSWORDS[name], by="test")
    return venture


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Open the studio of a folder on a free port; gives its address."""
    with ExitStack() as stack:

        def start(folder: Path, **options: Any) -> str:
            listener = stack.enter_context(listen("127.0.0.1", 0))
            app = create_app(folder, **{"hosts": LOOPBACK_HOSTS, **options})
            return stack.enter_context(in_background(app, listener))

        yield start


@pytest.fixture
def client() -> Iterator[Callable[..., httpx.Client]]:
    """A browser without eyes, at an address; logged in where a name is given."""
    with ExitStack() as stack:

        def start(url: str, name: str | None = None) -> httpx.Client:
            opened = stack.enter_context(httpx.Client(base_url=url, headers={"origin": url, "accept-language": "en"}, timeout=60))
            if name is not None:
                answer = opened.post("/login", data={"name": name, "password": PASSWORDS[name]})
                assert (answer.status_code, answer.headers["location"]) == (303, "/")
            return opened

        yield start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Its absence skips a test, but fails it in CI."""
    if not CHROMIUM.exists():
        message = f"no browser at {CHROMIUM}; install Debian's package chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page in a fresh profile; what the console complains of, and what is asked of another place, fails the test at its end."""
    complaints: list[str] = []
    expected: list[str] = []
    contexts = []

    def open_page(url: str, path: str = "/", *, size: dict[str, int] = DESKTOP, refusals: int = 0, **options: Any) -> Page:
        """`refusals` are answers of 400 and more that the test asks for, of which the browser's console tells by itself."""
        expected.extend(["Failed to load resource"] * refusals)
        context = browser.new_context(viewport=size, **{"locale": "en-US", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith((url, f"blob:{url}", "data:")) else None)
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [complaint[:23] for complaint in complaints] == expected, complaints
