"""Decision records: who, what, why, on which evidence; and that no later edit goes unseen."""

from __future__ import annotations

import json
import re

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store.files import read_json, write_json
from lodestar.venture.chain import canonical_hash
from lodestar.venture.record import latest_record, record_files, verify
from lodestar.venture.status import status


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")


def test_each_record_stands_behind_the_one_before_and_all_are_as_they_were_written(venture, make_decision):
    first, second, third = make_decision(venture, "none"), make_decision(venture), make_decision(venture, "none")
    assert [path.stem for path in record_files(venture)] == ["0001-none", "0002-as-it-is", "0003-none"]
    assert (first.previous, second.previous, third.previous) == (None, first.hash, second.hash)
    assert verify(venture) == [first, second, third]
    assert latest_record(venture) == third
    value = read_json(record_files(venture)[1])
    stated = value.pop("hash")
    assert stated == canonical_hash(value), "anybody can compute it from the file alone"


def test_the_hash_is_that_of_canonical_json():
    assert canonical_hash({"b": 1, "a": "星"}) == canonical_hash(json.loads('{"a": "\\u661f",  "b": 1}'))
    assert canonical_hash({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # printf '{}' | sha256sum


@pytest.mark.parametrize("field", ["because", "choice", "by", "date"])
def test_a_field_that_was_edited_shows(venture, make_decision, field):
    make_decision(venture)
    make_decision(venture)
    path = record_files(venture)[0]
    write_json(path, {**read_json(path), field: "2020-01-01"})
    with pytest.raises(
        UserError, match=r"0001-as-it-is\.json: this record was changed after it was written: its hash does not match; restore"
    ):
        verify(venture)
    with pytest.raises(UserError, match="was changed"):
        make_decision(venture)
    assert len(record_files(venture)) == 2


def test_evidence_that_was_edited_in_a_record_shows_even_where_its_hash_is_made_anew(venture, make_decision):
    make_decision(venture)
    make_decision(venture)
    path = record_files(venture)[0]
    value = read_json(path)
    value["problem"]["worth"] = 1.0
    value.pop("hash")
    write_json(path, {**value, "hash": canonical_hash(value)})
    with pytest.raises(UserError, match=r"0002-as-it-is\.json: the record before this one is not the one that it was written behind"):
        verify(venture)


@pytest.mark.parametrize(
    ("number", "words"), [(0, "the record before this one is not"), (1, "the record before this one is not"), (2, "decision 3")]
)
def test_a_record_that_was_taken_out_shows(venture, make_decision, number, words):
    for _ in range(3):
        make_decision(venture)
    path = record_files(venture)[number]
    path.unlink()
    path.with_suffix(".md").unlink()
    with pytest.raises(UserError, match=words):
        verify(venture)


def test_a_page_that_was_edited_or_is_gone_shows(venture, make_decision):
    make_decision(venture)
    page = record_files(venture)[0].with_suffix(".md")
    text = page.read_text("utf-8")
    page.write_text(text + "\n", "utf-8")
    with pytest.raises(UserError, match="this page was changed after it was written"):
        verify(venture)
    page.unlink()
    with pytest.raises(UserError, match="the page of a decision is missing"):
        verify(venture)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"choice": "as-is"}, "unknown option 'as-is'; did you mean 'as-it-is'"),
        ({"by": " "}, "give both --by and --because"),
        ({"because": ""}, "give both --by and --because"),
        ({"forecasts": []}, "a decision needs a forecast that it can be held to later"),
    ],
)
def test_a_choice_without_a_name_a_reason_or_a_forecast_is_none(venture, make_decision, changes, words):
    with pytest.raises(UserError, match=words):
        make_decision(venture, **changes)
    assert not venture.decisions.exists()
    assert not venture.ledger_path.exists()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_says_all_of_it_in_the_form_of_madr(venture, make_decision, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    make_decision(venture, "none")
    made = make_decision(venture, because="cheap | enough")
    text = record_files(venture)[1].with_suffix(".md").read_text("utf-8")
    assert text.startswith("---\nstatus: accepted\ndate: 2026-12-01\ndecision-makers: Ada\n---\n\n# 0002 · Listener: as-it-is\n")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    if language == "en":
        assert headings[:5] == ["Context and problem", "Decision drivers", "Considered options", "Decision outcome", "Forecasts"]
        assert "Takes the place of decision 0001 (none)" in text
    else:
        assert headings[:5] == ["背景与问题", "决策依据", "备选方案", "决策结果", "预测"]
    for words in ["`accuracy` ≥ 0.8", "cheap | enough", "It works.", "70%", made.previous or "", "| **as-it-is** |"]:
        assert words in text
    for row in (line for line in text.splitlines() if line.startswith("|")):
        assert row.replace("\\|", "").count("|") in (6, 7), "as many cells as headings"


def test_status_follows_the_record_and_says_where_venture_yaml_does_not(make_venture, make_decision):
    venture = make_venture()
    make_decision(venture, "tiny")
    found = status(venture).stages[1]
    assert found.state == "under way"
    assert found.words.en == "tiny, chosen by Ada on 2026-12-01; venture.yaml says otherwise"
    assert status(make_venture(model={"size": "tiny"})).stages[1].state == "done"
    make_decision(make_venture(), "none")
    (venture.folder / "brief.html").write_text("x")
    following = status(make_venture()).next
    assert (following.command, following.why.en) == ("lodestar decide", "none trains no model; decide again when the evidence changes")
