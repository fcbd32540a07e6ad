"""The changelog: every change that is measured, promised or set, and nothing else."""

from __future__ import annotations

import json

import pytest

from lodestar.store.files import write_json
from lodestar.venture.product import changes_of, release, releases


def change(venture, step: str, **fields) -> None:
    path = venture.latest(step).folder / "record.json"
    write_json(path, json.loads(path.read_text()) | fields)


def test_the_first_release_changes_nothing_and_an_equal_one_neither(venture, write_runs):
    write_runs(venture)
    first, _ = release(venture)
    assert changes_of(venture, first) == []
    assert "## Changes" not in (venture.releases / "v1" / "card.md").read_text()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_scores_promises_data_and_settings_are_told(make_venture, write_runs, score, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    venture = make_venture()
    write_runs(venture)
    change(venture, "train", config={"learning_rate": 0.01, "size": {"width": 64}})
    release(venture)
    venture = make_venture(targets=[{"metric": "accuracy", "at_least": 0.85}])
    better = (score("accuracy", 0.95, 0.92, 0.97), score("f1", 0.9, 0.8, 0.95))
    write_runs(venture, "b", scores=better, finished="2099-01-02T00:00:00Z")
    change(venture, "train", config={"learning_rate": 0.02, "size": {"width": 64}})
    change(venture, "prepare", facts={"splits": {"train": {"records": 1200, "tokens": 1}, "test": {"records": 500, "tokens": 1}}})
    second, _ = release(venture)
    told = [str(words) for words in changes_of(venture, second)]
    expected = {
        "en": ["accuracy: 0.9 [0.87, 0.93] → 0.95 [0.92, 0.97]", "f1: measured for the first time", "latency_ms_p95: measured no more",
               "the promise accuracy: ≥ 0.8 → ≥ 0.85", "the promise latency_ms_p95 ≤ 100 ms was given up", "train: 900 → 1,200 records",
               "train.learning_rate: 0.01 → 0.02"],
        "zh": ["accuracy：0.9 [0.87, 0.93] → 0.95 [0.92, 0.97]", "f1：首次测量", "latency_ms_p95：不再测量",
               "承诺 accuracy：≥ 0.8 → ≥ 0.85", "放弃承诺 latency_ms_p95 ≤ 100 ms", "train：记录数 900 → 1,200",
               "train.learning_rate：0.01 → 0.02"],
    }[language]  # fmt: skip
    assert told == expected
    card = (venture.releases / "v2" / "card.md").read_text()
    assert all(f"- {line}" in card for line in expected)


def test_runs_that_are_gone_are_passed_over(venture, write_runs):
    write_runs(venture)
    release(venture)
    (venture.latest("train").folder / "record.json").unlink()
    write_runs(venture, "b", finished="2099-01-02T00:00:00Z")
    second, _ = release(venture)
    assert changes_of(venture, second) == []
    assert [made.name for made in releases(venture)] == ["v1", "v2"]
