"""The training loop on a model whose base is frozen: it trains, keeps and averages the adapter alone."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from torch import nn

from lodestar.build.adapters import add_adapter
from lodestar.contracts.adapter import AdapterSettings
from lodestar.train.optimizers import group_parameters


def adapted(toy: ModuleType) -> nn.Module:
    model: nn.Module = toy.make_model()
    add_adapter(model, AdapterSettings(rank=4, targets=["query", "up"]))
    return model


def test_checkpoints_hold_the_adapter_and_a_cut_off_run_goes_on_to_the_same_bits(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = toy.make_settings(12, ema=0.5)
    whole, base = adapted(toy), toy.make_model()
    toy.run(tmp_path / "whole", settings, model=whole)
    state = whole.state_dict()
    assert all(torch.equal(value, state[name.replace(".query.", ".query.base.").replace(".up.", ".up.base.")])
               for name, value in base.state_dict().items())  # fmt: skip
    for part in ("model", "average"):
        with safe_open(tmp_path / "whole" / "checkpoints" / "step-000012" / f"{part}.safetensors", "pt") as file:
            assert len(file.keys()) == 2 * 2 * 2
            assert all(".adapters.default." in name for name in file.keys())  # noqa: SIM118 - not a mapping

    class Cut(Exception):  # noqa: N818 - stands for a kill
        pass

    loader = toy.Sums()
    ordinary = loader.next_batch

    def next_batch() -> object:
        if loader.position == 8:
            raise Cut
        return ordinary()

    monkeypatch.setattr(loader, "next_batch", next_batch)
    with pytest.raises(Cut):
        toy.run(tmp_path / "cut", settings, loader=loader, model=adapted(toy))
    again = adapted(toy)
    toy.run(tmp_path / "cut", settings, model=again)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_the_two_factors_of_an_adapter_are_not_made_orthogonal(toy: ModuleType) -> None:
    groups = group_parameters(adapted(toy))
    assert (groups.hidden, groups.plain) == ([], [])
    assert len(groups.decayed) == 2 * 2 * 2
