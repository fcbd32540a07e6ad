"""What /api/NAME answers: the figures of each view, as JSON that any program reads, of a venture at its beginning and later on."""

from __future__ import annotations

import json
from datetime import date

import pytest

from lodestar.studio.view import views
from lodestar.venture.pairs import Pair, save_pair
from lodestar.venture.product import release
from tests.studio.views.test_product import difference

NAMES = ["decision", "execution", "product", "runs", "success"]


def answer(venture, name: str):
    data = views()[name].data
    assert data is not None
    return json.loads(json.dumps(data(venture, {}), allow_nan=False))


@pytest.mark.parametrize("name", NAMES)
def test_a_venture_at_its_beginning_has_an_answer(venture, name):
    answer(venture, name)


def test_the_answers_are_the_records(venture, write_runs, make_decision):
    (venture.folder / "plan.yaml").write_text("begin: 2026-11-02\npeople: [{name: Ada}]\ntasks: [{id: a, title: A, owner: Ada}]\n")
    made = make_decision(venture)
    write_runs(venture)
    release(venture)
    write_runs(venture, tag="b", finished="2099-02-01T01:00:00Z")
    release(venture)
    save_pair(venture, Pair(a="score-a", b="score-b", date=date(2026, 12, 1), differences=[difference(0.1, 0.0, 0.2)]))
    found = {name: answer(venture, name) for name in NAMES}
    assert [each["hash"] for each in found["decision"]["records"]] == [made.hash]
    assert [task["id"] for task in found["execution"]["tasks"]] == ["a"]
    assert [card["name"] for card in found["product"]["scorecards"]] == ["v1", "v2"]
    assert found["product"]["differences"][0]["differences"][0]["value"] == 0.1
    assert found["success"]["release"] == "v2"
