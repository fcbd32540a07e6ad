"""What a training run will take, before it takes it: memory and time, from steps of one and two layers that are taken for a look.

At each operation of a step the memory of the tensors is a line in the number of layers and in the number of rows, so four short steps
(one or two layers, one or two rows) tell that of any depth and micro-batch. The peak is no such line, since where it lies moves: from the
gradients' end, with few rows, to the logits, with many. So each operation is followed by itself, and the peak is the highest of them.
Whatever the task's module is made of is measured with it. Time, too, is taken to be such a line, and told as about.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..build.arithmetic import widens
from ..contracts.clock import seconds
from ..contracts.machine import available_bytes, resident_bytes
from ..contracts.settings import TrainSettings
from ..contracts.task import Batch, Objective, device_of
from ..model.quantized import QuantizedLinear
from .live_bytes import LiveBytes
from .memory import give_back
from .optimizers import group_parameters
from .precision import choose_precision
from .random_state import random_state, restore_random_state
from .trainer import Trainer

# measured: bench/preflight 2026-11, on a CPU; on a GPU the first is assumed to hold, and the second is not counted.
HOLES = 0.25
"""Bytes that the allocator holds beside each byte of what comes and goes in a step."""
HOLES_OF_COPIES = 0.6
"""The same where each product makes a copy of its weight, in plain or wider numbers: what comes and goes then differs more in size."""
PEAKS, LIBRARIES = (0.95, 1.03), 40_000_000
"""Between these shares of what is foretold lie the peaks of 80% of runs, about; on a CPU with what a task's own libraries take beyond that
when they are first used, to fit a threshold say: bench/preflight, and the runs for development of bench/decisions/forecasts."""
FIRST_USE = 25_000_000
"""What the libraries take when evaluations, checkpoints and the picture of the loss first use them."""
TIMED = 3
"""Steps that a look times, of which the median counts."""

Build = Callable[[int], nn.Module]
"""Layers → the module to train, on the device to train on."""


class TooLittleMemoryError(Exception):
    """Not even the looks fit: `needed` bytes at least."""

    def __init__(self, needed: int) -> None:
        self.needed = needed
        super().__init__(f"{needed} bytes are needed")


@dataclass(frozen=True)
class States:
    """What lasts through a run."""

    parameters: int
    trainable: int
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    """Momenta, and the average of the weights where one is kept."""

    @property
    def memory_bytes(self) -> int:
        return self.weights_bytes + self.gradients_bytes + self.optimizer_bytes


@dataclass(frozen=True)
class Needs:
    """What a run takes."""

    states: States
    activations_bytes: int
    """What the forward pass keeps for the backward one, with the passing needs of both and of the optimiser at their peak."""
    overhead_bytes: int
    """What the allocator holds beside the tensors."""
    held_bytes: int
    """What the process, or on a GPU whatever runs there, holds before: Python, the libraries, the data."""
    step_seconds: float
    """One optimiser step, about."""
    reference_bytes: int = 0
    """A second copy of the weights, to hold the model to."""
    sampling_bytes: int = 0
    """What comes and goes while replies are sampled, beside what lasts: their cache, foremost."""
    merging_bytes: int = 0
    """What the end takes, where an adapter is merged: the plain weights, and what else lasts until then."""
    loading_bytes: int = 0
    """What the beginning takes, where weights are copied or coded from a file; the system can take back the file's share."""

    @property
    def new_bytes(self) -> int:
        """What has to be free."""
        passing = max(self.activations_bytes + self.overhead_bytes, self.sampling_bytes)
        return self.reference_bytes + max(self.states.memory_bytes + passing, self.merging_bytes)

    @property
    def memory_bytes(self) -> int:
        """The peak of the process."""
        return self.held_bytes + max(self.new_bytes, self.loading_bytes)

    @property
    def memory_range(self) -> tuple[int, int]:
        """The peak of the process, four times in five."""
        low, high = (round(part * self.memory_bytes) for part in PEAKS)
        return low, high + (LIBRARIES if self.held_bytes else 0)


@dataclass(frozen=True)
class Look:
    """One step that was taken for a look."""

    history: np.ndarray
    """Bytes of tensors after each operation of a micro-batch's forward and backward pass."""
    loss_at: int
    """The operation that the backward pass begins with."""
    update_bytes: int
    """The peak in the optimiser's step."""
    backward_seconds: float
    update_seconds: float

    @property
    def peak_bytes(self) -> int:
        return max(int(self.history.max()), self.update_bytes)


