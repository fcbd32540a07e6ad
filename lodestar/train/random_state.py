"""What makes a run repeatable: the state of every global random generator, as tensors and JSON, and one order of sums on a GPU."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside, equal inputs give equal bits on a GPU, too, where some gradients else are summed in the order that threads happen to end.

    On a CPU the operations are so already, and nothing changes. See https://pytorch.org/docs/stable/notes/randomness.html.

    Raises:
        RuntimeError: inside, by an operation that has no such form on a GPU; torch names it.
    """
    if device.type == "cpu":
        yield
        return
    # cuBLAS asks for a workspace of a fixed size, in its own words: eight buffers of 4,096 KiB.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
