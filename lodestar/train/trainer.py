"""The part of a run that its weights depend on: model, optimisers, average, data position, random state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts.settings import TrainSettings
from ..contracts.task import MODEL_LENGTH, Batch, Loader, device_of
from .average import average_of
from .checkpoint import Checkpoint, fill_model, model_tensors
from .optimizers import Optimizers, clip_and_normalize
from .precision import Precision, autocast
from .random_state import random_state, restore_random_state

LossFunction = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]


class Trainer:
    """Updates a model, evaluates it, and gives and takes its whole state."""

    def __init__(self, model: nn.Module, loader: Loader, loss: LossFunction, settings: TrainSettings, precision: Precision) -> None:
        assert settings.batch_tokens is not None, "the caller derives the batch"
        self.model, self.loader, self.loss, self.settings, self.precision = model, loader, loss, settings, precision
        self.device = device_of(model)
        self.micro_batches = max(1, round(settings.batch_tokens / (settings.micro_batch_tokens or settings.batch_tokens)))
        self.optimizers = Optimizers(model, settings, keep_gradients=self.micro_batches > 1)
        self.average = average_of(model, settings)
        self.tokens = 0
        """Tokens trained on, those of rewound steps included."""

    def update(self, factor: float) -> tuple[Tensor, Tensor]:
        """One step at `factor` times the peak learning rate; the mean loss, and the gradient norm before clipping.

        Both stay tensors, so that nothing waits for a GPU.
        """
        sums, counts = [], []
        for _ in range(self.micro_batches):
            batch = self.loader.next_batch()
            self.tokens += tokens_in(batch)
            with autocast(self.precision, self.device):
                loss, terms = self.loss(self.model, self._on_device(batch))
            loss.backward()
            sums.append(loss.detach())
            counts.append(terms)
        # The mean is over the whole step's terms, however they are spread over its batches. A step without any changes nothing.
        terms = torch.stack(counts).sum().clamp(min=1)
        norm = clip_and_normalize(self.optimizers.gradients(), terms, self.settings.clip)
        self.optimizers.step(factor)
        if self.average is not None:
            self.average.after_step()
        return torch.stack(sums).sum() / terms, norm

    def evaluate(self, batches: Iterable[Batch]) -> float | None:
        """The mean loss, of the averaged weights where there are any; None where there is nothing to evaluate on."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        count = torch.zeros((), dtype=torch.int64, device=self.device)
        self.model.eval()
        with self.averaged(), torch.inference_mode():
            for batch in batches:
                with autocast(self.precision, self.device):
                    loss, terms = self.loss(self.model, self._on_device(batch))
                total += loss
                count += terms
        self.model.train()
        return float(total / count) if count else None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has the weights that are evaluated and released."""
        with self.average.applied() if self.average is not None else nullcontext():
            yield

    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        norms = torch._foreach_norm([parameter.detach() for parameter in self.optimizers.parameters])
        return bool(torch.isfinite(torch.stack(norms)).all())

    # State

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All tensors of the state, by the file that they go into."""
        parts = {"model": model_tensors(self.model), "optimizer": self.optimizers.state_tensors(), "random": random_state()[0]}
        return parts | ({"average": self.average.tensors} if self.average is not None and self.average.tensors else {})

    def state(self) -> dict[str, Any]:
        """The rest of the state, as JSON."""
        return {
            "tokens": self.tokens,
            "loader": self.loader.state_dict(),
            "random": random_state()[1],
            "average_updates": self.average.updates if self.average is not None else None,
        }

    def restore(self, checkpoint: Checkpoint, *, data: bool = True) -> None:
        """Take a checkpoint's state; without `data`, stay where the loader is and go on counting tokens."""
        state: Mapping[str, Any] = checkpoint.state["trainer"]
        fill_model(self.model, checkpoint.tensors("model"))
        self.optimizers.load_state_tensors(checkpoint.tensors("optimizer"))
        if self.average is not None:
            self.average.load(checkpoint.tensors("average") if "average" in checkpoint.parts else {}, state["average_updates"])
        restore_random_state(checkpoint.tensors("random"), state["random"])
        if data:
            self.loader.load_state_dict(state["loader"])
            self.tokens = state["tokens"]

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What happens inside, before the first step, leaves no trace."""
        weights = {name: tensor.detach().clone() for name, tensor in model_tensors(self.model).items()}
        loader_state, (tensors, others) = self.loader.state_dict(), random_state()
        yield
        fill_model(self.model, weights)
        self.loader.load_state_dict(loader_state)
        restore_random_state(tensors, others)
        self.optimizers.reset()
        self.average = average_of(self.model, self.settings)
        self.tokens = 0

    def _on_device(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}


def tokens_in(batch: Batch) -> int:
    """The tokens, or other positions, that a batch makes the model read, padding left out."""
    if MODEL_LENGTH in batch:
        return int(batch[MODEL_LENGTH].sum())
    if "attention_mask" in batch:
        return sum(int(batch[mask].sum()) for mask in ("attention_mask", "source_mask") if mask in batch)
    return batch["tokens"].numel()