def states_of(model: nn.Module, settings: TrainSettings) -> States:
    """What lasts through the training of a module, which may be on the meta device."""
    named, hidden = dict(model.named_parameters()), group_parameters(model).hidden
    every = sum(parameter.numel() for parameter in named.values())
    trainable = sum(parameter.numel() for parameter in named.values() if parameter.requires_grad)
    bytes_trainable = sum(parameter.nbytes for parameter in named.values() if parameter.requires_grad)
    bytes_muon = sum(named[name].nbytes for name in hidden) if settings.optimizer == "muon" else 0
    weights = sum(parameter.nbytes for parameter in named.values()) + sum(buffer.nbytes for buffer in model.buffers())
    average = sum(parameter.nbytes for parameter in named.values()) if settings.averages else 0
    return States(every, trainable, weights, bytes_trainable, 2 * bytes_trainable - bytes_muon + average)


def along_depth(states: Mapping[int, States], layers: int) -> States:
    """The states of a run of any depth, from those of one and of two layers."""

    def at(value: Callable[[States], int]) -> int:
        return round(_linear({depth: value(state) for depth, state in states.items()}, layers))

    return States(
        at(lambda s: s.parameters), at(lambda s: s.trainable), at(lambda s: s.weights_bytes), at(lambda s: s.gradients_bytes),
        at(lambda s: s.optimizer_bytes),
    )  # fmt: skip


