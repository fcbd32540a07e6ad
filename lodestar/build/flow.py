"""Rectified flow: pictures and noise joined by straight lines, how a model learns the way along them, and how the way is walked.

At time t, from 0 to 1, stands x_t = (1 − t)·x + t·ε between a picture x and noise ε; it moves at the velocity dx_t/dt = ε − x. A model that
knows the mean velocity at each place leads noise back to a picture. Liu et al. 2022, https://arxiv.org/abs/2209.03003; Lipman et al. 2022,
https://arxiv.org/abs/2210.02747; times as in Esser et al. 2024, https://arxiv.org/abs/2403.03206.

Axes: B pictures, C channels, Y rows and X columns of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from ..contracts.randomness import derive_seed
from .sampling import Sampler

FIXED_TIMES = 4
"""At so many times a picture is looked at in validation."""
Velocity = Callable[[Tensor, float], Tensor]
"""Where one stands (B, C, Y, X) and the time → the velocity there."""


class Scales(NamedTuple):
    """How a network is put to use at a time: velocity = skip · x_t + out · network(into · x_t), each (B, 1, 1, 1)."""

    into: Tensor
    skip: Tensor
    out: Tensor


def scales(time_B: Tensor) -> Scales:
    """What makes a network's input and its target of variance 1 at every time, where pictures are of variance 1, as noise is.

    The skip is the best linear guess of the velocity from x_t, so that a network which gives 0 is no worse than that, and what it has to
    give is neither the noise nor the picture where x_t shows them already. After Karras et al. 2022, https://arxiv.org/abs/2206.00364,
    section 5, for straight lines: x_t has the variance V = (1 − t)² + t² and the covariance 2t − 1 with the velocity, whose own is 2; so
    skip = (2t − 1) / V, and what is left has the variance 2 − (2t − 1)² / V = 1 / V.
    """
    t = time_B[:, None, None, None]
    variance = (1 - t) ** 2 + t**2
    root = variance.rsqrt()
    return Scales(root, (2 * t - 1) / variance, root)


def between(pixels_BCYX: Tensor, noise_BCYX: Tensor, time_B: Tensor) -> Tensor:
    """x_t."""
    t = time_B[:, None, None, None]
    return (1 - t) * pixels_BCYX + t * noise_BCYX


def draw_times(count: int, device: torch.device) -> Tensor:
    """Times to learn at (count,): logit-normal, so that most lie in the middle of the way, where there is most to decide (Esser et al.
    2024, section 3.1).
    """
    return torch.sigmoid(torch.randn(count, device=device))


def fixed_looks(shape: torch.Size, device: torch.device) -> Iterator[tuple[float, Tensor]]:
    """The times and noises (C, Y, X) that validation looks at, the same for every picture and at every validation: the middles of equal
    shares of the distribution that is learnt at.
    """
    for number in range(FIXED_TIMES):
        normal = NormalDist().inv_cdf((number + 0.5) / FIXED_TIMES)
        yield float(torch.sigmoid(torch.tensor(normal))), noise(0, [f"validation {number}"], shape)[0].to(device)


def noise(seed: int, purposes: Sequence[str | int], shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Normal noise (purposes, *shape), that of each purpose by itself: a picture does not depend on which others are made with it."""
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(derive_seed(seed, "noise", purpose))) for purpose in purposes]
    return torch.stack(drawn)


class Step(NamedTuple):
    """What stands after a step."""

    x: Tensor
    """(B, C, Y, X)."""
    guess: Tensor
    """The picture that the last velocity leads to in a straight line: blurred at first, and at the end what is made."""


def walk(velocity: Velocity, noise_BCYX: Tensor, steps: int, how: Sampler) -> Iterator[Step]:
    """From noise at time 1 to pictures at time 0, in equal steps; each as it is made."""
    times = [1 - step / steps for step in range(steps + 1)]
    x, before = noise_BCYX, None
    for now, then in pairwise(times):
        here = velocity(x, now)
        guess, mean = x - now * here, here
        if how == "heun" and then > 0:  # at the end one look does (Karras et al. 2022)
            mean = (here + velocity(x + (then - now) * here, then)) / 2
        elif how == "adams" and before is not None:
            mean = 1.5 * here - 0.5 * before
        x, before = x + (then - now) * mean, here
        yield Step(x, guess if then > 0 else x)
