"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """average ← d·average + (1 - d)·weights after each step.

    The decay starts low, d = min(decay, (1 + t) / (10 + t)) in update t = 0, 1, …, so that the initial weights are soon forgotten even
    where `decay` is close to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.tensors = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the current weights in."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.tensors.values()), list(self._parameters.values()), 1 - decay)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model's weights are the average; the trained ones come back on leaving."""
        trained = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._write(self.tensors)
        try:
            yield
        finally:
            self._write(trained)

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a checkpoint."""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(tensors[name])
        self.updates = updates

    @torch.no_grad()
    def _write(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(tensors[name])
