"""The settings of an adapter: what is trained beside frozen weights."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from .config import Config
from .settings import Fraction

Target = Literal["query", "key", "value", "output", "gate", "up", "down"]
TARGETS: tuple[Target, ...] = ("query", "key", "value", "output", "gate", "up", "down")


class AdapterSettings(Config):
    """How to fine-tune with few trained numbers (venture.yaml: `adapter`)."""

    kind: Literal["lora", "dora"] = "lora"
    """`lora` adds a product of two thin matrices to each weight (Hu et al. 2021); `dora` also learns the length of each of the sum's rows
    (Liu et al. 2024), which takes more time."""
    rank: int = Field(16, ge=1)
    """The inner width of that product."""
    alpha: float = Field(32.0, gt=0)
    """What is added is multiplied by alpha / rank."""
    rank_stabilized: bool = False
    """By alpha / √rank instead, so that large ranks learn, too (rsLoRA, Kalajdzievski 2023)."""
    dropout: Fraction = 0.0
    """The share of an adapter's inputs dropped in training."""
    targets: list[Target] = Field(list(TARGETS), min_length=1)
    """The linear layers to adapt: all of those in the layers of the Transformer where absent."""
    base: Literal["as-is", "nf4", "int4", "int8"] = "as-is"
    """How the frozen weights are held: as they are, or as codes of 4 or 8 bits (QLoRA, Dettmers et al. 2023), which saves memory."""

    @property
    def scale(self) -> float:
        """What up · down is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)
