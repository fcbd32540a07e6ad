"""`lodestar quantize`: codes in a release, beside what the model was before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.build.bundle import load_bundle
from lodestar.cli._plan import load_task
from lodestar.cli.main import main
from lodestar.model.quantized import QuantizedLinear


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")


@pytest.mark.slow
def test_codes_are_measured_beside_the_plain_model_and_released(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venture = {
        "name": "small", "statement": "Continues a text.", "audience": "testers", "north_star": "bits_per_byte", "task": "text-generation",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 1, "width": 64, "heads": 2}},
        "train": {"tokens": 4_096}, "evaluate": {"resamples": 100}, "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }  # fmt: skip
    (tmp_path / "venture.yaml").write_text(yaml.safe_dump(venture), "utf-8")

    def lodestar(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*arguments, "--venture", str(tmp_path), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    assert "nothing is evaluated" in lodestar("quantize", code=2)["error"]["what"]
    plain = lodestar("run")
    made = lodestar("quantize", "--bits", "4", "--head")
    savings = made["train"]["record"]["facts"]["savings"]
    assert savings["after_bytes"] < savings["before_bytes"]
    card = json.loads((Path(made["evaluate"]["folder"]) / "scorecard.json").read_text("utf-8"))
    before = json.loads((Path(plain["evaluate"]["folder"]) / "scorecard.json").read_text("utf-8"))
    assert card["baseline_name"] == "before quantisation"
    assert card["data"] == before["data"]

    def bits(scores: list[dict[str, Any]]) -> float:
        value: float = next(score["value"] for score in scores if score["metric"] == "bits_per_byte")
        return value

    assert bits(card["baseline"]) == bits(before["scores"])
    assert bits(card["scores"]) != bits(before["scores"])
    assert bits(card["scores"]) == pytest.approx(bits(before["scores"]), rel=0.02)

    released = lodestar("release")
    bundle = load_bundle(Path(released["folder"]), lambda task, config: load_task(task).build(config))
    assert sum(isinstance(layer, QuantizedLinear) for layer in bundle.model.modules()) > 4
    assert "codes already" in lodestar("quantize", code=2)["error"]["what"]
    # Back to the plain model; and what was quantised once is not done again.
    assert lodestar("run")["evaluate"]["skipped"]
    assert lodestar("quantize", "--bits", "4", "--head")["train"]["skipped"]
