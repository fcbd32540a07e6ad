"""`lodestar doctor`, and what training refuses: the nearest setting that fits is named, and it fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from lodestar import tasks
from lodestar.cli._preflight import StageNeeds, Training, check_states, check_training, serving_bytes, size, span, with_depth
from lodestar.cli.main import main
from lodestar.contracts.adapter import AdapterSettings
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import PreferenceSettings, RewardSettings, TrainSettings
from lodestar.model.cache import KVCache
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.tasks.text_generation import TextGeneration
from lodestar.train.grpo import Reinforcement, longest_batch, sampling_bytes, write
from lodestar.train.live_bytes import LiveBytes
from lodestar.train.pairs import Pair, batch_of
from lodestar.train.preference import Preference
from lodestar.train.scoring import Scored
from lodestar.venture.vision import Budget

CONTEXT, ROWS = 32, 64
CONFIG = ModelConfig(vocabulary_size=300, width=64, depth=3, heads=2, context=CONTEXT)
SETTINGS = TrainSettings(
    learning_rate=0.01, batch_tokens=ROWS * CONTEXT, micro_batch_tokens=ROWS * CONTEXT, tokens=10 * ROWS * CONTEXT, precision="fp32"
)


def batch() -> dict[str, torch.Tensor]:
    tokens = torch.arange(2 * CONTEXT).view(2, CONTEXT) % 300
    return {"tokens": tokens, "targets": tokens}


def test_a_run_that_fits_is_described() -> None:
    budget = Budget(amount=100, currency="EUR", per_hour=3600.0)
    needs, lines = check_training(Training(TextGeneration(), CONFIG, SETTINGS, budget=budget, free=10**12), batch())
    text = "\n".join(line.en for line in lines)
    assert f"parameters {CONFIG.parameter_count():,}" in text
    assert all(f"{part} " in text for part in ("weights", "gradients", "optimiser", "activations", "overhead"))
    low, high = needs.memory_range
    assert (low, high) == pytest.approx((0.95 * needs.memory_bytes, 1.03 * needs.memory_bytes + 40e6), abs=1)
    assert f"four times in five from {size(low)} to {size(high)}" in text
    # An hour costs 3600, so a second costs 1.
    cost = next(line.en for line in lines if line.en.startswith("cost"))
    assert f"about {10 * needs.step_seconds:,.2f} EUR, of a budget of 100" in cost


def test_an_adapters_run_begins_and_ends_with_the_whole_base() -> None:
    """The codes of four bits are little, but the file that they are made from, and the merged weights, are not."""
    settings = SETTINGS.model_copy(update={"optimizer": "adamw"})
    adapter = AdapterSettings(rank=2, base="nf4")
    needs, _ = check_training(Training(TextGeneration(), CONFIG, settings, adapter, stored=2, free=10**12), batch())
    plain, states = 2 * CONFIG.parameter_count(), needs.states
    assert states.weights_bytes < plain
    assert needs.loading_bytes == plain + states.weights_bytes
    assert needs.merging_bytes == plain + states.gradients_bytes + states.optimizer_bytes
    assert needs.memory_bytes >= needs.held_bytes + needs.loading_bytes
    whole, _ = check_training(Training(TextGeneration(), CONFIG, settings, free=10**12), batch())
    assert whole.merging_bytes == whole.loading_bytes == 0


def test_a_smaller_micro_batch_is_named_and_fits() -> None:
    def training(settings: TrainSettings, free: int) -> Training:
        return Training(TextGeneration(), CONFIG, settings, free=free)

    whole = check_training(training(SETTINGS, 10**12), batch())[0].new_bytes
    free = int(whole * 0.8)
    with pytest.raises(UserError, match=r"^train: the training needs .* are free; set train.micro_batch_tokens to \d+\.$") as refused:
        check_training(training(SETTINGS, free), batch())
    assert refused.value.fix is not None
    tokens = int(refused.value.fix.split()[-1])
    assert tokens % CONTEXT == 0
    assert 0 < tokens < ROWS * CONTEXT
    check_training(training(SETTINGS.model_copy(update={"micro_batch_tokens": tokens}), free), batch())


def preferences(settings: PreferenceSettings) -> list[dict[str, torch.Tensor]]:
    chosen, rejected = (Scored.reply([1] * 16, [token] * 16) for token in (2, 3))
    pair = Pair(chosen, rejected, reference=(0.0, 0.0))
    return [dict(batch_of([pair] * count, 0)) for count in (1, 2)]


def test_a_smaller_micro_batch_of_preferences_is_named_and_fits() -> None:
    settings = PreferenceSettings(batch=96, micro_batch=96)
    tokens = 2 * 96 * CONTEXT

    def training(micro_batch: int, free: int) -> Training:
        stage = StageNeeds(Preference(settings), micro_batch, settings.batch, "preference.micro_batch")
        micro = {"batch_tokens": tokens, "micro_batch_tokens": 2 * micro_batch * CONTEXT, "tokens": tokens, "optimizer": "adamw"}
        return Training(TextGeneration(), CONFIG, SETTINGS.model_copy(update=micro), free=free, stage=stage)

    free = int(check_training(training(96, 10**12), preferences(settings))[0].new_bytes * 0.8)
    with pytest.raises(UserError, match=r"; set preference.micro_batch to \d+\.$") as refused:
        check_training(training(96, free), preferences(settings))
    rows = int((refused.value.fix or "").split()[-1])
    assert 0 < rows < 96
    assert 96 % rows == 0
    check_training(training(rows, free), preferences(settings))


def test_a_round_of_replies_takes_its_cache_and_a_second_copy() -> None:
    """What is said of the sampling covers what it takes, and is not far from it; the bound is ours."""
    settings, prompt, pad = RewardSettings(prompts=8, group=8, max_tokens=12), [1] * 16, 0
    told = sampling_bytes(CONFIG, settings, len(prompt), 4)
    torch.manual_seed(0)
    model = Transformer(CONFIG)
    with LiveBytes() as live:
        for parameter in model.parameters():
            live.add(parameter)
        before = sum(parameter.nbytes for parameter in model.parameters())
        write(model, [prompt] * settings.replies, settings.max_tokens, stops=[], pad=pad, temperature=1.0, seed=0)
    assert 0.5 * told < max(live.history) - before < 1.1 * told
    stage = StageNeeds(
        Reinforcement(settings), settings.rows, settings.replies, "reward.micro_batch", copies=True, otherwise="lower reward.prompts",
        sampling_bytes=10**9,
    )  # fmt: skip
    training = Training(TextGeneration(), CONFIG, SETTINGS.model_copy(update={"optimizer": "adamw"}), free=10**12, stage=stage)
    batches = [longest_batch(prompt, settings, pad, rows) for rows in (1, 2)]
    needs, lines = check_training(training, batches)
    assert needs.reference_bytes == needs.states.weights_bytes
    assert needs.new_bytes == needs.reference_bytes + needs.states.memory_bytes + 10**9
    assert any("while sampling 1.0 GB" in line.en for line in lines)
    with pytest.raises(UserError, match=r"of memory, and 1.0 GB are free; lower reward.prompts\."):
        check_training(replace(training, free=10**9), batches)


def test_what_can_never_fit_is_refused_from_its_shape() -> None:
    huge = ModelConfig(vocabulary_size=50_000, width=16_384, depth=96, heads=128, context=4096)
    with pytest.raises(UserError, match=r"needs at least .* GB of memory, and 64 GB are free; set model.overrides.depth to 1 "):
        check_states(Training(TextGeneration(), huge, SETTINGS, free=0), 64 * 10**9)
    with pytest.raises(UserError, match=r"and 1.0 GB are free; take a smaller model.size\."):
        check_states(Training(TextGeneration(), huge, SETTINGS, free=0), 10**9)


@pytest.mark.parametrize("fields", [{}, {"key_value_heads": 1}, {"architecture": "encoder-decoder", "decoder_depth": 2}], ids=str)
def test_the_cache_is_as_large_as_said(tmp_path: Path, fields: dict[str, Any]) -> None:
    config = ModelConfig(vocabulary_size=300, width=64, depth=3, heads=2, context=40, **fields)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x" * 1234)
    cache = KVCache(config, 3, config.context, dtype=torch.bfloat16)
    assert serving_bytes([weights], config, 3, 2) == (1234, cache.memory_bytes())


def test_fewer_layers_keep_what_belongs_to_them() -> None:
    config = ModelConfig(10, 8, 3, 2, 8, layer_windows=(4, None, 4), experts=2, dense_layers=(0, 2))
    one = with_depth(config, 1)
    assert (one.depth, one.layer_windows, one.dense_layers) == (1, (4,), (0,))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venture = {
        "name": "small", "statement": "Continues a text.", "audience": "testers", "north_star": "bits_per_byte", "task": "text-generation",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 64, "overrides": {"depth": 1, "width": 32, "heads": 1}}, "train": {"tokens": 512},
        "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }  # fmt: skip

    def doctor(*arguments: str) -> dict[str, Any]:
        assert main(["doctor", "--venture", str(tmp_path), "--json", *arguments]) == 0
        value: dict[str, Any] = json.loads(capsys.readouterr().out)
        return value

    assert set(doctor()) == {"machine"}
    (tmp_path / "venture.yaml").write_text(yaml.safe_dump(venture), "utf-8")
    before = doctor()["training"]
    assert main(["prepare", "--venture", str(tmp_path)]) == 0
    capsys.readouterr()
    after = doctor()["training"]
    assert before["at_least_bytes"] < after["memory_bytes"]
    assert after["seconds"] > 0


@pytest.mark.parametrize("name", tasks.names())
def test_every_new_venture_can_be_looked_at_before_its_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "x", "--template", name]) == 0
    capsys.readouterr()
    assert main(["doctor", "--venture", "x", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)["training"]
    assert known == {} if tasks.find(name).shaped_by_data else known["at_least_bytes"] > 0


def test_each_stage_that_is_asked_for_is_foreseen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"prompt": f"{n} + 1 =", "chosen": f"{n + 1}", "rejected": f"{n}"} for n in range(30)]
    records += [{"prompt": f"{n} + 1 =", "completion": f"{n + 1}", "answer": f"{n + 1}"} for n in range(30)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    venture = {
        "name": "sums", "statement": "Adds.", "audience": "testers", "north_star": "bits_per_byte", "task": "chat",
        "data": {"sources": ["sums.jsonl"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 64, "overrides": {"depth": 2, "width": 32, "heads": 1}}, "train": {"tokens": 2048},
        "preference": {"batch": 8, "micro_batch": 4}, "reward": {"prompts": 4, "group": 4, "max_tokens": 8},
        "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }  # fmt: skip
    (tmp_path / "venture.yaml").write_text(yaml.safe_dump(venture), "utf-8")
    assert main(["prepare", "--venture", str(tmp_path)]) == 0
    assert main(["doctor", "--venture", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out[printed.out.index('{\n  "machine"') :])
    assert told["training"]["preference"]["states"] == told["training"]["reward"]["states"]
    assert told["training"]["preference"]["reference_bytes"] == 0
    assert told["training"]["reward"]["reference_bytes"] == told["training"]["reward"]["states"]["weights_bytes"]
    assert "the stage preference will take:" in printed.err
    assert "the stage reward will take:" in printed.err


def test_no_such_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path), "--venture", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_sizes_and_spans_for_a_person() -> None:
    assert [size(count) for count in (12, 1500, 2_340_000, 25e9)] == ["12 B", "1.5 kB", "2.3 MB", "25 GB"]
    assert [span(seconds)[0] for seconds in (0.1, 90, 600, 10_000)] == ["1 seconds", "90 seconds", "10.0 minutes", "2.8 hours"]


# On what transformers saved


def answer(language: str, *arguments: str | Path) -> str:
    """What the command prints, as a person meets it: a process of its own."""
    command = [sys.executable, "-m", "lodestar.cli.main", "doctor", *map(str, arguments)]
    environment = {**os.environ, "LODESTAR_LANGUAGE": language}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_an_open_model_takes_is_said_in_both_languages(llama: Path) -> None:
    weights = (llama / "model.safetensors").stat().st_size
    # Keys and values of 2 layers, 2 heads of 8 numbers, 256 tokens, 4 bytes each, for 3 requests.
    cache = 2 * 2 * 2 * 8 * 256 * 4 * 3
    value = json.loads(answer("en", llama, "--turns", "3", "--json"))
    assert value["serving"] == {"weights_bytes": weights, "cache_bytes": cache, "turns": 3, "context": 256}
    assert value["machine"]["cores"] >= 1
    told = answer("en", llama, "--turns", "3").splitlines()
    assert told[0].startswith("This machine: ")
    assert told[1] == (
        f"Serving takes {size(weights + cache)} beside the program itself: weights {size(weights)}, and {size(cache)} for 3 requests "
        "at the whole context of 256 tokens."
    )
    told = answer("zh", llama, "--turns", "3").splitlines()
    assert told[0].startswith("本机：")
    assert told[1] == (
        f"提供服务除程序本身外需要 {size(weights + cache)}：权重 {size(weights)}，3 个请求各占满 256 个词元的上下文时缓存 {size(cache)}。"
    )


def test_the_parts_of_a_sharded_model_are_added_and_an_encoder_has_no_cache(llama: Path, tmp_path: Path) -> None:
    whole = transformers.AutoModelForCausalLM.from_pretrained(llama)
    whole.save_pretrained(tmp_path / "parts", max_shard_size="50KB")
    files = list((tmp_path / "parts").glob("*.safetensors"))
    assert len(files) > 1
    assert json.loads(answer("en", tmp_path / "parts", "--json"))["serving"]["weights_bytes"] == sum(file.stat().st_size for file in files)
    config = transformers.BertConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    assert json.loads(answer("en", tmp_path / "bert", "--json"))["serving"]["cache_bytes"] == 0


@pytest.mark.slow
def test_what_fine_tuning_an_open_model_takes(llama: Path, tmp_path: Path) -> None:
    venture = {
        "name": "mate", "statement": "Answers.", "audience": "testers", "north_star": "bits_per_byte", "task": "chat",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2}, "model": {"base": str(llama), "context": 128},
        "train": {"tokens": 4096}, "adapter": {"rank": 2, "base": "nf4"}, "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }  # fmt: skip
    (tmp_path / "venture.yaml").write_text(yaml.safe_dump(venture), "utf-8")
    assert main(["prepare", "--venture", str(tmp_path)]) == 0
    value = json.loads(answer("en", "--venture", tmp_path, "--json"))["training"]
    assert 0 < value["states"]["trainable"] < value["states"]["parameters"]
    assert value["merging_bytes"] > (llama / "model.safetensors").stat().st_size * 0.9
    assert "训练放得下。" in answer("zh", "--venture", tmp_path)
