"""A bundle gives back the same model to the last bit, and says which file is damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from torch import nn

from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.heads import SequenceClassifier
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer


def byte_tokenizer() -> Tokenizer:
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *sorted(alphabet)])}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return Tokenizer(backend)


def build(task: Mapping[str, Any], config: ModelConfig) -> nn.Module:
    return SequenceClassifier(config, task["labels"]) if "labels" in task else Transformer(config)


@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_model_computes_the_same(tmp_path: Path, position: str, tied: bool) -> None:
    config = ModelConfig(258, width=12, depth=2, heads=3, context=16, position=position, tied_embeddings=tied)  # type: ignore[arg-type]
    model, tokens = Transformer(config).eval(), torch.randint(0, 258, (2, 9))
    save_bundle(tmp_path / "model", Bundle(model, config, byte_tokenizer(), {"task": "x", "options": {}, "state": {"k": ["好"]}}))
    again = load_bundle(tmp_path / "model", build)
    assert torch.equal(again.model(tokens), model(tokens))
    assert (again.config, again.task["state"]) == (config, {"k": ["好"]})
    assert again.tokenizer.decode(again.tokenizer.encode("héllo 学习 \x00")) == "héllo 学习 \x00"


def test_a_classifier_is_read_back_and_padding_changes_no_logit(tmp_path: Path) -> None:
    config = ModelConfig(258, width=12, depth=2, heads=3, context=16, architecture="encoder")
    model = SequenceClassifier(config, 4).eval()
    save_bundle(tmp_path / "model", Bundle(model, config, byte_tokenizer(), {"task": "x", "labels": 4}))
    again = load_bundle(tmp_path / "model", build).model
    tokens, real = torch.randint(0, 258, (1, 5)), torch.ones(1, 5, dtype=torch.bool)
    padded = torch.nn.functional.pad(tokens, (0, 6), value=1)
    torch.testing.assert_close(again(padded, torch.nn.functional.pad(real, (0, 6))), model(tokens, real))


def test_a_saved_bundle_replaces_the_one_before(tmp_path: Path) -> None:
    config = ModelConfig(258, width=12, depth=1, heads=3, context=16)
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = Transformer(config).eval()
        save_bundle(tmp_path / "model", Bundle(model, config, byte_tokenizer(), {"task": "x"}))
    tokens = torch.randint(0, 258, (1, 4))
    assert torch.equal(load_bundle(tmp_path / "model", build).model(tokens), model(tokens))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def damage(file: Path, how: str) -> None:
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    elif how == "empty":
        file.write_bytes(b"")
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"width": 24}))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(
            (name, how)
            for name in ("model.safetensors", "config.json", "tokenizer.json", "task.json")
            for how in ("missing", "cut", "empty")
        ),
        ("config.json", "other"),
    ],
)
def test_a_damaged_bundle_names_the_file(tmp_path: Path, name: str, how: str) -> None:
    config = ModelConfig(258, width=12, depth=1, heads=3, context=16)
    save_bundle(tmp_path / "model", Bundle(Transformer(config), config, byte_tokenizer(), {"task": "x"}))
    damage(tmp_path / "model" / name, how)
    with pytest.raises(UserError) as caught:
        load_bundle(tmp_path / "model", build)
    assert ("model.safetensors" if how == "other" else name) in str(caught.value)


def test_loading_takes_little_more_memory_than_the_weights(tmp_path: Path) -> None:
    # 80 MB of weights; a second copy would show.
    config = ModelConfig(258, width=640, depth=4, heads=10, context=64, feed_forward="gelu")
    model = Transformer(config)
    weights = 4 * model.parameter_count()
    save_bundle(tmp_path / "model", Bundle(model, config, byte_tokenizer(), {"task": "x"}))
    program = f"""
import resource, pathlib
from lodestar.build.bundle import load_bundle
from lodestar.model.transformer import Transformer
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bundle = load_bundle(pathlib.Path({str(tmp_path / "model")!r}), lambda task, config: Transformer(config))
sum(float(parameter.sum()) for parameter in bundle.model.parameters())
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""
    grown = int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
    assert grown < 1.1 * weights + 20_000_000
