"""What reinforcement adds to a small model that was taught sums by someone who is right half of the time.

    python -m bench.grpo [--seeds 5] [--imitation 400] [--rounds 60]

The model (character by character, from scratch) first imitates answers of which half are wrong. Then it is rewarded for right ones, on the
same problems, as Shao et al. 2024 do it, and as Liu et al. 2025 (Dr. GRPO) do. Measured on problems that neither stage saw: the share of
right answers, drawn at temperature 1 and the likeliest ones. The interval is over seeds (Student's t, 95%).
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from scipy import stats
from torch import Tensor, nn

from bench.rounds import machine
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.settings import RewardSettings, TrainSettings
from lodestar.contracts.task import Batch, Problem
from lodestar.evaluate.rewards import arithmetic_reward
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.train.grpo import Reinforcement, Rollouts, write
from lodestar.train.loop import train
from lodestar.train.scoring import Scored, padded, token_log_probabilities

SIGNS = "0123456789+="
STOP, PAD = len(SIGNS), len(SIGNS) + 1
LARGEST, HELD_OUT, WRONG, ROWS = 20, 80, 0.5, 128


def encode(text: str) -> list[int]:
    return [SIGNS.index(sign) for sign in text]


def decode(tokens: Sequence[int]) -> str:
    return "".join(SIGNS[token] if token < len(SIGNS) else "?" for token in tokens)


def problems(seed: int) -> tuple[list[Problem], list[Problem]]:
    """Those to learn from, and those to measure on."""
    every = [Problem(encode(f"{a}+{b}="), str(a + b)) for a in range(LARGEST) for b in range(LARGEST)]
    order = generator(seed, "problems").permutation(len(every))
    return [every[place] for place in order[HELD_OUT:]], [every[place] for place in order[:HELD_OUT]]


class Imitation:
    """Answers as they are given, right or wrong, as objective and as loader."""

    def __init__(self, known: Sequence[Problem], seed: int) -> None:
        self._known, self._seed, self._step = known, seed, 0

    def describe(self) -> dict[str, Any]:
        return {"imitation": WRONG}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return -token_log_probabilities(model, batch).sum(), batch["scored"].sum()

    def next_batch(self) -> Batch:
        draw = generator(self._seed, "imitation", self._step)
        self._step += 1
        texts = []
        for place in draw.integers(len(self._known), size=ROWS):
            answer = int(self._known[place].expected)
            if draw.random() < WRONG:
                answer += int(draw.integers(1, 10))
            texts.append(Scored.reply(self._known[place].prompt, [*encode(str(answer)), STOP]))
        return padded(texts, PAD)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._step = int(state["step"])


def settings(steps: int, learning_rate: float, seed: int) -> TrainSettings:
    return TrainSettings(
        batch_tokens=ROWS * 16, tokens=ROWS * 16 * steps, learning_rate=learning_rate, precision="fp32", evaluate_every=steps, seed=seed,
        optimizer="adamw", weight_decay=0.0,
    )  # fmt: skip


def nothing(_: nn.Module, folder: Path) -> None:
    """What is kept of the model."""
    folder.mkdir()


def right(model: Transformer, held_out: Sequence[Problem], temperature: float) -> float:
    """The share of right answers; four draws of each where they are drawn."""
    asked = list(held_out) * (4 if temperature else 1)
    written = write(model, [problem.prompt for problem in asked], 4, stops=[STOP], pad=PAD, temperature=temperature, seed=0)
    texts = [decode([token for token in reply if token != STOP]) for reply in written]
    return statistics.fmean(arithmetic_reward(texts, [problem.expected for problem in asked]))


def run(seed: int, advantage: Literal["normalised", "centred"], imitation: int, rounds: int, out: Path) -> dict[str, float]:
    torch.manual_seed(derive_seed(seed, "model"))
    model = Transformer(ModelConfig(len(SIGNS) + 2, width=64, depth=2, heads=4, context=16))
    known, held_out = problems(seed)
    stage = Imitation(known, seed)
    train(stage, model, stage, list, settings(imitation, 3e-3, seed), out / "imitation", save=nothing)
    found = {"drawn before": right(model, held_out, 1.0), "likeliest before": right(model, held_out, 0.0)}
    average: Literal["sequence", "constant"] = "sequence" if advantage == "normalised" else "constant"
    reward = RewardSettings(prompts=32, group=8, max_tokens=4, beta=0.0, steps=2, advantage=advantage, average=average)
    rollouts = Rollouts(model, known, arithmetic_reward, reward, decode=decode, stops=[STOP], pad=PAD, rows=ROWS, seed=seed)
    train(Reinforcement(reward), model, rollouts, list, settings(2 * rounds, 5e-4, seed), out / "reward", save=nothing)
    return found | {"drawn after": right(model, held_out, 1.0), "likeliest after": right(model, held_out, 0.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--imitation", type=int, default=400, help="steps")
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(machine({"torch": torch.__version__}, seed=0))
    kinds: tuple[Literal["normalised", "centred"], ...] = ("normalised", "centred")
    for advantage in kinds:
        rows = []
        for seed in range(given.seeds):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(run(seed, advantage, given.imitation, given.rounds, Path(folder)))
            print(advantage, seed, {name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
        for name in rows[0]:
            values = [row[name] for row in rows]
            half = float(stats.t.ppf(0.975, given.seeds - 1)) * statistics.stdev(values) / math.sqrt(given.seeds)
            print(f"{advantage:>10} {name:>16}: {statistics.fmean(values):.3f} ± {half:.3f}")


if __name__ == "__main__":
    main()
