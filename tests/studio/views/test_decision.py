"""The view of the decision: every figure is the record's, a broken chain shows, and so does a comparison that is out of date."""

from __future__ import annotations

from datetime import date

from lodestar.contracts.forecast import Forecast, Resolution
from lodestar.studio.views.decision import VIEW
from lodestar.venture.compared import keep
from lodestar.venture.decision_words import money, percent, spread_words
from lodestar.venture.record import latest_record, record_files
from tests.studio.views.conftest import HOSTILE, View


def test_before_anything_was_compared_it_says_which_command_does(venture, language):
    page = View(VIEW.body(venture, {}))
    assert "lodestar decide" in page
    assert page.pictures == []


def test_every_figure_is_the_records(venture, make_decision, language):
    make_decision(venture, because=HOSTILE)
    record = latest_record(venture)
    assert record is not None
    page = View(VIEW.body(venture, {}))
    for each in record.comparison.options:
        for told in (percent(each.probability_all), money(each.expected_regret), spread_words(each.cost, money).partition(" [")[0]):
            assert told in page
    assert len([title for title in page.pictures if title]) == 8, "quality, cost and time, chances, regret, and what is worth knowing"
    assert HOSTILE in page
    assert record.hash[:8] in page
    assert "2027-03-01" in page, "when the forecast is to be known"
    assert ("链完整" if language == "zh" else "chain whole") in page


def test_units_are_in_the_readers_language(venture, make_decision, language):
    make_decision(venture)
    page = View(VIEW.body(venture, {}))
    assert (" 天" in page, " days" in page) == ((True, False) if language == "zh" else (False, True))
    assert ("次请求/月" in page, "requests/month" in page) == ((True, False) if language == "zh" else (False, True))


def test_a_record_that_was_changed_breaks_the_chain(venture, make_decision):
    make_decision(venture)
    markdown = record_files(venture)[0].with_suffix(".md")
    markdown.write_text(markdown.read_text() + "and more\n")
    page = View(VIEW.body(venture, {}))
    assert "this page was changed after it was written" in page
    assert "chain whole" not in page


def test_a_comparison_that_newer_settings_are_not_in_is_told_as_such(venture, make_decision):
    made = make_decision(venture)
    keep(venture, made.problem, made.comparison)
    told = "has changed since this comparison"
    assert told not in View(VIEW.body(venture, {}))
    venture.path.write_text(venture.path.read_text() + "# another thought\n")
    assert told in View(VIEW.body(venture, {}))


def test_calibration_is_drawn_from_thirty_forecasts_on(venture, language):
    made = [
        Forecast(id=f"f{n}", statement="It rains.", by="Ada", made=date(2026, 1, 1), resolve_by=date(2026, 2, 1), probability=0.5)
        for n in range(30)
    ]
    venture.ledger.add_forecasts(made)
    for n in range(29):
        venture.ledger.resolve_forecast(f"f{n}", Resolution(outcome=n < 12, when=date(2026, 2, 2), source="person", reference="Ada"))
    few = View(VIEW.body(venture, {}))
    assert ("太少，不足以评判" if language == "zh" else "too few to judge") in few
    assert few.pictures == []
    venture.ledger.resolve_forecast("f29", Resolution(outcome=False, when=date(2026, 2, 2), source="person", reference="Ada"))
    page = View(VIEW.body(venture, {}))
    assert ("Brier 评分 0.250" if language == "zh" else "Brier score 0.250") in page, "half said of each: the square of a half"
    assert ("40% 发生" if language == "zh" else "40% happened") in page
    assert [("校准" in title or "Calibration" in title) for title in page.pictures] == [True]
