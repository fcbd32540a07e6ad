"""An open checkpoint through a venture: new → run → release → chat, with all weights and by an adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
import yaml
from click.testing import CliRunner

from lodestar.build.opening import open_bundle
from lodestar.cli._opening import task_for
from lodestar.cli.main import cli, main
from lodestar.model.transformer import Transformer


def venture_of(folder: Path, base: Path, **changes: Any) -> Path:
    """A chat venture made by `lodestar new`, then pointed at the base and trained for a moment."""
    CliRunner().invoke(cli, ["new", "Mate", "--template", "chat", "--path", str(folder)], catch_exceptions=False)
    file = folder / "venture.yaml"
    venture = yaml.safe_load(file.read_text("utf-8"))
    venture |= {
        "model": {"base": str(base), "context": 128}, "train": {"tokens": 4096, "batch_tokens": 1024, "learning_rate": 0.01},
        "evaluate": {"resamples": 100}, "targets": [{"metric": "bits_per_byte", "at_most": 100}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(venture | changes, allow_unicode=True), "utf-8")
    return folder


def run(*arguments: str | Path) -> Any:
    done = CliRunner().invoke(cli, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, save_llama: Callable[..., Path]) -> Path:
    return save_llama(tmp_path_factory.mktemp("base") / "tiny-llama")


@pytest.mark.slow
def test_a_base_is_fine_tuned_released_and_talked_to(base: Path, tmp_path: Path) -> None:
    venture = venture_of(tmp_path / "mate", base)
    steps, told = run("run", "--venture", venture)
    assert "trains all weights" in told
    prepared = Path(steps["prepare"]["folder"])
    assert (prepared / "tokenizer.json").read_text() != ""
    assert json.loads((prepared / "card.json").read_text())["tokenizer"]["sample_bytes"] == 0
    assert steps["train"]["record"]["facts"]["validation_loss"] < 6.0, "less than at random, ln 320, and a little"
    again, _ = run("run", "--venture", venture)
    assert all(step["skipped"] for step in again.values())
    release, _ = run("release", "--venture", venture)
    folder = Path(release["folder"])
    bundle = open_bundle(folder, task_for(folder))
    assert bundle.tokenizer.backend.token_to_id("<|user|>") is not None, "the base's tokenizer"
    assert bundle.config.context == 128
    answer, _ = run("chat", folder, "--message", "Which way is north?", "--temperature", "0", "--max-tokens", "12")
    assert answer["message"]["role"] == "assistant"
    # The template is the base's, so a question reads as one of its own.
    theirs = transformers.AutoTokenizer.from_pretrained(base)
    asked = theirs.apply_chat_template([{"role": "user", "content": "Which way is north?"}], add_generation_prompt=True)["input_ids"]
    assert answer["usage"]["prompt_tokens"] == len(asked)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:peft.*", "ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("kind", [{}, {"base": "nf4", "targets": ["query", "value"]}])
def test_an_adapter_is_trained_beside_it_merged_and_given_to_peft(base: Path, tmp_path: Path, kind: dict[str, Any]) -> None:
    venture = venture_of(tmp_path / "mate", base, adapter={"rank": 4, "alpha": 8, **kind})
    run("prepare", "--venture", venture)
    step, told = run("train", "--venture", venture)
    assert "trains an adapter" in told
    trained = Path(step["folder"])
    merged = open_bundle(trained / "model", task_for(trained / "model")).model
    assert isinstance(merged, Transformer)
    original = open_bundle(base, task_for(base)).model
    assert torch.equal(merged.state_dict()["embedding.weight"], original.state_dict()["embedding.weight"]), "it stays as it was"
    if not kind:
        ids = torch.arange(3, 40)[None]
        model = peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), str(trained / "adapter")).eval()
        with torch.inference_mode():
            torch.testing.assert_close(merged(ids), model(ids).logits, rtol=1e-3, atol=1e-3)


def test_records_that_are_too_long_are_told_before_training_and_refused_on_demand(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"instruction": f"Say {n}.", "output": "word " * (200 if n == 3 else 5) + str(n)} for n in range(30)]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    data = {"sources": [str(tmp_path / "records.jsonl")], "validation": 0, "test": 0.2}
    venture = venture_of(tmp_path / "drop", base, data=data | {"too_long": "drop"})
    run("prepare", "--venture", venture)
    _, told = run("train", "--venture", venture)
    line = next(line for line in told.splitlines() if "longer than the context of 128" in line)
    assert "1 of" in line
    assert "are left out of training" in line
    venture = venture_of(tmp_path / "refuse", base, data=data | {"too_long": "refuse"})
    assert main(["prepare", "--venture", str(venture)]) == 2
    refused = capsys.readouterr().err.strip().splitlines()[-1]
    assert "longer than the context of 128 tokens" in refused
    assert "data.too_long" in refused
    assert not list(venture.glob("runs/*/record.json"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": {"base": "nowhere/at-all"}}, "nowhere/at-all"),
        ({"model": {"context": 4096}}, "the base reads at most 256 tokens"),
        ({"model": {"overrides": {"depth": 3}}}, "a base has its shape already"),
        ({"task": "classification", "north_star": "accuracy", "targets": [{"metric": "accuracy", "at_least": 0}]},
         "the task needs a model that is a encoder, and the base is a decoder"),
        ({"model": {"base": None}, "adapter": {"rank": 4}}, "adapter fine-tunes a model, and none is named"),
        ({"adapter": {"rnak": 4}}, "did you mean 'rank'"),
    ],
)  # fmt: skip
def test_what_cannot_be_fine_tuned_is_refused_before_anything_is_written(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = {"base": str(base)} | changes.pop("model", {})
    venture = venture_of(tmp_path / "mate", base, **changes, model={name: value for name, value in model.items() if value is not None})
    assert main(["run", "--venture", str(venture)]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(venture.glob("runs/*/record.json"))