def free_bytes(device: torch.device) -> int | None:
    """The memory that a run can still take on a device; None where the system does not tell."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else available_bytes()


def estimate(
    task: Objective, build: Build, depth: int, rows: int, batch: Batch | Sequence[Batch], settings: TrainSettings, free: int | None
) -> Callable[[int, int], Needs]:
    """Take the looks; what a run of any depth and of any number of rows in a micro-batch needs.

    Args:
        task: gives the loss.
        build: makes the module with one layer or two.
        depth: the run's layers; one layer is looked at alone where there is no more.
        rows: the run's rows in a micro-batch.
        batch: up to two rows as the loader gives them, the longest that there are, on the CPU; or a batch of one row and one of two, where
            two rows are not one below the other.
        settings: with `batch_tokens`, `micro_batch_tokens` and `learning_rate` filled in.
        free: bytes that a look may take; no look is taken that needs more.

    Raises:
        TooLittleMemoryError: a look would need more than `free`; the run does, too.
    """
    tensors, others = random_state()
    several = (settings.micro_batch_tokens or 0) < (settings.batch_tokens or 0)
    looks: dict[tuple[int, int], Look] = {}
    states: dict[int, States] = {}
    known = [len(batch)] if isinstance(batch, Sequence) else [len(value) for value in batch.values()]
    most_rows = min(2, rows, *known)
    try:
        for layers in range(1, min(2, depth) + 1):
            model = build(layers)
            device = device_of(model)
            states[layers] = states_of(model, settings)
            copied = any(isinstance(module, QuantizedLinear) for module in model.modules())
            copied = copied or any(widens(parameter.dtype, device) for parameter in model.parameters())
            for height in range(1, most_rows + 1):
                # Twice the rows, or the layers, take at most twice the memory.
                before = [look for (other, low), look in looks.items() if (other, low) in ((layers, height - 1), (layers - 1, height))]
                expected = max([2 * look.peak_bytes for look in before], default=states[layers].memory_bytes)
                if free is not None and expected > free:
                    raise TooLittleMemoryError(expected)
                rows_of_it = batch[height - 1] if isinstance(batch, Sequence) else {name: value[:height] for name, value in batch.items()}
                if not looks:
                    take_look(task, model, rows_of_it, settings, several)  # the first use of a function does more than it does later
                looks[layers, height] = take_look(task, model, rows_of_it, settings, several)
            del model
            gc.collect()
    finally:
        restore_random_state(tensors, others)
    give_back()
    held = 0 if device.type == "cuda" else resident_bytes()
    passes = _aligned(looks)
    holes = HOLES_OF_COPIES if copied else HOLES

    def needs(layers: int, height: int) -> Needs:
        def at(value: Callable[[Look], float]) -> float:
            return float(_bilinear({place: value(look) for place, look in looks.items()}, layers, height))

        lasting = along_depth(states, layers)
        parts = math.ceil(rows / height) * max(1, round((settings.batch_tokens or 1) / (settings.micro_batch_tokens or 1)))
        backward = max(float(_bilinear(part, layers, height).max()) for part in passes)
        # A run that comes to several micro-batches only now keeps its gradients through them.
        backward += lasting.gradients_bytes if parts > 1 and not several else 0
        peak = max(backward, at(lambda look: look.update_bytes), lasting.memory_bytes)
        # Timing steps against a budget of minutes keeps a copy of the first weights; an average of the weights is not looked at.
        peak += lasting.weights_bytes * ((settings.minutes is not None) + settings.averages)
        # Of a noisy machine the line may fall; no run is faster than the longest look.
        each = max(at(lambda look: look.backward_seconds), *(look.backward_seconds for look in looks.values()))
        step = parts * each + max(at(lambda look: look.update_seconds), *(look.update_seconds for look in looks.values()))
        activations = max(0, round(peak) - lasting.memory_bytes)
        # Gradients come and go where a step has one micro-batch; where it has several, each is added to those that stay.
        overhead = holes * (activations + lasting.gradients_bytes * (parts == 1)) + lasting.gradients_bytes * (parts > 1)
        return Needs(lasting, activations, round(overhead) + (FIRST_USE if device.type == "cpu" else 0), held, step)

    return needs


def take_look(task: Objective, model: nn.Module, batch: Batch, settings: TrainSettings, several: bool) -> Look:
    """One step whose memory is counted, and some that are timed."""
    device = device_of(model)
    short = settings.model_copy(
        update={
            "batch_tokens": 2 if several else 1,
            "micro_batch_tokens": 1,
            "learning_rate": 1e-6,
            "ema": None,
            "average_last": None,
            "compile": "no",
        }
    )
    model.train()
    live, loss_at, begun = LiveBytes(), 0, seconds()

    def loss(module: nn.Module, rows: Batch) -> tuple[Tensor, Tensor]:
        nonlocal loss_at
        live.history.clear()  # of an earlier micro-batch
        value = task.loss(module, rows)
        loss_at = len(live.history)
        return value

    with live:
        for tensor in (*model.parameters(), *model.buffers(), *batch.values()):
            live.add(tensor)
        trainer = Trainer(model, _Same(batch), loss, short, choose_precision(settings.precision, device))
        inner, history = trainer.optimizers.step, np.zeros(0)

        def step(factor: float) -> None:
            nonlocal history, begun
            history, begun = np.array(live.history, dtype=np.float64), seconds()
            live.history.clear()
            inner(factor)

        trainer.optimizers.step = step  # type: ignore[method-assign]
        trainer.update(1.0)[0].item()
        counted, backward_at, update = history, loss_at, max(live.history)
    times = []
    for _ in range(TIMED):
        start = seconds()
        trainer.update(1.0)[0].item()
        times.append(((begun - start) / trainer.micro_batches, seconds() - begun))
    del trainer.optimizers.step  # which holds the trainer that holds it
    for parameter in model.parameters():
        parameter.grad = None
    return Look(counted, backward_at, update, statistics.median(time for time, _ in times), statistics.median(time for _, time in times))


def _aligned(looks: Mapping[tuple[int, int], Look]) -> list[dict[tuple[int, int], np.ndarray]]:
    """The histories, cut so that the same place is the same operation: counted from the loss on, both ways, and from the end back.

    Between these, in the middle layers' backward pass, the memory goes in a line from the top layer's to the bottom one's.
    """
    before = min(look.loss_at for look in looks.values())
    after = min(len(look.history) - look.loss_at for look in looks.values())
    around = {place: look.history[look.loss_at - before : look.loss_at + after] for place, look in looks.items()}
    end = {place: look.history[len(look.history) - after :] for place, look in looks.items()}
    return [around, end]


class _Same:
    """The same batch again and again."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def next_batch(self) -> Batch:
        return self.batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """There is nothing to load."""


def _linear(values: Mapping[int, Any], at: int) -> Any:
    """The line through one or two points, numbers or arrays of them; through one, in proportion."""
    (first, low), *rest = sorted(values.items())
    if not rest:
        return low * (at / first)
    second, high = rest[0]
    return low + (high - low) * ((at - first) / (second - first))


def _bilinear(values: Mapping[tuple[int, int], Any], layers: int, rows: int) -> Any:
    """The surface through up to four points that is a line in each direction."""
    depths = sorted({place[0] for place in values})
    along = {d: _linear({r: value for (depth, r), value in values.items() if depth == d}, rows) for d in depths}
    return _linear(along, layers)


def most_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where smaller ones fit if a larger one does; 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = math.ceil((low + high) / 2)
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
