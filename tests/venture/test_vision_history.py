"""The versions of a vision: who changed what, and why; and that no later edit of them goes unseen."""

from __future__ import annotations

import json

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store.files import read_json, write_json
from lodestar.venture.brief import brief
from lodestar.venture.chain import canonical_hash
from lodestar.venture.status import status
from lodestar.venture.vision_changes import changes_between
from lodestar.venture.vision_history import history, record_version, standing, versions, vision_of


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")


CHANGES = (
    {"statement": "Every shop hears its customers at once."},
    {"targets": [{"metric": "accuracy", "at_least": 0.85, "by": "2099-01-31", "why": "better than the intern"}]},
)


@pytest.fixture
def three(make_venture):
    """A vision with three versions."""
    record_version(make_venture(), by="Ada", because="the first draft")
    record_version(make_venture(**CHANGES[0]), by="Lin", because="customers wait")
    venture = make_venture(**CHANGES[0], **CHANGES[1])
    record_version(venture, by="Ada", because="the pilot was better")
    return venture


def test_the_history_says_who_why_and_what_changed(three):
    found = history(versions(three))
    assert [(version.number, version.by, version.because) for version, _ in found] == [
        (1, "Ada", "the first draft"), (2, "Lin", "customers wait"), (3, "Ada", "the pilot was better"),
    ]  # fmt: skip
    assert [[words.en for words in changes] for _, changes in found] == [
        [],
        ["statement: “Every shop hears its customers.” → “Every shop hears its customers at once.”"],
        ["target removed: latency_ms_p95 ≤ 100 ms", "target accuracy: ≥ 0.8 → ≥ 0.85", "target accuracy, by: – → 2099-01-31"],
    ]
    value = read_json(three.visions / "0002.json")
    stated = value.pop("hash")
    assert stated == canonical_hash(value), "anybody can compute it from the file alone"
    assert value["previous"] == read_json(three.visions / "0001.json")["hash"]


@pytest.mark.parametrize(
    ("changes", "english", "chinese"),
    [
        ({"name": "Ear"}, "name: “Listener” → “Ear”", "名称：“Listener” → “Ear”"),
        ({"values": ["Ask first.", "Measure first."]}, "value added: “Ask first.”", "新增坚持：“Ask first.”"),
        ({"red_lines": []}, "red line removed: “Never identify a person | or a household.”", "移除红线：“Never identify"),
        ({"north_star": "latency_ms_p95"}, "north star: “accuracy” → “latency_ms_p95”", "北极星：“accuracy”"),
        ({"budget": {"amount": 5000, "currency": "USD"}}, "budget: – → 5,000 USD", "预算：– → 5,000 USD"),
        ({"team": [{"name": "Ada", "role": "model"}]}, "team added: Ada (model)", "新增团队：Ada (model)"),
    ],
)
def test_each_field_of_the_vision_has_words_for_its_change(make_venture, changes, english, chinese):
    before, after = vision_of(make_venture().file), vision_of(make_venture(**changes).file)
    (found,) = changes_between(before, after)
    assert found.en == english
    assert found.zh.startswith(chinese)
    assert len(changes_between(after, before)) == 1
    assert changes_between(after, after) == []


def test_what_is_inside_a_budget_a_team_and_a_target_is_told_apart(make_venture):
    def vision(amount: float, per_hour: float, role: str, limit: float):
        return vision_of(
            make_venture(
                budget={"amount": amount, "currency": "USD", "per_hour": per_hour},
                team=[{"name": "Ada", "role": role}],
                targets=[{"metric": "accuracy", "at_least": limit}],
            ).file
        )

    found = changes_between(vision(100, 1, "model", 0.8), vision(200, 1.5, "data", 0.8001))
    assert [words.en for words in found] == [
        "target accuracy: ≥ 0.8 → ≥ 0.8001", "budget: 100 USD → 200 USD", "budget, an hour: 1 → 1.5", "team, Ada: model → data",
    ]  # fmt: skip
    older = json.loads(json.dumps(vision(100, 1, "model", 0.8)))
    del older["team"]
    assert [words.en for words in changes_between(older, vision(100, 1, "model", 0.8))] == ["team added: Ada (model)"]


def test_a_change_that_is_not_recorded_shows_in_status_and_brief(make_venture, metrics):
    venture = make_venture()
    (venture.folder / "brief.html").write_text("x")
    assert standing(venture).words.en == ""
    assert status(venture).stages[0].words.en == "2 targets; north star accuracy ≥ 0.8"
    made = record_version(venture, by="Ada", because="the first draft")
    assert status(venture).stages[0].words.en == "2 targets; north star accuracy ≥ 0.8; version 1"
    assert status(venture).stages[0].state == "done"
    assert f"version 1 of {made.date}, by Ada: the first draft" in brief(venture.file, metrics, str(standing(venture).words))
    venture = make_venture(model={"size": "tiny"})
    assert standing(venture).changes == [], "how the model is made is no part of the vision"
    venture = make_venture(audience="everybody")
    assert [words.en for words in standing(venture).changes] == ["audience: “owners of small shops” → “everybody”"]
    assert status(venture).stages[0].words.zh.endswith("；第 1 版之后有改动")
    assert status(venture).stages[0].state == "under way"
    assert "changed since version 1" in brief(venture.file, metrics, str(standing(venture).words))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"by": " ", "because": "x"}, "give both --by and --because"),
        ({"by": "Ada", "because": ""}, "give both --by and --because"),
        ({"by": "Ada", "because": "again"}, "the vision is as version 3 has it; change it there first"),
    ],
)
def test_a_version_without_a_name_a_reason_or_a_change_is_none(three, fields, words):
    with pytest.raises(UserError, match=words):
        record_version(three, **fields)
    assert len(versions(three)) == 3


@pytest.mark.parametrize("field", ["because", "by", "vision"])
def test_a_version_that_was_edited_shows(three, field):
    path = three.visions / "0001.json"
    value = read_json(path)
    write_json(path, {**value, field: {**value["vision"], "name": "x"} if field == "vision" else "x"})
    with pytest.raises(UserError, match=r"0001\.json: this record was changed after it was written: its hash does not match; restore"):
        versions(three)
    with pytest.raises(UserError, match="was changed"):
        record_version(three, by="Ada", because="x")
    write_json(path, {**read_json(path), "hash": canonical_hash({k: v for k, v in read_json(path).items() if k != "hash"})})
    with pytest.raises(UserError, match=r"0002\.json: the record before this one is not the one that it was written behind"):
        versions(three)


@pytest.mark.parametrize(
    ("number", "words"), [(1, "the record before"), (2, "the record before"), (3, "vision 3, which the ledger has, is")]
)
def test_a_version_that_was_taken_out_shows(three, number, words):
    (three.visions / f"{number:04d}.json").unlink()
    with pytest.raises(UserError, match=words):
        versions(three)
