"""The view of success: its figures are the report's, and nothing is resolved by looking."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from lodestar.contracts.clock import now
from lodestar.contracts.forecast import Forecast
from lodestar.store.ledger import FeedbackRow, Request
from lodestar.studio.views.success import VIEW
from lodestar.venture.measures import keep_words
from lodestar.venture.product import release
from lodestar.venture.usage_plots import course
from tests.studio.views.conftest import HOSTILE, View


def requests(count: int, *, failed: int = 0) -> list[Request]:
    """One an hour, on the hour; the first `failed` ones fail."""
    return [
        Request(
            time=f"2026-11-{2 + n // 24:02d}T{n % 24:02d}:00:00Z", release="v1", route="/v1/classify", tokens_in=7, tokens_out=1,
            latency_ms=float(n), status=500 if n < failed else 200, id=f"a{n}",
        )
        for n in range(count)
    ]  # fmt: skip


def test_before_an_evaluation_it_says_what_to_run(venture, language):
    assert "lodestar run" in View(VIEW.body(venture, {}))


def test_the_figures_are_those_of_what_was_served(make_venture, metrics, write_runs, language):
    venture = make_venture(name=HOSTILE, red_lines=[HOSTILE])
    write_runs(venture)
    release(venture)
    keep_words(venture, metrics)
    for request in requests(30, failed=3):
        venture.ledger.add_request(request)
    for n in range(10, 20):
        said = FeedbackRow(time="2026-11-04", release="v1", request=f"a{n}", rating="up" if n < 18 else "down", comment="")
        venture.ledger.add_feedback(said)
    page = View(VIEW.body(venture, {}))
    for words in ("v1", "30", "16 ms", "28 ms", "210", "0.9", "[0.87, 0.93]", "≥ 0.8", "80%"):
        assert words in page
    assert (metrics["accuracy"].words.in_language("zh" if language == "zh" else "en")) in page
    assert len(page.pictures) == 4, "each promise, the requests, the latencies"
    assert "economics:" in page, "what is not counted says what it takes"


def test_the_course_of_use_has_each_request_once_and_latencies_by_nearest_rank():
    found = course(requests(30, failed=3))
    assert found is not None
    assert (found.name.en, len(found.periods)) == ("hour", 30)
    assert [each.failed for each in found.periods[:4]] == [1, 1, 1, 0]
    month = course([*requests(48), replace(requests(1)[0], time="2026-12-24T10:00:00Z")])
    assert month is not None
    assert (month.name.en, len(month.periods)) == ("day", 53), "days without a request are among them"
    assert sum(each.answered for each in month.periods) == 49
    assert (month.periods[1].p50, month.periods[1].p95) == (35.0, 46.0), "of 24 to 47: the 12th and the 23rd"
    assert course(requests(1)) is None


def test_looking_resolves_no_forecast(venture, write_runs):
    write_runs(venture)
    today = now().date()
    due = Forecast(
        id="f1", statement="One asks.", by="Ada", made=today - timedelta(9), resolve_by=today - timedelta(1), probability=0.5,
        metric="requests", at_least=1.0,
    )  # fmt: skip
    venture.ledger.add_forecasts([due])
    assert f"due since {due.resolve_by}" in View(VIEW.body(venture, {}))
    assert venture.ledger.forecasts()[0].resolution is None
