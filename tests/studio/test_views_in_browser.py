"""The views in a real browser: a card is dragged across the board, and the curve of a training that goes on grows while it is looked at."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from lodestar.store.files import write_atomic
from lodestar.store.lock import hold
from lodestar.venture.plan import load_plan

from .conftest import PASSWORDS, PATIENCE_MS

expect.set_options(timeout=PATIENCE_MS)


def test_a_card_is_dragged_to_another_column_and_asks_what_it_waits_for(venture, serve, visit):
    page = visit(serve(venture.folder), "/execution")
    card = page.locator('[data-task="collect"]')
    card.drag_to(page.locator('.lane[data-state="started"]'))
    expect(page.get_by_role("status")).to_have_text("Noted: collect is begun.")
    expect(page.locator('.lane[data-state="started"] .card')).to_have_attribute("data-task", "collect")
    card.drag_to(page.locator('.lane[data-state="blocked"]'))
    expect(card.get_by_label("What it waits for")).to_be_focused()
    page.keyboard.type("the key of the archive")
    page.keyboard.press("Enter")
    expect(page.locator('.lane[data-state="blocked"]')).to_contain_text("the key of the archive")
    task = load_plan(venture.plan_path).task("collect")
    assert (task.state, task.blocked) == ("started", "the key of the archive")


def test_whoever_only_reads_is_offered_no_button_of_the_board(team, serve, visit):
    page = visit(serve(team.folder), "/login?to=/execution")
    page.get_by_label("Name").fill("小云")
    page.get_by_label("Password").fill(PASSWORDS["小云"])
    page.keyboard.press("Enter")
    expect(page.locator('[data-task="sign"]')).to_be_visible()
    expect(page.locator(".board button:visible, .board summary:visible")).to_have_count(0)


def test_a_curve_grows_while_the_training_goes_on(venture, serve, visit):
    journal = venture.run_folder("train", "now") / "metrics.jsonl"
    journal.parent.mkdir(parents=True)

    def train(first: int, last: int) -> None:
        with journal.open("a") as file:
            for step in range(first, last):
                row = {"step": step, "tokens": 100 * step, "loss": 5 / step, "learning_rate": 0.01, "tokens_per_second": 1000}
                file.write(json.dumps(row) + "\n")

    train(1, 41)
    other = venture.run_folder("train", "then") / "metrics.jsonl"
    venture.ledger.fail_run(venture.ledger.start_run("train", "then"), "cut short")
    write_atomic(other, journal.read_text())
    attempt = venture.ledger.start_run("train", "now")
    page = visit(serve(venture.folder), "/runs")
    curves = page.locator("#curves")
    expect(curves).to_contain_text("now: 40 of 40 steps drawn")
    with hold(venture.state, "run"):
        train(41, 61)
        expect(curves).to_contain_text("now: 60 of 60 steps drawn")
        expect(page.locator("#attempts")).to_contain_text("going on")
        expect(curves.locator("svg")).to_have_count(2)
        expect(curves.locator("svg polyline").first).to_have_attribute("points", re.compile(r"^\S+( \S+){59}$"))
        venture.ledger.fail_run(attempt, "stopped <by> hand")
    expect(page.locator("#attempts")).to_contain_text("stopped <by> hand")
    page.get_by_label("Draw then").check()
    page.get_by_label("Curves against").select_option("time")
    page.get_by_role("button", name="Show").click()
    expect(curves).to_contain_text("then: 40 of 40 steps drawn")
    expect(curves).to_contain_text("now: 60 of 60 steps drawn")
    expect(curves.locator("svg").first).to_contain_text("seconds of training, pauses left out")
    page.emulate_media(media="print")
    expect(curves).to_be_visible()
