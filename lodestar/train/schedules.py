"""The learning rate over a run: pure functions of the step and the total."""

from __future__ import annotations

import math

from ..contracts.settings import TrainSettings


def warm_up(step: int, steps: int) -> float:
    """The share of the peak in step `step` (from 0) of a linear rise that reaches 1 right after `steps` steps."""
    return 1.0 if step >= steps else (step + 1) / (steps + 1)


def cosine(step: int, total: int, *, warmup: float, floor: float) -> float:
    """Half a cosine from 1, after the warm-up, to `floor` at `total`. Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983."""
    rising = round(warmup * total)
    if step < rising:
        return warm_up(step, rising)
    progress = min(1.0, (step - rising) / max(1, total - rising))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_stable_decay(step: int, total: int, *, warmup: float, decay: float, floor: float) -> float:
    """1 between the warm-up and the last `decay` share of the steps, then a straight line to `floor` at `total`.

    Hu et al. 2024 (MiniCPM), https://arxiv.org/abs/2404.06395, section 4; the linear decay of Hägele et al. 2024.
    """
    rising, falling = round(warmup * total), round(decay * total)
    if step < rising:
        return warm_up(step, rising)
    left = total - step
    return 1.0 if left >= falling else floor + (1 - floor) * max(0, left) / falling


def learning_rate_factor(step: int, total: int, settings: TrainSettings) -> float:
    """The share of the peak learning rate in step `step` (from 0) of `total`."""
    if settings.schedule == "cosine":
        return cosine(step, total, warmup=settings.warmup, floor=settings.floor)
    decay = settings.decay if settings.schedule == "wsd" else 0.0
    return warmup_stable_decay(step, total, warmup=settings.warmup, decay=decay, floor=settings.floor)
