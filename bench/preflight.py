"""Predicted beside measured peak memory of training runs: twenty configurations, each estimated and then trained in a process of its own.

The run is the real loop, `lodestar.train.loop.train`, with evaluations and checkpoints, for three steps on random tokens; the measured
figure is the process's largest resident set, and the predicted one is what `lodestar train` prints before it begins. Adapters begin from a
folder with random weights, as fine-tuning does, and are merged and saved in the end.

    python -m bench.preflight [--only NUMBER ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import statistics
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.rounds import machine
from lodestar import tasks
from lodestar.build.base import begin_from, find_base, merge_adapter
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.cli._preflight import Training, check_training, element_bytes
from lodestar.contracts.adapter import AdapterSettings
from lodestar.contracts.meter import peak_memory_bytes
from lodestar.contracts.settings import TrainSettings
from lodestar.contracts.task import Batch, Task
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.train.loop import train

STEPS, SEED = 3, 0
TARGET = 0.10


@dataclasses.dataclass(frozen=True)
class Run:
    """One configuration."""

    config: ModelConfig
    rows: int
    parts: int = 1
    """Micro-batches in a step."""
    task: str = "text-generation"
    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    adapter: AdapterSettings | None = None
    stored: torch.dtype = torch.float32
    """Of the weights that an adapter begins from."""

    def settings(self) -> TrainSettings:
        micro = self.rows * self.config.context
        fixed = {"batch_tokens": self.parts * micro, "micro_batch_tokens": micro, "tokens": STEPS * self.parts * micro}
        return TrainSettings.model_validate({"learning_rate": 1e-3, "precision": "fp32", **fixed, **self.train})

    def __str__(self) -> str:
        config = self.config
        text = f"{config.depth}×{config.width}, {config.feed_forward}, V {config.vocabulary_size:,}, T {config.context}, {self.rows} rows"
        extra = [f"{self.parts} parts"] * (self.parts > 1) + [str(value) for value in self.train.values()]
        if self.adapter is not None:
            extra.append(f"{self.adapter.kind} over {str(self.stored).removeprefix('torch.')}, {self.adapter.base}")
        kv = [f"{config.kv_heads} of {config.heads} KV heads"] * (config.kv_heads != config.heads)
        return ", ".join([text, *extra, *kv, *([self.task] if self.task != "text-generation" else [])])


def shape(depth: int, width: int, vocabulary: int, context: int, heads: int = 4, **fields: Any) -> ModelConfig:
    return ModelConfig(
        **{"vocabulary_size": vocabulary, "width": width, "depth": depth, "heads": heads, "context": context, "feed_forward": "relu2",
           "qk_norm": True, **fields}
    )  # fmt: skip


ADAMW, BF16, EMA = {"optimizer": "adamw"}, {"precision": "bf16"}, {"ema": 0.99}
CLASSES = "classification"
RUNS = (
    Run(shape(4, 256, 8192, 128), 8),
    Run(shape(4, 256, 8192, 128), 4, parts=2),
    Run(shape(6, 256, 4096, 128), 2, parts=4),
    Run(shape(12, 192, 16384, 64, 3), 2),
    Run(shape(4, 256, 8192, 128), 8, train=BF16),
    Run(shape(4, 256, 8192, 128), 8, train=ADAMW),
    Run(shape(8, 192, 512, 256, 3, feed_forward="swiglu"), 4, train=ADAMW),
    Run(shape(2, 256, 32768, 64), 6, train=ADAMW),
    Run(shape(4, 384, 1000, 128, 6), 4, parts=2, train=ADAMW),
    Run(shape(3, 192, 2048, 512, 3), 3, train=EMA),
    Run(shape(16, 128, 2048, 128, 2), 8),
    Run(shape(4, 256, 300, 64), 4),
    Run(shape(6, 256, 8192, 128, 8, key_value_heads=2, feed_forward="swiglu"), 6, train=BF16),
    Run(shape(4, 256, 8192, 256, feed_forward="gelu", norm="layer", bias=True, position="learned", qk_norm=False), 4, train=ADAMW),
    Run(shape(4, 256, 4096, 128, tied_embeddings=False, dropout=0.1), 8),
    Run(shape(2, 512, 8192, 128, 8), 6, parts=2, train=BF16 | ADAMW),
    Run(shape(8, 256, 4096, 256, window=64), 4, train=EMA | ADAMW),
    Run(shape(4, 192, 8192, 128, 3, architecture="encoder"), 16, task=CLASSES),
    Run(shape(6, 256, 16384, 64, architecture="encoder", dropout=0.1), 8, parts=2, task=CLASSES, train=ADAMW),
    Run(shape(1, 512, 8192, 256, 8), 4),
    Run(shape(8, 512, 8192, 128, 8), 4, train=ADAMW, adapter=AdapterSettings()),
    Run(shape(12, 512, 16384, 128, 8), 8, train=ADAMW, adapter=AdapterSettings(rank=8), stored=torch.bfloat16),
    Run(shape(8, 512, 8192, 128, 8), 4, train=ADAMW, adapter=AdapterSettings(kind="dora")),
    Run(shape(12, 512, 8192, 128, 8), 4, train=ADAMW, adapter=AdapterSettings(base="nf4"), stored=torch.bfloat16),
    Run(shape(8, 768, 8192, 256, 12), 2, parts=2, train=ADAMW, adapter=AdapterSettings(base="int8")),
)


class Random:
    """Batches of random tokens, of the form that the task reads."""

    def __init__(self, run: Run) -> None:
        self.run, self.random = run, torch.Generator().manual_seed(SEED)

    def next_batch(self) -> Batch:
        shape = (self.run.rows, self.run.config.context)
        tokens = torch.randint(0, self.run.config.vocabulary_size, shape, generator=self.random)
        if self.run.task == CLASSES:
            return {"tokens": tokens, "attention_mask": torch.ones(shape, dtype=torch.bool), "label": tokens[:, 0] % 2}
        return {"tokens": tokens, "targets": tokens.roll(-1, dims=1)}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state


def measure(run: Run, folder: Path, answer: Connection) -> None:
    """Estimate and train one configuration; answers with the predicted and the measured bytes, and the tensors' share of the former."""
    torch.set_num_threads(1)
    task = task_of(run)
    loader, settings = Random(run), run.settings()
    two = {name: value[:2] for name, value in loader.next_batch().items()}
    base = None if run.adapter is None else find_base(str(folder / "base"), folder)
    stored = 4 if base is None else element_bytes(base.folder / "model.safetensors")
    needs, _ = check_training(Training(task, run.config, settings, run.adapter, stored=stored), two)
    validation = [loader.next_batch() for _ in range(2)]
    model = task.build(run.config) if base is None else begin_from(base, task, run.config, run.adapter)

    def save(trained: nn.Module, place: Path) -> None:
        if base is not None:
            merge_adapter(trained, place.with_name("adapter"))
            save_bundle(place, Bundle(trained, run.config, base.tokenizer, task.describe()))
        else:
            place.mkdir()

    train(task, model, loader, lambda: validation, settings, folder / "run", save=save)
    answer.send((needs.memory_bytes, peak_memory_bytes(), needs.new_bytes))


