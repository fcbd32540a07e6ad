"""`compile: yes` on the CPU, for real: the same steps as the eager ones, but for the order of their sums."""

from __future__ import annotations

import shutil
from types import ModuleType
from typing import Literal

import pytest
import torch

from lodestar.train.compiled import loss_function
from lodestar.train.trainer import Trainer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="torch.compile needs a C++ compiler on the CPU: none here"),
]
STEPS, RATE = 6, 0.003


@pytest.mark.parametrize(
    ("precision", "loss_tolerance", "weight_tolerance"),
    [
        # Of a gradient near zero the rounding is left, and AdamW makes part of a step of it.
        ("fp32", 1e-5, RATE / 30),
        # bf16 keeps 8 bits, and the compiled step rounds in fewer places: of a loss of 2.8 that is 0.01; of a weight, whole steps.
        ("bf16", 2.8 * 2**-8, 2 * STEPS * RATE),
    ],
)
def test_compiled_steps_are_the_eager_ones(
    toy: ModuleType, precision: Literal["fp32", "bf16"], loss_tolerance: float, weight_tolerance: float
) -> None:
    def steps(wanted: Literal["no", "yes"]) -> tuple[list[float], dict[str, torch.Tensor]]:
        # No dropout: the compiled one draws other numbers.
        model = toy.make_model(dropout=0.0, depth=1)
        settings = toy.make_settings(STEPS, precision=precision, learning_rate=RATE)
        trainer = Trainer(model, toy.Sums(), loss_function(toy.Toy(), wanted, torch.device("cpu")), settings, precision)
        return [float(trainer.update(1.0)[0]) for _ in range(STEPS)], {name: x.detach() for name, x in model.named_parameters()}

    (eager, expected), (compiled, weights) = steps("no"), steps("yes")
    assert compiled == pytest.approx(eager, abs=loss_tolerance)
    untrained = dict(toy.make_model(dropout=0.0, depth=1).named_parameters())
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], atol=weight_tolerance, rtol=0)
        assert (weight - untrained[name]).abs().max() > RATE
