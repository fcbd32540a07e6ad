"""A plain loop of AdamW over another library's model: what a fine-tuning of ours is held against, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

LEARNING_RATE, BETAS, WEIGHT_DECAY, LONGEST_GRADIENT = 3e-4, (0.9, 0.95), 0.01, 1.0

Batch = Mapping[str, Tensor]


def plain_losses(model: nn.Module, batches: Sequence[Batch], loss_of: Callable[[Batch], Tensor]) -> list[float]:
    """The loss of each batch before the step that it is followed by; matrices decay, vectors do not."""
    groups = [
        {"params": [parameter for parameter in model.parameters() if parameter.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [parameter for parameter in model.parameters() if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS)
    losses = []
    for batch in batches:
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses
