"""What cannot be measured as it is written is named: all of it, in one sentence; and what only sounds like a promise is remarked on."""

from __future__ import annotations

import pytest

from lodestar import tasks
from lodestar.contracts.errors import UserError
from lodestar.evaluate.system import SYSTEM_METRICS
from lodestar.venture.measurable import claims, measurable
from lodestar.venture.scaffold import create
from lodestar.venture.vision import load_venture_file

DATED = {"by": "2099-01-31"}
ACCURACY = {"metric": "accuracy", "at_least": 0.8, **DATED}


def test_all_that_is_missing_is_one_sentence(make_venture, metrics):
    targets = [{"metric": "accuracy", "at_least": 0.8}, {"metric": "latency_ms_p95", "at_most": 5, "by": "soon"}]
    with pytest.raises(UserError) as caught:
        measurable(make_venture(targets=targets).file, metrics)
    assert str(caught.value) == (
        "venture.yaml: targets.0: no date by which it is to hold (by: YYYY-MM-DD); "
        "targets.1: no unit, and 'latency_ms_p95' is measured in ms (unit: ms); targets.1: 'soon' is no date (by: YYYY-MM-DD); "
        "without it nobody can say whether the promise is kept: write it there."
    )


def test_a_unit_a_threshold_and_a_day_are_enough(make_venture, metrics):
    measurable(make_venture(targets=[ACCURACY, {"metric": "latency_ms_p95", "at_most": 5, "unit": "ms", **DATED}]).file, metrics)


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_threshold_that_no_value_or_every_value_keeps_is_none(make_venture, value):
    venture = make_venture(targets=[ACCURACY])
    text = venture.path.read_text()
    assert "at_least: 0.8" in text
    venture.path.write_text(text.replace("at_least: 0.8", f"at_least: {value}"))
    with pytest.raises(UserError, match=r"targets\.0\.at_least.*finite number"):
        load_venture_file(venture.path)


@pytest.mark.parametrize(
    ("statement", "targets", "word"),
    [
        ("Answers come fast.", [ACCURACY], "'fast' claims speed, and no target measures it; add one on latency_ms_p95, or"),
        ("Answers come fast.", [ACCURACY, {"metric": "latency_ms_p95", "at_most": 9}], None),
        ("Accurate answers.", [{"metric": "latency_ms_p95", "at_most": 9}], "'Accurate' claims quality"),
        ("Accurate answers.", [ACCURACY], None),
        ("The world's best answers.", [ACCURACY], '"world\'s best" claims a rank among others, which nothing here measures'),
        ("Breakfast is served; the steadfast compactor runs.", [ACCURACY], None),
        ("回答又快速又可靠。", [ACCURACY], "“快速”说的是速度"),
        ("领先的客服。", [ACCURACY], "“领先”说的是与他人相比的名次，无从测量"),
    ],
)
def test_a_big_word_without_a_promise_behind_it_is_remarked_on(make_venture, metrics, statement, targets, word):
    found = claims(make_venture(statement=statement, targets=targets, north_star=targets[0]["metric"]).file, metrics)
    assert len(found) == (word is not None)
    assert all(word in words.zh or word in words.en for words in found if word)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_template_begins_with_a_remark(tmp_path, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    for name in tasks.names():
        task = tasks.find(name)
        metrics = {metric.name: metric for metric in (*task.metrics, *SYSTEM_METRICS)}
        file = load_venture_file(create(tmp_path / name, "x", task.template))
        measurable(file, metrics)
        assert claims(file, metrics) == []
