"""The plan's times of the machine, from the decision: what the pilots measured, how sure that is, and when it does not hold."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.venture.decided import decided
from lodestar.venture.durations import Measured
from lodestar.venture.execution import look
from lodestar.venture.pilots import Pilot, PilotRun, identity, save_pilot
from lodestar.venture.plan_begin import begin_plan
from lodestar.venture.plan_words import told_from
from lodestar.venture.strategies import Strategy


@pytest.fixture
def pilot(venture, score) -> Path:
    """Two short runs of the venture as it is written: its 800 steps take 990 seconds, and a run 10 beside them."""
    runs = [
        PilotRun(
            share=share, tokens=1, seconds=10 + 990 * share, measuring_seconds=2, records=50, steps=round(800 * share),
            step_seconds=990 / 800, step_scatter=0.24, waited=0.5, scores=[score("accuracy", 0.8, 0.78, 0.82)],
        )
        for share in (1 / 16, 1 / 8)
    ]  # fmt: skip
    strategy = Strategy(name="as-it-is", kind="scratch")
    return save_pilot(
        venture,
        Pilot(
            strategy=strategy.name, identity=identity(strategy, venture), date=date(2026, 12, 1), machine="here", split="validation",
            runs=runs, system=[score("latency_ms_p50", 30, 28, 33, better="lower", unit="ms")],
        ),
    )  # fmt: skip


def seconds(duration: Any) -> float:
    return 3600 * math.exp(duration.hours.mean)


def test_training_takes_what_the_pilots_say_and_evaluation_what_measuring_took(venture, pilot, make_decision, write_runs):
    assert decided(venture) == {}, "nothing is decided"
    make_decision(venture)
    found = decided(venture)
    assert {step: (each.source, each.decision) for step, each in found.items()} == {"train": ("measured", 1), "evaluate": ("measured", 1)}
    assert seconds(found["train"]) == pytest.approx(1000)
    assert found["train"].hours.sd == pytest.approx(0.32, rel=0.01), (
        "0.24 from the pilots, 0.07 from the machine, and half of 0.4 from what else it does"
    )
    assert seconds(found["evaluate"]) == pytest.approx(2 + 10 + 100 * 0.03)
    write_runs(venture)
    assert seconds(decided(venture)["evaluate"]) == pytest.approx(2 * 500 / 50 + 10 + 100 * 0.03), "500 records are in the test"


def test_a_decision_that_is_not_carried_out_says_nothing(venture, pilot, make_decision, make_venture):
    make_decision(venture, "tiny")
    assert decided(venture) == {}, "venture.yaml has another size"
    make_decision(venture, "none")
    assert decided(venture) == {}, "there is nothing to train"
    make_decision(venture)
    assert decided(venture)["train"].decision == 3
    assert decided(make_venture(train={"tokens": 5})) == {}


def test_evidence_that_was_changed_is_refused(venture, pilot, make_decision):
    make_decision(venture)
    pilot.write_text(pilot.read_text() + " ")
    with pytest.raises(UserError, match=r"this evidence is not what was measured: its hash does not match"):
        decided(venture)
    pilot.unlink()
    assert set(decided(venture)) == {"train"}, "the record itself says what training takes"


def test_the_plan_takes_it_before_a_look_and_says_where_it_is_from(venture, pilot, make_decision, monkeypatch):
    make_decision(venture)
    begin_plan(venture, date(2026, 12, 1))
    assert "decisions/0001-as-it-is.md" in (venture.folder / "plan.yaml").read_text("utf-8")
    known = look(venture, who="Ada", draws=100).known
    assert [(id, known[id].source, known[id].decision) for id in ("prepare", "train", "evaluate")] == [
        ("prepare", "assumed", None), ("train", "measured", 1), ("evaluate", "measured", 1),
    ]  # fmt: skip
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    assert told_from(known["train"]) == "decision 1 (measured)"
    monkeypatch.setenv("LODESTAR_LANGUAGE", "zh")
    assert told_from(known["train"]) == "决策 1（实测）"


def test_what_a_decision_only_assumed_gives_way_to_what_was_seen(venture, make_decision):
    make_decision(venture)
    assumed = decided(venture)["train"]
    assert (assumed.source, assumed.decision) == ("assumed", 1)
    assert Measured(decided=assumed).duration("train") == assumed
    assert Measured(predicted=60, decided=assumed).duration("train").source == "predicted"
    assert Measured(seconds=[60], decided=assumed).duration("train").source == "measured"
