"""Modules without storage: to count, or to be filled with weights from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class _NoDraws(TorchFunctionMode):
    """Leaves out what `torch.nn.init` would draw: there is no place for it, and the attempt imports torch's compiler, which takes a
    second (measured 2026-11: bench/formats.py).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def without_storage() -> Iterator[None]:
    """Modules built inside have their shapes, on the meta device, and nothing else."""
    with torch.device("meta"), _NoDraws():
        yield


def make_buffers(model: nn.Module, device: torch.device | str | None = None) -> None:
    """Compute what follows from the config and so is in no file: the tables of every part that has a `make_buffers` of its own."""
    for module in model.modules():
        compute: Callable[[torch.device | str | None], None] | None = getattr(module, "make_buffers", None)
        if compute is not None:
            compute(device)
