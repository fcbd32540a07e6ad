"""What a picture generator learns from, and what it makes.

Axes: B pictures, C channels, Y rows and X columns of pixels, S tokens of a text.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..contracts.task import Batch, device_of
from .augment import flipped, scaled
from .denoiser import Asked, Denoiser
from .flow import Step, between, draw_times, fixed_looks, scales, walk
from .measuring import BATCH_TOKENS, evaluating
from .sampling import Sampling


def flow_loss(model: nn.Module, batch: Batch, *, unconditional: float, flip: bool) -> Tensor:
    """The squared error of the velocities, averaged over each picture's numbers and summed over the pictures; 1 is about what the best
    linear guess makes, at every time (see `flow.scales`; the weighting is that of Karras et al. 2022, section 5).

    In training at one drawn time a picture, and with nothing asked for in the share `unconditional` of them, which guidance is made of
    (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598). Otherwise the mean over fixed times and noises, so that what one picture
    gives does not depend on the others.
    """
    assert isinstance(model, Denoiser)
    if model.training:
        pixels = scaled(flipped(batch["pixels"]) if flip else batch["pixels"])
        silent_B = torch.rand(len(pixels), device=pixels.device) < unconditional
        return _error(model, pixels, torch.randn_like(pixels), draw_times(len(pixels), pixels.device), _asked(model, batch, silent_B))
    pixels, asked = scaled(batch["pixels"]), _asked(model, batch, None)
    errors = [
        _error(model, pixels, noise.expand_as(pixels), pixels.new_full((len(pixels),), time), asked)
        for time, noise in fixed_looks(pixels.shape[1:], pixels.device)
    ]
    return torch.stack(errors).mean()


def _error(model: Denoiser, pixels: Tensor, noise: Tensor, time_B: Tensor, asked: Asked) -> Tensor:
    velocity = model(between(pixels, noise, time_B), time_B, asked)
    return ((velocity - (noise - pixels)) / scales(time_B).out).square().mean((1, 2, 3)).sum()


def _asked(model: Denoiser, batch: Batch, silent_B: Tensor | None) -> Asked:
    """What a batch asks for, and nothing in particular in the rows that are to be silent."""
    if "label" in batch:
        labels = batch["label"]
        return model.asked_labels(labels if silent_B is None else labels.masked_fill(silent_B, model.label_count))
    mask = batch["attention_mask"].bool()
    return model.asked_texts(batch["tokens"], mask if silent_B is None else mask & ~_behind_the_mark(mask, silent_B))


def _behind_the_mark(mask_BS: Tensor, rows_B: Tensor) -> Tensor:
    """True on all tokens but the first in these rows."""
    behind = torch.arange(mask_BS.shape[1], device=mask_BS.device) > 0
    return behind & rows_B[:, None]


def asked_for_nothing(model: Denoiser, like: Asked, tokens_BS: Tensor | None) -> Asked:
    """As many rows as `like` that ask for nothing in particular.

    Args:
        tokens_BS: of a model of texts, those of `like`.
    """
    rows = len(like.vector)
    if tokens_BS is None or like.mask is None:
        return model.asked_labels(torch.full((rows,), model.label_count, device=like.vector.device))
    mark = torch.zeros_like(like.mask)
    mark[:, 0] = True
    return model.asked_texts(tokens_BS, mark)


def guided(model: Denoiser, asked: Asked, nothing: Asked, x_BCYX: Tensor, time: float, how: Sampling) -> Tensor:
    """nothing + guidance · (asked − nothing): the velocity led further towards what is asked for (Ho and Salimans 2022)."""
    low, high = how.guidance_interval
    time_B = x_BCYX.new_full((len(x_BCYX),), time)
    if how.guidance == 1 or not low <= time <= high:
        return model(x_BCYX, time_B, asked)
    towards, plain = model(x_BCYX.repeat(2, 1, 1, 1), time_B.repeat(2), asked.joined(nothing)).chunk(2)
    return plain + how.guidance * (towards - plain)


def sample(model: nn.Module, tokens: Tensor, mask: Tensor | None, noise_BCYX: Tensor, how: Sampling) -> Iterator[Step]:
    """Pictures on their way, after each step; the last are the ones that are made.

    Args:
        tokens: what is asked for: the indices of labels (B,), or texts (B, S) that begin with the mark;
        mask: of texts, True on their tokens.
    """
    assert isinstance(model, Denoiser)
    device = device_of(model)
    rows = max(1, BATCH_TOKENS // (2 * model.config.context))
    with evaluating(model):
        tokens, noise = tokens.to(device), noise_BCYX.to(device)
        asked = model.asked_labels(tokens) if mask is None else model.asked_texts(tokens, mask.to(device))
        nothing = asked_for_nothing(model, asked, None if mask is None else tokens)

    def velocity(x_BCYX: Tensor, time: float) -> Tensor:
        with evaluating(model):
            parts = [slice(at, at + rows) for at in range(0, len(x_BCYX), rows)]
            return torch.cat([guided(model, asked.rows(part), nothing.rows(part), x_BCYX[part], time, how) for part in parts])

    yield from walk(velocity, noise, how.steps, how.sampler)


def as_bytes(pictures_BCYX: Tensor) -> Tensor:
    """The inverse of `augment.scaled`: uint8 of 0 to 255; what lies outside is cut off."""
    return ((pictures_BCYX + 2.0) * 63.75).round().clamp(0, 255).to(torch.uint8).cpu()
