"""What a step did: written last into its folder, so that a folder without a record is unfinished."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .config import Config
from .score import Cost, Score

RECORD_FILE = "record.json"


class RunRecord(Config):
    """One finished run of one step."""

    step: str
    """prepare, train or evaluate."""
    id: str
    """The fingerprint of everything that shaped it: equal fingerprints, equal work."""
    started: str
    finished: str
    config: dict[str, Any]
    """The settings, defaults and derived values included."""
    inputs: dict[str, str]
    """What went in: name → hash."""
    outputs: dict[str, str]
    """What came out: file → hash."""
    scores: list[Score] = []
    facts: dict[str, Any] = {}
    """What else a reader wants to know: counts, parameters, the last loss."""
    cost: Cost
    versions: dict[str, str]
    """Lodestar, Python, torch, platform."""
    seed: int


class Scorecard(Config):
    """What an evaluation found: the model's scores beside its baseline's, on the same examples."""

    task: str
    split: str
    data: str
    """The hash of the evaluated records."""
    scores: list[Score]
    baseline: list[Score]
    baseline_name: str
    signatures: dict[str, str] = {}
    """Metric → how exactly it was computed, where one name stands for several ways."""

    def score(self, metric: str) -> Score | None:
        return next((score for score in self.scores if score.metric == metric), None)


def fingerprint(value: Any) -> str:
    """A short hash of any JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
