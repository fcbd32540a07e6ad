"""What a run is said to take beside what it takes; and the counting of tensors beside counting by hand."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from lodestar.train.live_bytes import LiveBytes
from lodestar.train.preflight import TooLittleMemoryError, estimate, most_that_fits, states_of, take_look


def test_live_bytes_by_hand() -> None:
    with LiveBytes() as live:
        first = torch.zeros(1000)
        assert live.history[-1] == 4000
        second = first.view(10, 100) + 1  # a view takes nothing, the sum as much again
        assert live.history[-1] == 8000
        del first
        third = torch.ones(5, dtype=torch.float64)
        assert live.history[-1] == 4040
    assert second.sum() + third.sum() == 1005


@pytest.mark.parametrize("fields", [{}, {"optimizer": "adamw"}, {"accumulate": True}], ids=str)
def test_the_peak_of_a_deeper_and_larger_run_is_foreseen(toy: ModuleType, fields: dict[str, Any]) -> None:
    depth, rows, wide = 5, 16, {"width": 64, "heads": 2}
    settings, batch = toy.make_settings(4, **fields), toy.Sums(rows=rows).next_batch()

    def build(layers: int) -> nn.Module:
        model: nn.Module = toy.make_model(depth=layers, **wide)
        return model

    two = {name: value[:2] for name, value in batch.items()}
    needs = estimate(toy.Toy(), build, depth, toy.ROWS, two, settings, None)(depth, rows)
    taken = take_look(toy.Toy(), build(depth), batch, settings, bool(fields.get("accumulate")))
    # 5%: some operations need small tensors of a size that is no line in the rows (masks, rounded up to blocks).
    expected = needs.states.memory_bytes + needs.activations_bytes
    assert expected == pytest.approx(max(taken.peak_bytes, needs.states.memory_bytes), rel=0.05)
    assert needs.new_bytes > expected
    assert needs.memory_bytes > needs.new_bytes
    assert needs.step_seconds > 0


def test_a_look_that_would_not_fit_is_not_taken(toy: ModuleType) -> None:
    def build(layers: int) -> nn.Module:
        model: nn.Module = toy.make_model(depth=layers)
        return model

    def never(model: nn.Module, batch: Any) -> Any:
        raise AssertionError("taken")

    task = toy.Toy()
    task.loss = never
    with pytest.raises(TooLittleMemoryError):
        estimate(task, build, 2, 2, toy.Sums(rows=2).next_batch(), toy.make_settings(4), 1000)


def test_the_random_state_stays(toy: ModuleType) -> None:
    def build(layers: int) -> nn.Module:
        model: nn.Module = toy.make_model(seed=layers, depth=layers)
        return model

    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    estimate(toy.Toy(), build, 2, 2, toy.Sums(rows=2).next_batch(), toy.make_settings(4), None)
    assert torch.equal(torch.rand(3), expected)


def test_what_lasts_by_hand(toy: ModuleType) -> None:
    model = toy.make_model()
    count = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    hidden = sum(p.numel() for name, p in model.named_parameters() if ".blocks." in name and p.ndim == 2)
    adamw = states_of(model, toy.make_settings(1, optimizer="adamw"))
    muon = states_of(model, toy.make_settings(1, ema=0.9))
    assert (adamw.weights_bytes, adamw.gradients_bytes, adamw.optimizer_bytes) == (4 * count + buffers, 4 * count, 8 * count)
    assert muon.optimizer_bytes == 8 * count - 4 * hidden + 4 * count
    assert states_of(model, toy.make_settings(1, average_last=5)).optimizer_bytes == muon.optimizer_bytes
    model.embedding.weight.requires_grad_(False)
    frozen = states_of(model, toy.make_settings(1, optimizer="adamw"))
    assert frozen.trainable == count - model.embedding.weight.numel()
    assert frozen.weights_bytes == adamw.weights_bytes


@pytest.mark.parametrize(("limit", "most", "expected"), [(7, 10, 7), (7, 5, 5), (0, 10, 0), (1, 1, 1), (3, 0, 0)])
def test_the_most_that_fits(limit: int, most: int, expected: int) -> None:
    assert most_that_fits(lambda count: count <= limit, most) == expected
