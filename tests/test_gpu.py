"""What must hold on a GPU as it does on the CPU. Skipped where there is none."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lodestar.build.completion import CompletionRequest, complete, complete_all
from lodestar.contracts.task import device_of
from lodestar.model.config import ModelConfig
from lodestar.model.generate import generate
from lodestar.model.transformer import Transformer
from lodestar.prepare import train_tokenizer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
TEXT = "the lamp is lit, and the river runs"


@pytest.fixture(scope="module")
def toy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_run", Path(__file__).parent / "train" / "toy_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_run"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "fields", [{}, {"precision": "bf16", "ema": 0.95}, {"optimizer": "adamw", "accumulate": True}, {"compile": "no", "precision": "bf16"}],
    ids=str,
)  # fmt: skip
def test_a_run_that_is_cut_off_gives_the_same_bits(toy: ModuleType, tmp_path: Path, fields: dict[str, Any]) -> None:
    class CutOff(Exception):  # noqa: N818 - not an error of the program
        pass

    class Cutting(toy.Sums):  # type: ignore[name-defined]
        last = 0

        def next_batch(self) -> dict[str, torch.Tensor]:
            if self.position == self.last:
                raise CutOff
            batch: dict[str, torch.Tensor] = super().next_batch()
            return batch

    settings = toy.make_settings(23, **fields)
    record = toy.run(tmp_path / "whole", settings, model=toy.make_model().cuda())
    assert record.config["machine"]["device"] == "cuda"
    for last in (7, 16, 20):
        loader = Cutting()
        loader.last = last
        with pytest.raises(CutOff):
            toy.run(tmp_path / "cut", settings, loader, toy.make_model().cuda())
    torch.rand(100, device="cuda")  # what was drawn before the call has no part in it
    toy.run(tmp_path / "cut", settings, model=toy.make_model(seed=9).cuda())
    whole, cut = (load_file(tmp_path / out / "model" / "model.safetensors") for out in ("whole", "cut"))
    for name, weight in whole.items():
        assert torch.equal(weight, cut[name]), name
    assert not torch.equal(whole["embedding.weight"], toy.make_model().embedding.weight)


def test_decoding_in_float32_writes_what_the_cpu_writes() -> None:
    tokenizer = train_tokenizer([TEXT], 280)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocabulary_size, 64, 2, 4, 64, key_value_heads=2, qk_norm=True, initial_std=0.3)).eval()
    prompts, request = [TEXT[:9], TEXT[:20], "l"], CompletionRequest(prompt=TEXT[:9], max_tokens=20)
    tokens = torch.tensor([tokenizer.encode(TEXT)[:8]])
    expected = complete_all(model, tokenizer, prompts, 20), complete(model, tokenizer, request), generate(model, tokens, 20)
    with torch.inference_mode():
        logits = model(tokens)
        model.cuda()
        # Sums in another order; TF32 is off by default.
        torch.testing.assert_close(model(tokens.cuda()).cpu(), logits, atol=1e-4, rtol=1e-4)
    assert complete_all(model, tokenizer, prompts, 20) == expected[0]
    assert complete(model, tokenizer, request) == expected[1]
    assert torch.equal(generate(model, tokens.cuda(), 20).cpu(), expected[2])
    drawn = [generate(model, tokens.cuda(), 20, temperature=1.0, top_k=20, top_p=0.9, seed=5) for _ in range(2)]
    assert torch.equal(drawn[0], drawn[1])
    assert device_of(model).type == "cuda"


@pytest.mark.parametrize("task", ["text-generation", "code-generation", "classification"])
def test_a_venture_is_trained_and_evaluated_on_it(task: str, tmp_path: Path) -> None:
    environment = {**os.environ, "LODESTAR_LANGUAGE": "en"}

    def lodestar(*arguments: str | Path) -> Any:
        command = [sys.executable, "-m", "lodestar.cli.main", *map(str, arguments), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    venture = tmp_path / "venture"
    lodestar("new", "small", "--template", task, "--path", venture)
    file = yaml.safe_load((venture / "venture.yaml").read_text("utf-8"))
    file["train"] = {"tokens": 20_000, "compile": "no"}
    file["data"] = {**file["data"], "sources": ["builtin:sample"], "validation": 0.2, "test": 0.2}
    file["model"] = {"size": "tiny", "context": 256, "overrides": {"depth": 1, "width": 32, "heads": 1}}
    (venture / "venture.yaml").write_text(yaml.safe_dump(file, allow_unicode=True), "utf-8")
    done = lodestar("run", "--venture", venture)
    assert done["train"]["record"]["config"]["machine"]["device"] == "cuda"
    scores = json.loads((Path(done["evaluate"]["folder"]) / "scorecard.json").read_text("utf-8"))["scores"]
    assert all(torch.isfinite(torch.tensor(score["value"])) for score in scores)