def task_of(run: Run) -> Task:
    state = {"labels": ["no", "yes"]} if run.task == CLASSES else {}
    return tasks.load({"task": run.task, "options": {}, "state": state})


def write_base(run: Run, folder: Path) -> None:
    """A model to begin from, its weights random."""
    torch.set_num_threads(1)
    model, tokenizer = task_of(run).build(run.config).to(run.stored), train_tokenizer(["a text"], 300)
    save_bundle(folder / "base", Bundle(model, run.config, tokenizer, task_of(run).describe()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of configurations, from 1")
    chosen = parser.parse_args().only or range(1, len(RUNS) + 1)
    print(machine({"torch": torch.__version__}, seed=SEED))
    print("\n| | configuration | predicted, MB | of it new | measured | predicted / measured |\n|---|---|---|---|---|---|")
    ratios = []
    for number in chosen:
        # Forked, so that the imports are done once; none of torch's threads runs yet.
        processes = multiprocessing.get_context("fork")
        run = RUNS[number - 1]
        with tempfile.TemporaryDirectory() as folder:
            if run.adapter is not None:
                writing = processes.Process(target=write_base, args=(run, Path(folder)))
                writing.start()
                writing.join()
            receiving, sending = processes.Pipe(duplex=False)
            process = processes.Process(target=measure, args=(run, Path(folder), sending))
            process.start()
            sending.close()
            predicted, measured, new = receiving.recv()
            process.join()
        ratios.append(predicted / measured)
        row = f"| {number} | {run} | {predicted / 1e6:.0f} | {new / 1e6:.0f} | {measured / 1e6:.0f} | {ratios[-1]:.3f} |"
        print(row, flush=True)
    within = sum(abs(ratio - 1) <= TARGET for ratio in ratios)
    print(
        f"\n{within} of {len(ratios)} within {TARGET:.0%}; {min(ratios):.3f} to {max(ratios):.3f}, median {statistics.median(ratios):.3f}."
    )


if __name__ == "__main__":
    main()
