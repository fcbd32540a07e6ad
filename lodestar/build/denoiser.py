"""A Transformer over a picture's patches that tells the way from noise to the picture that is asked for.

Peebles and Xie 2023 (DiT), https://arxiv.org/abs/2212.09748, with the flow of Esser et al. 2024 in the place of diffusion.

Axes: B pictures, C channels, Y rows and X columns of pixels, T patches, S tokens of a text, W model width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.config import ModelConfig
from ..model.linear import Linear
from ..model.transformer import Transformer
from .flow import scales
from .picture_stems import GridPositions
from .stems import PatchShape, PatchStem

FREQUENCIES = 128
"""Sines, and as many cosines, that a time is told by."""


class Asked(NamedTuple):
    """What is to be shown, as the model reads it."""

    vector: Tensor
    """(B, W)."""
    memory: Tensor | None = None
    """The states of a text, (B, S, W)."""
    mask: Tensor | None = None
    """True on its tokens, (B, S)."""

    def joined(self, other: Asked) -> Asked:
        """The rows of both; of texts, both are as long."""
        pairs = zip(self, other, strict=True)
        return Asked(*(None if ours is None or theirs is None else torch.cat((ours, theirs)) for ours, theirs in pairs))  # type: ignore[arg-type] # the vectors are there

    def rows(self, chosen: slice) -> Asked:
        """Some of its rows."""
        return Asked(*(None if each is None else each[chosen] for each in self))  # type: ignore[arg-type] # the vector is there


class TimeEmbedding(nn.Module):
    """A time from 0 to 1 as a vector: sinusoids (Vaswani et al. 2017) of a thousand times it, and two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Linear(2 * FREQUENCIES, width), Linear(width, width)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=0.02)  # DiT's
            nn.init.zeros_(layer.bias)

    def forward(self, time_B: Tensor) -> Tensor:
        """(B,) → (B, W)."""
        frequencies = torch.exp(-math.log(10_000) / FREQUENCIES * torch.arange(FREQUENCIES, device=time_B.device))
        angles = 1000 * time_B[:, None] * frequencies
        return self.second(F.silu(self.first(torch.cat((angles.sin(), angles.cos()), dim=-1))))


class Denoiser(nn.Module):
    """The velocity of pictures on their way, given what they are to show: one of `labels`, or where there are none, a text.

    The patches are the Transformer's embeddings, and the time and what is asked for its condition. A text is read by its encoder, and the
    patches attend to its states besides. So `architecture` is "encoder" for labels, and for texts "encoder-decoder", with
    `decoder_causal=False`.
    """

    def __init__(self, config: ModelConfig, shape: PatchShape, labels: int) -> None:
        super().__init__()
        if config.context != shape.tokens:
            raise ValueError(f"context is {config.context}, and a picture has {shape.tokens} patches; set it to that")
        self.config, self.shape, self.label_count = config, shape, labels
        # As large as the positions that are added: smaller ones drown in these, and half as many steps more are taken. # measured 2026-12
        self.stem = PatchStem(shape, config.width, initial_std=(shape.channels * shape.patch_height * shape.patch_width) ** -0.5)
        self.positions = GridPositions(shape, config.width)
        self.time = TimeEmbedding(config.width)
        self.transformer = Transformer(config)
        # The last row stands for nothing in particular: what guidance leads away from.
        self.labels = nn.Embedding(labels + 1, config.width) if labels else None
        self.text = None if labels else Linear(config.width, config.width)
        self.output = nn.Linear(config.width, shape.channels * shape.patch_height * shape.patch_width)
        self._initialise()

    def _initialise(self) -> None:
        for layer in (self.labels, self.text):
            if layer is not None:
                nn.init.normal_(layer.weight, std=self.config.initial_std)
        for weight in (self.output.weight, self.output.bias):
            nn.init.zeros_(weight)  # the best linear guess to begin with, see `scales`

    def asked_labels(self, labels_B: Tensor) -> Asked:
        """The indices of labels; the number of labels itself stands for nothing in particular."""
        assert self.labels is not None, "built with labels"
        return Asked(self.labels(labels_B))

    def asked_texts(self, tokens_BS: Tensor, mask_BS: Tensor) -> Asked:
        """Texts as tokens, and True on those that are real; a text of one token, the mark, stands for nothing in particular."""
        assert self.text is not None, "built for texts"
        memory = self.transformer.encode(tokens_BS, mask_BS)
        real = mask_BS[..., None].to(memory.dtype)
        return Asked(self.text((memory * real).sum(1) / real.sum(1)), memory, mask_BS)

    def forward(self, x_BCYX: Tensor, time_B: Tensor, asked: Asked) -> Tensor:
        """Where pictures stand on their way, and when → their velocities (B, C, Y, X), in float32."""
        scale = scales(time_B)
        embeddings = self.positions(self.stem(scale.into * x_BCYX))
        condition = self.time(time_B) + asked.vector
        if asked.memory is None:
            hidden = self.transformer.hidden(embeddings=embeddings, condition=condition)
        else:
            hidden = self.transformer.hidden(embeddings=embeddings, memory=asked.memory, source_mask=asked.mask, condition=condition)
        return scale.skip * x_BCYX + scale.out * self._pixels(self.output(hidden).float())

    def _pixels(self, patches_BTP: Tensor) -> Tensor:
        """(B, T, C·p·q) → (B, C, Y, X)."""
        shape = self.shape
        rows, columns = shape.grid
        patches = patches_BTP.unflatten(1, (rows, columns)).unflatten(-1, (shape.channels, shape.patch_height, shape.patch_width))
        # (B, rows, columns, C, p, q) → (B, C, rows, p, columns, q)
        return patches.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
