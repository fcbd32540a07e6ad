"""Averages of the weights: what is evaluated and released in the place of the weights that the last step left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..contracts.settings import TrainSettings


class Average:
    """One copy of the weights that train, which the current ones are taken into as the run goes on."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.tensors: dict[str, Tensor] = {}
        """The average by the parameters' names; empty as long as there is none."""
        self.updates = 0
        """How often weights were taken in."""

    def after_step(self) -> None:
        """Told after each step."""

    def before_evaluation(self, *, among_last: bool) -> None:
        """Told before each evaluation of the run but that of the initial weights.

        Args:
            among_last: whether it is one of the last that `train.average_last` asks for.
        """

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model's weights are the average, where there is one; the trained ones come back on leaving."""
        trained = self._copies() if self.tensors else {}
        self._write(self.tensors)
        try:
            yield
        finally:
            self._write(trained)

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a checkpoint; from one without an average where there are no tensors."""
        there = self._parameters.items() if tensors else ()
        self.tensors = {name: tensors[name].to(parameter.device, copy=True) for name, parameter in there}
        self.updates = updates

    def _copies(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def _mix(self, share: float) -> None:
        """average ← average + share · (weights - average)."""
        torch._foreach_lerp_(list(self.tensors.values()), list(self._parameters.values()), share)
        self.updates += 1

    @torch.no_grad()
    def _write(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            self._parameters[name].copy_(tensor)


class MovingAverage(Average):
    """average ← d·average + (1 - d)·weights after each step.

    The decay starts low, d = min(decay, (1 + t) / (10 + t)) in update t = 0, 1, …, so that the initial weights are soon forgotten even
    where `decay` is close to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay, self.tensors = decay, self._copies()

    def after_step(self) -> None:
        self._mix(1 - min(self.decay, (1 + self.updates) / (10 + self.updates)))


class MeanOfLast(Average):
    """The mean of the weights at the run's last evaluations (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 6.1, took the
    last 5 checkpoints, or 20).

    The plan knows which evaluations are the last, so the mean is a running one, and one copy of the weights however many they are.
    """

    def before_evaluation(self, *, among_last: bool) -> None:
        if not among_last:
            # Where the machine turned out faster than planned, what was one of the last is none any more.
            self.tensors, self.updates = {}, 0
            return
        self.tensors = self.tensors or self._copies()
        self._mix(1 / (1 + self.updates))


def average_of(model: nn.Module, settings: TrainSettings) -> Average | None:
    """The average that the settings ask for."""
    if settings.ema is not None:
        return MovingAverage(model, settings.ema)
    return None if settings.average_last is None else MeanOfLast(model)
