"""A venture with finished runs on the disk, as the steps leave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.contracts.forecast import Forecast
from lodestar.contracts.language import Words
from lodestar.contracts.record import RunRecord, Scorecard
from lodestar.contracts.score import Cost, Metric, Score
from lodestar.contracts.settings import ModelSettings
from lodestar.store.files import write_atomic, write_json
from lodestar.venture.decision import compare
from lodestar.venture.problem import build_problem
from lodestar.venture.record import DecisionRecord, choose, record_files
from lodestar.venture.strategies import DecisionSettings, Strategy
from lodestar.venture.venture import Venture

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
"""The smallest PNG."""

VENTURE: Mapping[str, Any] = {
    "name": "Listener",
    "statement": "Every shop hears its customers.",
    "audience": "owners of small shops",
    "north_star": "accuracy",
    "values": ["Measure first."],
    "red_lines": ["Never identify a person | or a household."],
    "task": "classification",
    "data": {"sources": ["reviews.jsonl"]},
    "targets": [
        {"metric": "accuracy", "at_least": 0.8, "why": "better than the intern"},
        {"metric": "latency_ms_p95", "at_most": 100, "unit": "ms"},
    ],
    "licence": "Apache-2.0",
}


def make_score(metric: str, value: float, low: float, high: float, *, better: str = "higher", unit: str = "", count: int = 500) -> Score:
    return Score.model_validate(
        {"metric": metric, "value": value, "low": low, "high": high, "confidence": 0.95, "count": count, "unit": unit, "better": better}
    )


GOOD = (make_score("accuracy", 0.9, 0.87, 0.93), make_score("latency_ms_p95", 40, 35, 52, better="lower", unit="ms"))


@pytest.fixture
def metrics() -> dict[str, Metric]:
    def metric(name: str, en: str, zh: str, unit: str, better: Any) -> Metric:
        return Metric(name, Words(en, zh), unit, better, lambda columns: float(columns["x"].mean()))

    found = [
        metric("accuracy", "The share of texts that get the right label.", "标签判断正确的文本比例。", "", "higher"),
        metric("latency_ms_p95", "All but one answer in twenty take no longer.", "95% 的回答用时不超过此值。", "ms", "lower"),
        metric("bits_per_byte", "Bits for each byte.", "每字节比特数。", "bits/byte", "lower"),
    ]
    return {metric.name: metric for metric in found}


@pytest.fixture
def make_venture(tmp_path: Path) -> Callable[..., Venture]:
    def make(**changes: Any) -> Venture:
        folder = tmp_path / "venture"
        write_atomic(folder / "venture.yaml", yaml.safe_dump({**VENTURE, **changes}, allow_unicode=True, sort_keys=False))
        return Venture.open(folder)

    return make


@pytest.fixture
def venture(make_venture: Callable[..., Venture]) -> Venture:
    return make_venture()


def _write_run(venture: Venture, step: str, id: str, inputs: dict[str, str], facts: dict[str, Any], finished: str) -> Path:
    folder = venture.run_folder(step, f"folder-of-{id}")
    record = RunRecord(
        step=step, id=id, started="2099-01-01T00:00:00Z", finished=finished, config={}, inputs=inputs, outputs={}, facts=facts,
        cost=Cost(seconds=61, cpu_seconds=120, peak_memory_bytes=2_000_000_000), versions={"lodestar": "0.1.0", "torch": "2.13.0"}, seed=7,
    )  # fmt: skip
    write_json(folder / "record.json", record.model_dump(mode="json"))
    return folder


def _write_runs(venture: Venture, tag: str = "a", scores: tuple[Score, ...] = GOOD, finished: str = "2099-01-01T01:00:00Z") -> None:
    """A prepare, a train and an evaluate run, each with the files that its step leaves; `tag` makes their content differ."""
    splits = {"train": {"records": 900, "tokens": 12_345}, "test": {"records": 500, "tokens": 6_000}}
    data = _write_run(venture, "prepare", f"data-{tag}", {}, {"splits": splits}, finished)
    write_json(data / "card.json", {"tag": tag})
    write_atomic(data / "card.md", "# Data card\n")
    facts = {"parameters": 3_000_000, "tokens": 1_000_000, "steps": 500}
    train = _write_run(venture, "train", f"model-{tag}", {"data": f"data-{tag}"}, facts, finished)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "task.json"):
        write_atomic(train / "model" / name, f"{name} {tag}")
    write_atomic(train / "loss.png", PIXEL)
    write_atomic(train / "checkpoints" / "latest", "not part of a release")
    evaluate = _write_run(venture, "evaluate", f"score-{tag}", {"model": f"model-{tag}", "data": f"data-{tag}"}, {}, finished)
    card = Scorecard(
        task="classification", split="test", data="hash", scores=list(scores), baseline=[make_score("accuracy", 0.7, 0.66, 0.74)],
        baseline_name="character n-grams",
    )  # fmt: skip
    write_json(evaluate / "scorecard.json", card.model_dump(mode="json"))
    write_atomic(evaluate / "measurements.npz", b"columns")
    write_atomic(evaluate / "scorecard.png", PIXEL)


def _decide(venture: Venture, choice: str = "as-it-is", **changes: Any) -> DecisionRecord:
    """A decision between the venture as it is written, another size and no model, by assumptions alone."""
    strategies = [
        Strategy(name="none", kind="baseline"), Strategy(name="as-it-is", kind="scratch"),
        Strategy(name="tiny", kind="scratch", model=ModelSettings(size="tiny")),
    ]  # fmt: skip
    found = {
        "accuracy": Metric("accuracy", Words("Right answers.", "正确率。"), "", "higher", lambda columns: 0.0),
        "latency_ms_p95": Metric("latency_ms_p95", Words("Time.", "用时。"), "ms", "lower", lambda columns: 0.0),
    }
    file = venture.file.model_copy(update={"decision": DecisionSettings(strategies=strategies)})
    problem = build_problem(Venture(venture.folder, file), found, date(2026, 12, 1))
    forecast = Forecast(
        id=f"f{len(record_files(venture)) + 1}", statement="It works.", by="Ada", made=date(2026, 12, 1), resolve_by=date(2027, 3, 1),
        probability=0.7,
    )  # fmt: skip
    fields = {"choice": choice, "by": "Ada", "because": "it is written so", "forecasts": [forecast], **changes}
    return choose(venture, problem, compare(problem, draws=10_000), **fields)[0]


@pytest.fixture
def make_decision() -> Callable[..., DecisionRecord]:
    return _decide


@pytest.fixture
def score() -> Callable[..., Score]:
    return make_score


@pytest.fixture
def write_runs() -> Callable[..., None]:
    return _write_runs
