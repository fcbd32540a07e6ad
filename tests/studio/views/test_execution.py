"""The view of the plan: each card in its column with what the plan says of it, buttons that post what the command does, nothing noted."""

from __future__ import annotations

import json
import re

import pytest

from lodestar.studio.views.execution import VIEW
from lodestar.venture.execution import change, look
from lodestar.venture.plan_history import PLAN_EVENT
from lodestar.venture.plan_words import day
from tests.studio.views.conftest import HOSTILE, View

PLAN = f"""begin: 2026-11-02
people: [{{name: Ada}}, {{name: 小云}}]
tasks:
  - {{id: collect, title: Collect, owner: Ada, estimate: [4, 8, 16]}}
  - {{id: label, title: {json.dumps(HOSTILE)}, owner: 小云, estimate: [8, 16, 40], depends: [collect]}}
  - {{id: train, title: Train, kind: machine, step: train, depends: [label]}}
"""


@pytest.fixture
def planned(venture):
    (venture.folder / "plan.yaml").write_text(PLAN)
    return venture


def columns(page: View) -> list[list[str]]:
    """The ids of the cards in each column."""
    lanes = page.html.split('<div class="lane"')[1:]
    return [re.findall(r'data-task="([^"]*)"', lane) for lane in lanes]


def test_without_a_plan_it_says_which_command_begins_one(venture, language):
    assert "lodestar plan" in View(VIEW.body(venture, {}))


def test_each_card_stands_in_its_column_and_every_date_is_the_forecasts(planned, language):
    change(planned, "start", "collect", who="Ada")
    change(planned, "block", "label", who="小云", because=HOSTILE)
    found = look(planned, who=None)
    page = View(VIEW.body(planned, {}))
    assert columns(page) == [["train"], ["collect"], ["label"], []]
    for words in (day(found.forecast.by(0.8)), "小云", ("约 8 小时" if language == "zh" else "about 8 h"), HOSTILE):
        assert words in page
    for band in found.forecast.bands():
        assert f"{day(band.low)} – {day(band.high)}" in page.html, "the bands in the chart's words"
    assert ("甘特图" in page.pictures[0]) == (language == "zh")
    assert ("受阻事项" in page) == (language == "zh"), "the week's update"


def test_looking_notes_nothing(planned):
    look(planned, who="Ada")
    (planned.folder / "plan.yaml").write_text(PLAN.replace("Collect", "Gather"))
    before = (planned.state / "forecast.json").read_text()
    View(VIEW.body(planned, {}))
    assert len(planned.ledger.events(PLAN_EVENT)) == 1
    assert (planned.state / "forecast.json").read_text() == before


def test_the_buttons_of_a_card_post_what_moves_it(planned):
    forms = re.findall(r'<form method="post" action="/do/task">.*?</form>', VIEW.body(planned, {}))
    asked = {
        (task, action)
        for form in forms
        for task in re.findall(r'name="task" value="(\w+)"', form)
        for action in re.findall(r'name="action" value="(\w+)"', form)
    }
    assert asked == {(task, action) for task in ("collect", "label") for action in ("start", "done", "block")}, "the machine's runs tell"
