"""The state of every global random generator that a model or a task can draw from, as tensors and JSON."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contracts.randomness import derive_seed


def seed_all(seed: int) -> None:
    """Seed torch (every device), Python and NumPy for a run."""
    torch.manual_seed(derive_seed(seed, "train", "torch"))
    random.seed(derive_seed(seed, "train", "python"))
    np.random.seed(derive_seed(seed, "train", "numpy") % 2**32)


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The generators' states: torch's as tensors, the others as JSON."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda:{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    inner = {"key": numpy_state["state"]["key"].tolist(), "pos": int(numpy_state["state"]["pos"])}
    version, words, gauss = random.getstate()
    return tensors, {"python": [version, list(words), gauss], "numpy": {**numpy_state, "state": inner}}


def restore_random_state(tensors: Mapping[str, Tensor], others: Mapping[str, Any]) -> None:
    """The inverse of `random_state`; a device that is not here any more is left out."""
    torch.set_rng_state(tensors["cpu"])
    for name, state in tensors.items():
        if name.startswith("cuda:") and int(name[5:]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(name[5:]))
    version, words, gauss = others["python"]
    random.setstate((version, tuple(words), gauss))
    inner = others["numpy"]["state"]
    np.random.set_state({**others["numpy"], "state": {"key": np.array(inner["key"], dtype=np.uint32), "pos": inner["pos"]}})
