"""What measuring a model needs, whatever it measures: evaluation mode, and batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

BATCH_TOKENS = 16_384
"""Tokens in one forward pass, padding included."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; on leaving, the model is in the mode that it was in."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def batches_by_length(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> list[list[int]]:
    """All indices into `lengths`, from the shortest to the longest, in batches whose padded rows make at most `budget` tokens.

    The last index of a batch is its longest row. A row longer than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[index] > budget:
            batches.append([])
        batches[-1].append(index)
    return batches
