"""Checkpoints: whole or not there, verified, and the oldest ones gone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lodestar.contracts.errors import UserError
from lodestar.train.checkpoint import Checkpoints


def parts(value: float) -> dict[str, dict[str, Tensor]]:
    return {"model": {"weight": torch.full((64, 64), value).T, "step": torch.tensor(value)}, "random": {"cpu": torch.get_rng_state()}}


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (5, 10, 15, 20):
        checkpoints.save(step, parts(step), {"number": 0.1 * step})
    return checkpoints


def test_the_newest_comes_back_whole(saved: Checkpoints) -> None:
    told: list[str] = []
    newest = saved.newest(told.append)
    assert newest is not None
    assert (newest.step, newest.state) == (20, {"number": 2.0})
    assert torch.equal(newest.tensors("model")["weight"], torch.full((64, 64), 20.0))
    assert newest.tensors("model")["step"].item() == 20.0
    assert torch.equal(newest.tensors("random")["cpu"], torch.get_rng_state())
    assert told == []


def test_only_the_newest_are_kept(saved: Checkpoints) -> None:
    assert sorted(path.name for path in saved.folder.iterdir()) == ["step-000010", "step-000015", "step-000020"]


def test_none_at_all(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none", keep=1).newest(print) is None


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_damaged_one_gives_way_to_the_one_before(saved: Checkpoints, damage: object, name: str) -> None:
    damage(saved.folder / "step-000020" / name)  # type: ignore[operator]
    told: list[str] = []
    newest = saved.newest(told.append)
    assert newest is not None
    assert newest.step == 15
    assert len(told) == 1
    assert "step-000020 is damaged" in told[0]
    assert "going back to step-000015" in told[0]
    assert not (saved.folder / "step-000020").exists()


def test_all_damaged_is_an_error_that_removes_nothing(saved: Checkpoints) -> None:
    for step in (10, 15, 20):
        flip(saved.folder / f"step-{step:06d}" / "model.safetensors")
    with pytest.raises(UserError, match=r"step-000020: the checkpoint is damaged \(model.safetensors is not what was written\)"):
        saved.newest(print)
    assert len(list(saved.folder.iterdir())) == 3


def test_a_failed_write_leaves_what_was_there(saved: Checkpoints) -> None:
    with pytest.raises(ValueError, match="JSON"):
        saved.save(25, parts(25), {"number": float("nan")})
    assert sorted(path.name for path in saved.folder.iterdir()) == ["step-000010", "step-000015", "step-000020"]
