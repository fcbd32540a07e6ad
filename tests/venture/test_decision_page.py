"""The page and the pictures of a decision: everything is on it, in both languages, and hostile text stays text."""

from __future__ import annotations

import re
from datetime import date

import pytest

from lodestar.venture.decision import compare
from lodestar.venture.decision_page import page, text
from lodestar.venture.decision_words import evidence_words, money, percent, quantity_name
from lodestar.venture.record import latest_record
from tests.venture.test_decision import evidence, make_problem, normal

HOSTILE = "<script>alert(1)</script>'\"&amp;"


@pytest.fixture(params=["en", "zh"])
def language(request, monkeypatch) -> str:
    monkeypatch.setenv("LODESTAR_LANGUAGE", request.param)
    return request.param


def test_the_page_has_every_option_every_number_and_every_picture(venture, make_decision, language):
    make_decision(venture, because=HOSTILE)
    record = latest_record(venture)
    assert record is not None
    html = page(venture.file, record.problem, record.comparison, [record])
    for option in record.problem.options:
        assert f"<b>{option.name}</b>" in html
    for name in record.problem.quantities:
        assert str(quantity_name(name)) in html
    figures = re.findall(r"<figure><svg .*?</svg><figcaption>.*?</figcaption></figure>", html)
    assert len(figures) == 8
    assert all(re.search(r'role="img".*?><title>.+?</title><desc>.+?</desc>', figure) for figure in figures), "and says what it shows"
    assert (("期望遗憾" if language == "zh" else "Expected regret") in html) is True
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "url(" not in html
    assert "nan" not in html.lower().replace("finance", "")
    for figure in figures:
        width, height = map(float, re.findall(r'viewBox="0 0 (\d+) (\d+)"', figure)[0])
        for most, names in ((width, "cx|x1|x2|x|width"), (height, "cy|y1|y2|y|height")):
            for place in re.findall(rf' (?:{names})="(-?[\d.]+)"', figure):
                assert -1 <= float(place) <= most + 1, "everything is drawn inside"


def test_options_that_are_all_alike_and_certain_can_be_drawn_and_told(venture, language):
    problem = make_problem({"a": evidence(1.0), "b": evidence(1.0)})
    comparison = compare(problem, draws=10_000)
    assert "<figure><svg" in page(venture.file, problem, comparison, [])
    assert "a" in text(venture.file, problem, comparison)
    assert comparison.uncertainties == []


def test_an_option_that_cannot_be_done_is_told_with_its_reason(venture):
    problem = make_problem({name: normal(0, 1) for name in "abc"})
    options = [option.model_copy(update={"infeasible": "it needs 90 GB"}) if option.name == "c" else option for option in problem.options]
    problem = problem.model_copy(update={"options": options})
    comparison = compare(problem, draws=10_000)
    assert "it needs 90 GB" in page(venture.file, problem, comparison, [])
    assert "✗ c: it needs 90 GB" in text(venture.file, problem, comparison)


@pytest.mark.parametrize(
    ("amount", "words"), [(1240.4, "1,240 USD"), (0.37, "0.37 USD"), (0.001, "< 0.01 USD"), (0.0, "0.00 USD"), (12.345, "12.35 USD")]
)  # fmt: skip
def test_money_is_told_as_people_write_it(amount, words):
    assert money(amount, "USD") == words


def test_a_probability_is_never_told_as_certain():
    assert [percent(share) for share in (0.0, 0.001, 0.5, 0.999, 1.0)] == ["< 1%", "< 1%", "50%", "> 99%", "> 99%"]


def test_short_times_are_told_in_short_units():
    def hours(value: float) -> str:
        return evidence_words(evidence(value, value / 2, value * 2, "positive", unit="hours", date=date(2026, 12, 1))).figures

    assert [hours(value) for value in (0.02 / 3600, 20 / 3600, 0.5, 3.0)] == [
        "20 ms [10, 40]", "20 s [10, 40]", "30 min [15, 60]", "3 hours [1.5, 6]"
    ]  # fmt: skip
