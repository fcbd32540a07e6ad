"""Code: a model of the standard library's text, with and without gaps to fill, beside byte n-grams; then HumanEval's problems.

    python -m bench.quality.code_generation                            # 3 seeds of 6 minutes, each with and without gaps
    python -m bench.quality.code_generation --seeds 1 --minutes 2

Data: Python's own library on this machine, as `lodestar new --template code-generation` takes it: a tenth of its files judges. HumanEval
(code-generation in $LODESTAR_DATA): ten programs are drawn for each of its 164 problems and run in the sandbox. At this size and with six
minutes nobody solves one: the figure says that the way is walked to its end, and where a model of this size stands.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from bench.rounds import machine
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.score import Metric
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.metrics import BITS_PER_BYTE, LINE_FILLED, PASS_AT_1, PASS_AT_10, SYNTAX_VALID
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.tasks.code_generation import CodeGeneration, Module
from lodestar.train.loop import train

PROBLEMS = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "code-generation" / "humaneval"
CONTEXT, ROWS = 256, 16
METRICS = (BITS_PER_BYTE, SYNTAX_VALID, LINE_FILLED)


def learn(gaps: float, seed: int, minutes: float, examples: int, place: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is measured of held-out files, and of HumanEval's problems."""
    task, folder = CodeGeneration({"gaps": gaps}), place / f"gaps-{gaps}"
    if not folder.exists():
        data = DataSettings(sources=["builtin:python-stdlib"], deduplicate="near", test=0.1, vocabulary=4096)
        prepare(task, data, place, folder, context=CONTEXT)
    tokenizer = Tokenizer.load(folder)
    derived = derive(ModelSettings(size="tiny", context=CONTEXT), task.architecture(), tokenizer.vocabulary_size)
    config = derived.config
    plan = TrainSettings(minutes=minutes, batch_tokens=ROWS * CONTEXT, learning_rate=derived.learning_rate, seed=seed)
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config)
    loader = make_loader(open_split(folder, "train"), task.batching, rows=ROWS, context=CONTEXT, seed=seed, pad=tokenizer.pad)
    validation = Sequential(open_split(folder, "validation"), task.batching, rows=ROWS, context=CONTEXT, pad=tokenizer.pad, limit=16)
    out = place / f"train-{gaps}-{seed}"
    train(
        task, model, loader, lambda: validation, plan, out,
        save=lambda trained, where: save_bundle(where, Bundle(trained, config, tokenizer, task.describe())),
    )  # fmt: skip
    held_out = list(open_split(folder, "test").examples(task))[:examples]
    return task.measure(model, tokenizer, held_out), task.measure(model, tokenizer, problems())


def problems() -> list[Module]:
    with gzip.open(PROBLEMS / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        return [Module.model_validate(Module.of_record(json.loads(line))) for line in file]


def baseline(place: Path, examples: int) -> dict[str, np.ndarray]:
    task = CodeGeneration()
    folder = next(place.glob("gaps-*"))
    held_out = list(open_split(folder, "test").examples(task))[:examples]
    return task.baseline(list(open_split(folder, "train").examples(task)), held_out)[1]


def row(name: str, metrics: Sequence[Metric], columns: Mapping[str, np.ndarray]) -> None:
    found = {score.metric: score for score in scores(metrics, columns, resamples=2000, confidence=0.95, seed=0)}
    cells = [
        f"{found[metric.name].value:.3f} [{found[metric.name].low:.3f}, {found[metric.name].high:.3f}]" if metric.name in found else "-"
        for metric in metrics
    ]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--examples", type=int, default=100, help="held-out files")
    given = parser.parse_args()
    print(machine({"torch": version("torch")}, seed=0), f"; {given.seeds} seeds of {given.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        print("| held-out files | " + " | ".join(metric.name for metric in METRICS) + " |\n|---|---|---|---|")
        solved = []
        for gaps in (0.5, 0.0):
            for seed in range(given.seeds):
                held_out, asked = learn(gaps, seed, given.minutes, given.examples, place)
                row(f"gaps {gaps:g}, seed {seed}", METRICS, held_out)
                solved.append((f"gaps {gaps:g}, seed {seed}", asked))
        row("byte n-grams", METRICS, baseline(place, given.examples))
        print("\n| HumanEval | pass@1 | pass@10 |\n|---|---|---|")
        for name, columns in solved:
            row(name, (PASS_AT_1, PASS_AT_10), columns)


if __name__ == "__main__":
    main()
