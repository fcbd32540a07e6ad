"""A small real training: noisy modular sums, learnt by a small Transformer. A module for the tests, and a program for them to kill."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from lodestar.contracts.language import Words
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.record import RunRecord
from lodestar.contracts.settings import TrainSettings
from lodestar.contracts.task import Batch, Example, Task
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.store.files import atomic_folder
from lodestar.train.loop import train

VOCABULARY, CONTEXT, ROWS = 16, 24, 4


class Toy(Task):
    """Predict the next token; a batch may bring features of its own that weigh its loss."""

    name = "toy"
    words = Words("A toy.", "玩具。")
    example, metrics, batching, endpoint, template = Example, (), "packed", "completions", {}

    @classmethod
    def sample(cls) -> Sequence[Example]:
        raise NotImplementedError

    def texts(self, example: Any) -> Iterator[str]:
        raise NotImplementedError

    def encode(self, example: Any, tokenizer: Any) -> Mapping[str, Sequence[int] | int]:
        raise NotImplementedError

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder"}

    def build(self, config: Any) -> nn.Module:
        return Transformer(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        logits = model(batch["tokens"]).float()
        nats = F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=-100, reduction="none")
        if "weight" in batch:
            nats = nats * batch["weight"].repeat_interleave(batch["tokens"].shape[1])
        return nats.sum(), (batch["targets"] != -100).sum()

    def measure(self, model: nn.Module, tokenizer: Any, examples: Sequence[Any]) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def baseline(self, train: Sequence[Any], examples: Sequence[Any]) -> tuple[str, dict[str, np.ndarray]]:
        raise NotImplementedError

    def request(self, example: Any) -> dict[str, Any]:
        raise NotImplementedError

    def answer(self, model: nn.Module, tokenizer: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


class Sums:
    """Batches of sequences whose token is the sum of the two before it, modulo the vocabulary, with some noise.

    `weights` gives the weight of the losses of some batches by number: an infinite or huge one is bad data.
    """

    def __init__(self, seed: int = 0, rows: int = ROWS, weights: Mapping[int, float] | None = None) -> None:
        self.seed, self.rows, self.weights, self.position = seed, rows, dict(weights or {}), 0

    def next_batch(self) -> Batch:
        random = generator(self.seed, "batch", self.position)
        tokens = random.integers(0, VOCABULARY, (self.rows, CONTEXT + 1))
        noise = random.random(tokens.shape) < 0.1
        for t in range(2, CONTEXT + 1):
            sums = (tokens[:, t - 1] + tokens[:, t - 2]) % VOCABULARY
            tokens[:, t] = np.where(noise[:, t], tokens[:, t], sums)
        batch = {"tokens": torch.from_numpy(tokens[:, :-1].copy()), "targets": torch.from_numpy(tokens[:, 1:].copy())}
        if self.position in self.weights:
            batch["weight"] = torch.full((self.rows,), self.weights[self.position])
        self.position += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]


def make_model(seed: int = 0, **fields: Any) -> Transformer:
    torch.manual_seed(derive_seed(seed, "model"))
    shape = {"width": 32, "depth": 2, "heads": 2, "context": CONTEXT, "dropout": 0.1, "qk_norm": True}
    return Transformer(ModelConfig(VOCABULARY, **{**shape, **fields}))


def held_out() -> list[Batch]:
    batches = Sums(seed=1, rows=16)
    return [batches.next_batch() for _ in range(2)]


def make_settings(steps: int, **fields: Any) -> TrainSettings:
    batch_tokens = ROWS * CONTEXT * (2 if fields.pop("accumulate", False) else 1)
    fields = {"learning_rate": 0.01, "precision": "fp32", "checkpoint_every": 5, "evaluate_every": 10, **fields}
    return TrainSettings(batch_tokens=batch_tokens, micro_batch_tokens=ROWS * CONTEXT, tokens=steps * batch_tokens, **fields)


def save(model: nn.Module, folder: Path) -> None:
    with atomic_folder(folder, replace=True) as partial:
        save_file(dict(model.named_parameters()), partial / "model.safetensors")


def run(out: Path, settings: TrainSettings, loader: Sums | None = None, model: nn.Module | None = None) -> RunRecord:
    return train(Toy(), model or make_model(), loader or Sums(), held_out, settings, out, save=save, inputs={"data": "sums"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), TrainSettings.model_validate(json.loads(sys.argv[2])))
