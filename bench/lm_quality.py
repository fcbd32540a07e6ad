"""What a character model learns from a fixed number of tokens: the peer's recipe and ours, through the same model code and loop.

    python -m bench.lm_quality                  # both recipes, three seeds each
    python -m bench.lm_quality ours --seeds 1   # one of them, once

Data: tiny-shakespeare from $LODESTAR_DATA, the last tenth validates. Budget: 1,536,000 training tokens, counted as they go forward
(2,000 steps of 12 rows of 64 characters). Quality: the mean cross-entropy in nats over the whole validation tenth, read in windows of
64 characters that do not overlap. The peer prints an estimate of the same mean from 20 batches of 12 random windows, whose standard
deviation is 0.015 (bench.lm_peer).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from bench.rounds import machine
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.settings import TrainSettings
from lodestar.contracts.task import Batch
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.tasks.text_generation import TextGeneration
from lodestar.train.loop import train

CONTEXT, TOKENS = 64, 1_536_000
SHAPE: dict[str, Any] = {"depth": 4, "heads": 4, "width": 128, "context": CONTEXT}
# Student's t for a 95% interval of a mean, by the number of seeds.
T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}


@dataclass(frozen=True)
class Recipe:
    """A model and how to train it, at the common budget."""

    words: str
    target: str
    model: Mapping[str, Any]
    train: Mapping[str, Any]
    rows: int
    """Windows in one step."""


RECIPES = {
    "peer": Recipe(
        "nanoGPT's README for a CPU: GPT-2's choices, AdamW, cosine",
        "1.88 ± 0.03",
        {"position": "learned", "norm": "layer", "norm_epsilon": 1e-5, "feed_forward": "gelu", "tied_embeddings": True},
        {
            "optimizer": "adamw", "learning_rate": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1, "clip": 1.0,
            "schedule": "cosine", "warmup": 0.05, "floor": 0.1,
        },
        rows=12,
    ),
    "ours": Recipe(
        "rotary positions, RMS norm, ReLU², QK norm, untied embeddings, Muon, linear decay to zero; the same batch and steps",
        "at most 1.70",
        {"feed_forward": "relu2", "qk_norm": True, "tied_embeddings": False},
        {
            "optimizer": "muon", "learning_rate": 0.01, "weight_decay": 0.0, "clip": 1.0,
            "schedule": "wsd", "warmup": 0.02, "decay": 0.98,
        },
        rows=12,
    ),
}  # fmt: skip


class Corpus:
    """The characters as ids, cut into the customary halves."""

    def __init__(self) -> None:
        data = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[2] / "shared" / "data"))
        text = (data / "text-generation" / "tinyshakespeare" / "input.txt").read_text("utf-8")
        self.characters = sorted(set(text))
        ids = torch.tensor([self.characters.index(character) for character in text])
        cut = int(0.9 * len(ids))
        self.train, self.validation = ids[:cut], ids[cut:]

    @cached_property
    def windows(self) -> list[Batch]:
        """The whole validation part in windows that do not overlap; each target is predicted once."""
        count = (len(self.validation) - 1) // CONTEXT
        tokens = self.validation[: count * CONTEXT].view(count, CONTEXT)
        targets = self.validation[1 : count * CONTEXT + 1].view(count, CONTEXT)
        return [{"tokens": t, "targets": y} for t, y in zip(tokens.split(256), targets.split(256), strict=True)]


class RandomWindows:
    """Windows that start anywhere, drawn with replacement, as the peer draws them."""

    def __init__(self, ids: torch.Tensor, rows: int, seed: int) -> None:
        self.ids, self.rows, self.seed, self.position = ids, rows, seed, 0

    def next_batch(self) -> Batch:
        random = generator(self.seed, "windows", self.position)
        self.position += 1
        index = torch.from_numpy(random.integers(0, len(self.ids) - CONTEXT, (self.rows, 1)) + np.arange(CONTEXT))
        return {"tokens": self.ids[index], "targets": self.ids[index + 1]}

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]


def save_weights(model: nn.Module, folder: Path) -> None:
    folder.mkdir()
    save_file(dict(model.named_parameters()), folder / "model.safetensors")


@dataclass(frozen=True)
class Result:
    loss: float
    parameters: int
    tokens: int
    seconds: float


def run(recipe: Recipe, corpus: Corpus, seed: int, *, tokens: int = TOKENS) -> Result:
    """Train once and return the validation loss of the last weights."""
    torch.manual_seed(derive_seed(seed, "model"))
    model = Transformer(ModelConfig(len(corpus.characters), **SHAPE, **recipe.model))
    batch_tokens = recipe.rows * CONTEXT
    # Evaluated before the first step and after the last alone: the whole validation part costs as much as many steps.
    common = {"precision": "fp32", "evaluate_every": tokens // batch_tokens, "tokens": tokens, "batch_tokens": batch_tokens, "seed": seed}
    settings = TrainSettings.model_validate({**common, **recipe.train})
    loader = RandomWindows(corpus.train, recipe.rows, seed)
    start = seconds()
    with tempfile.TemporaryDirectory() as folder:
        record = train(TextGeneration(), model, loader, lambda: corpus.windows, settings, Path(folder), save=save_weights)
    facts = record.facts
    return Result(facts["validation_loss"], facts["parameters"], facts["tokens"], seconds() - start)


def describe(recipe: Recipe, results: list[Result]) -> Iterator[str]:
    losses = [result.loss for result in results]
    mean, each = statistics.mean(losses), ", ".join(f"{loss:.4f}" for loss in losses)
    spread = ""
    if len(losses) in T_95:
        half = T_95[len(losses)] * statistics.stdev(losses) / math.sqrt(len(losses))
        spread = f" (95% interval of the mean {mean - half:.3f} to {mean + half:.3f}, {len(losses)} seeds)"
    yield f"  validation loss {mean:.3f}{spread}; target {recipe.target}; each seed: {each}"
    times = ", ".join(f"{result.seconds:.0f}" for result in results)
    yield f"  {results[0].parameters:,} parameters, {results[0].tokens:,} training tokens, seconds: {times}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), metavar="RECIPE", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each recipe, from seed 0 on")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or not set(arguments.recipes) <= set(RECIPES):
        parser.error(f"give at least one seed, and recipes of {', '.join(RECIPES)}")
    corpus = Corpus()
    print(machine({"torch": torch.__version__}, seed=0))
    print(f"{len(corpus.characters)} characters, {len(corpus.train):,} to train on, {len(corpus.validation):,} to validate on", flush=True)
    for name in arguments.recipes:
        recipe = RECIPES[name]
        print(f"{name}: {recipe.words}", flush=True)
        for line in describe(recipe, [run(recipe, corpus, seed) for seed in range(arguments.seeds)]):
            print(line, flush=True)


if __name__ == "__main__":
    main()
