"""Forecasts: certain ones and ones without an end are refused, and each is resolved once."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.forecast import Forecast, Resolution

EVENT = {
    "id": "d1-kept", "statement": "The release keeps accuracy ≥ 0.8.", "by": "Ada", "made": "2026-12-01", "resolve_by": "2026-12-31",
    "probability": 0.7, "metric": "accuracy", "at_least": 0.8,
}  # fmt: skip
QUANTITY = {
    "id": "d1-hours", "statement": "Machine hours until the release.", "by": "Ada", "made": "2026-12-01", "resolve_by": "2026-12-31",
    "metric": "machine_hours", "unit": "h", "quantiles": {"p10": 2, "p50": 3, "p90": 8},
}  # fmt: skip


def parse(fields: dict[str, Any], **changes: Any) -> Forecast:
    changed = {key: value for key, value in {**fields, **changes}.items() if value is not None}
    return Forecast.parse(changed, where="forecast")


def test_a_forecast_goes_through_json_unchanged():
    for fields in (EVENT, QUANTITY):
        made = parse(fields)
        assert Forecast.parse(made.model_dump(mode="json"), where="x") == made
        assert made.is_event == ("probability" in fields)
    resolved = parse(EVENT).resolved(Resolution(outcome=True, when=date(2027, 1, 1), source="ledger", reference="v1"))
    assert Forecast.parse(resolved.model_dump(mode="json"), where="x") == resolved
    assert resolved.content() == parse(EVENT).content(), "what came of it changes nothing of what was said"


@pytest.mark.parametrize(
    ("fields", "changes", "sentence"),
    [
        (EVENT, {"probability": 0}, "in 'probability': a probability of 0 is none that a forecast can have"),
        (EVENT, {"probability": 1}, "in 'probability': a probability of 1 is none"),
        (EVENT, {"probability": float("nan")}, "in 'probability': a probability of nan is none"),
        (EVENT, {"resolve_by": None}, "the field 'resolve_by' is missing; add it"),
        (EVENT, {"resolve_by": "2026-11-30"}, "resolve_by (2026-11-30) is before made (2026-12-01); give a later day"),
        (EVENT, {"resolve_by": "soon"}, "the field 'resolve_by' is 'soon'"),
        (EVENT, {"at_least": None}, "an event on a metric has exactly one of at_least and at_most"),
        (EVENT, {"at_most": 0.9}, "an event on a metric has exactly one of at_least and at_most"),
        (EVENT, {"metric": None}, "any other event none"),
        (EVENT, {"quantiles": QUANTITY["quantiles"]}, "exactly one of probability (of an event) and quantiles"),
        (EVENT, {"probability": None}, "exactly one of probability (of an event) and quantiles"),
        (EVENT, {"id": "Upper case"}, "the field 'id' is 'Upper case'"),
        (QUANTITY, {"metric": None}, "a forecast of a quantity names its metric"),
        (QUANTITY, {"at_least": 1.0}, "no threshold"),
        (QUANTITY, {"quantiles": {"p10": 3, "p50": 2, "p90": 8}}, "p10 (3), p50 (2) and p90 (8) must not fall"),
        (QUANTITY, {"quantiles": {"p10": 1, "p50": 2, "p90": float("inf")}}, "the field 'quantiles.p90' is inf"),
    ],
)  # fmt: skip
def test_what_could_never_be_scored_is_one_sentence(fields, changes, sentence):
    with pytest.raises(UserError) as caught:
        parse(fields, **changes)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_is_resolved_once_and_by_its_own_kind():
    came = Resolution(value=4.0, when=date(2027, 1, 1), source="ledger", reference="5 runs")
    resolved = parse(QUANTITY).resolved(came)
    with pytest.raises(UserError, match=r"'d1-hours' was resolved on 2027-01-01 as 4 h \(5 runs\); a forecast is resolved once"):
        resolved.resolved(came)
    with pytest.raises(UserError, match="'d1-kept' is of an event"):
        parse(EVENT).resolved(came)
    with pytest.raises(UserError, match="is of a quantity, machine_hours; give its value in h"):
        parse(QUANTITY).resolved(Resolution(outcome=True, when=date(2027, 1, 1), source="person", reference="Ada"))
    with pytest.raises(UserError, match="exactly one of outcome"):
        Resolution.parse({"when": "2027-01-01", "source": "person", "reference": "Ada"}, where="x")


def test_it_is_due_when_its_last_day_is_over():
    made = parse(EVENT)
    assert not made.is_due(date(2026, 12, 31))
    assert made.is_due(date(2027, 1, 1))


@pytest.mark.parametrize(("bound", "true", "false"), [({"at_least": 0.8}, 0.8, 0.79), ({"at_least": None, "at_most": 5.0}, 5.0, 5.1)])
def test_the_threshold_itself_makes_it_true(bound, true, false):
    made = parse(EVENT, **bound)
    assert made.happened(true)
    assert not made.happened(false)


def test_nothing_heavy_is_imported():
    code = "import sys, lodestar.contracts.forecast; print(sorted({'torch', 'numpy', 'psycopg'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
