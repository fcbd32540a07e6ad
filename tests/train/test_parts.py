"""The small parts: precision, average, spike watch, plan, journal, random state."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lodestar.build.arithmetic import bf16_speed
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import TrainSettings
from lodestar.train.average import MeanOfLast, MovingAverage
from lodestar.train.compiled import loss_function
from lodestar.train.journal import Journal, draw_loss
from lodestar.train.memory import freed_memory_kept
from lodestar.train.plan import Plan, steps_in_budget
from lodestar.train.precision import WORTH_IT, autocast, choose_precision
from lodestar.train.random_state import random_state, repeatable, restore_random_state, seed_all
from lodestar.train.spikes import SUSTAINED, WINDOW, SpikeWatch

CPU = torch.device("cpu")


def test_auto_takes_bf16_where_the_cpu_multiplies_it_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.0 < bf16_speed() < 20.0
    assert choose_precision("auto", CPU) == ("bf16" if bf16_speed() >= WORTH_IT else "fp32")
    monkeypatch.setattr("lodestar.train.precision.WORTH_IT", 0.0)
    assert choose_precision("auto", CPU) == "bf16"
    monkeypatch.setattr("lodestar.train.precision.WORTH_IT", 100.0)
    assert choose_precision("auto", CPU) == "fp32"
    assert choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"


def test_memory_freed_inside_is_reused_and_given_back_outside() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * 4096

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here")
    before = resident()
    with freed_memory_kept():
        block = torch.ones(100 << 20, dtype=torch.uint8)
        del block
        assert resident() - before > 90 << 20
    assert resident() - before < 50 << 20


def test_autocast_multiplies_in_bf16_and_keeps_the_weights() -> None:
    layer = nn.Linear(4, 4)
    with autocast("bf16", CPU):
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_average_equals_its_closed_form() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = MovingAverage(model, decay=0.3)
    expected = 0.0
    for step in range(1, 8):
        nn.init.constant_(model.weight, step)
        average.after_step()
        decay = min(0.3, step / (9 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.tensors["weight"].item() == pytest.approx(expected, rel=1e-6)
    with average.applied():
        assert model.weight.item() == pytest.approx(expected, rel=1e-6)
    assert model.weight.item() == 7.0


def test_the_mean_of_the_last_points_is_their_mean() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = MeanOfLast(model)
    # Before the last points the weights are their own average; what was none of the last after all is forgotten.
    for value, among_last, mean in ((7, False, 7), (3, True, 3), (100, False, 100), (1, True, 1), (5, True, 3), (9, True, 5)):
        nn.init.constant_(model.weight, value)
        average.after_step()
        average.before_evaluation(among_last=among_last)
        with average.applied():
            assert model.weight.item() == mean
        assert model.weight.item() == value
    assert average.updates == 3


def test_average_comes_off_after_an_error() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, decay=0.5)
    nn.init.constant_(model.weight, 3)
    with pytest.raises(ZeroDivisionError), average.applied():
        1 / 0
    assert model.weight.item() == 3.0


def course(count: int, level: float = 3.0) -> list[float]:
    """A noisy loss that falls slowly."""
    noise = np.random.default_rng(0).normal(0, 0.05, count)
    return [float(level - 0.001 * step + noise[step]) for step in range(count)]


def test_an_ordinary_course_and_single_hard_batches_are_no_spike() -> None:
    watch = SpikeWatch()
    losses = course(400)
    losses[150] = losses[200] = 20.0
    losses[300:304] = [9.0] * (SUSTAINED - 1)
    assert [watch.see(loss, 1.0) for loss in losses] == [None] * 400


def test_a_loss_that_stays_high_is_a_spike() -> None:
    watch = SpikeWatch()
    for loss in course(WINDOW + 50):
        assert watch.see(loss, 1.0) is None
    faults = [watch.see(5.0, 1.0) for _ in range(SUSTAINED)]
    assert faults[:-1] == [None] * (SUSTAINED - 1)
    assert faults[-1] is not None
    assert "rose from 2.9" in faults[-1]


def test_a_tiny_loss_may_wander() -> None:
    watch = SpikeWatch()
    for loss in [0.7] * WINDOW + [0.001] * WINDOW:
        watch.see(loss, 1.0)
    assert [watch.see(0.05, 1.0) for _ in range(20)] == [None] * 20


@pytest.mark.parametrize(("loss", "norm", "word"), [(float("nan"), 1.0, "loss is nan"), (1.0, float("inf"), "norm is inf")])
def test_what_is_no_number_is_a_fault_at_once(loss: float, norm: float, word: str) -> None:
    fault = SpikeWatch().see(loss, norm)
    assert fault is not None
    assert word in fault


def test_the_watch_goes_on_from_its_state() -> None:
    losses = [*course(WINDOW + 30), 9.0, 9.0, 9.0, 9.0, 9.0]
    straight, first = SpikeWatch(), SpikeWatch()
    faults = [straight.see(loss, 1.0) for loss in losses]
    before = [first.see(loss, 1.0) for loss in losses[:-2]]
    second = SpikeWatch()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + [second.see(loss, 1.0) for loss in losses[-2:]] == faults
    assert faults[-1] is not None


def test_steps_in_a_budget() -> None:
    assert steps_in_budget(TrainSettings(tokens=1000, batch_tokens=100)) == 10
    assert steps_in_budget(TrainSettings(tokens=10, batch_tokens=100)) == 1
    assert steps_in_budget(TrainSettings(tokens=1000, minutes=1, batch_tokens=100), 7) == 7
    assert steps_in_budget(TrainSettings(tokens=500, minutes=1, batch_tokens=100), 7) == 5
    assert steps_in_budget(TrainSettings(minutes=1, batch_tokens=100), 0) == 1


def test_a_late_run_is_shortened_and_an_early_one_grows_before_its_rate_falls() -> None:
    plan, settings = Plan(((0, 100),), 10, 10, ahead=5.0), TrainSettings(minutes=65 / 60, batch_tokens=10, decay=0.5)
    # 10 steps took 20 seconds past the 5 ahead; 65 - 25 = 40 seconds are left for 20 more.
    shorter = plan.revised(10, 25.0, settings)
    assert shorter is not None
    assert shorter.total == 30
    assert [shorter.total_at(step) for step in (0, 9, 10, 29)] == [100, 100, 30, 30]
    assert Plan.from_json(json.loads(json.dumps(shorter.to_json()))) == shorter
    # 49 steps took 24.5 seconds past the 5 ahead; 35.5 seconds are left for 71 more.
    longer = plan.revised(49, 29.5, settings)
    assert longer is not None
    assert longer.total == 49 + 71
    assert plan.revised(50, 30.0, settings) is None  # the rate falls from here on
    assert plan.revised(49, 29.5, settings.model_copy(update={"tokens": 1000})) is None  # the token budget is 100 steps
    assert plan.revised(30, 5 + 30 * 0.59, settings) is None  # 101 steps: near enough


def test_the_journal_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path)
    journal.start(0)
    for step in range(5):
        journal.add({"step": step})
    journal.sync()
    journal.close()
    with path.open("a") as file:
        file.write('{"step": 5, "lo')  # cut off by a kill
    journal = Journal(path)
    assert [row["step"] for row in journal.rows()] == [0, 1, 2, 3, 4]
    journal.start(3)
    journal.add({"step": 3, "again": True})
    journal.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        *({"step": step} for step in range(3)),
        {"step": 3, "again": True},
    ]


def test_the_picture_is_drawn_of_what_there_is(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"step": step, "loss": 3 - step / 50} for step in range(1, 100)]
    rows += [{"step": 50, "validation_loss": 2.5}, {"step": 60, "loss": None}, {"step": 50, "rewind": "the loss is nan"}]
    draw_loss(rows, tmp_path / "loss.png")
    draw_loss([], tmp_path / "empty.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "loss.png").stat().st_size > (tmp_path / "empty.png").stat().st_size


def test_random_states_come_back() -> None:
    def draw() -> tuple[list[float], float, list[float], float]:
        return torch.rand(3).tolist(), random.random(), np.random.rand(3).tolist(), random.gauss(0, 1)

    seed_all(3)
    random.gauss(0, 1)  # leaves a second value behind, which is part of the state
    tensors, others = random_state()
    others = json.loads(json.dumps(others))
    first = draw()
    assert draw() != first
    restore_random_state(tensors, others)
    assert draw() == first
    seed_all(3)
    assert draw() != first


def test_on_a_gpu_sums_keep_one_order_and_the_caller_gets_back_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with repeatable(CPU):
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyError), repeatable(torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch, toy: object) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    task = toy.Toy()  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"torch\.compile needs a C\+\+ compiler"):
        loss_function(task, "yes", CPU)
    assert loss_function(task, "auto", CPU) == task.loss
