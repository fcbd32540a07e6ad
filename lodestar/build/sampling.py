"""How pictures are made from noise, as it is set: without torch, since a request and venture.yaml are read before there is any."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..contracts.config import Config

Sampler = Literal["euler", "heun", "adams"]
"""euler: one look a step, and an error that halves with twice the steps. heun: two looks, and one that quarters (Karras et al. 2022,
https://arxiv.org/abs/2206.00364, algorithm 1). adams: one look and the one of the step before (Adams and Bashforth), and one that
quarters, too."""
Time = Annotated[float, Field(ge=0, le=1)]


class Sampling(Config):
    """How pictures are made from noise."""

    steps: int = Field(16, ge=1, le=250)
    """Steps from noise to picture: more are slower, and finer up to some dozens."""
    sampler: Sampler = "adams"
    """How each step is taken: adams and euler look at the model once, heun twice; of few steps, adams makes the most."""
    guidance: float = Field(2.0, ge=1, le=20)
    """How much more than the model itself the pictures show what is asked for; 1: not at all. More is clearer, and less varied."""
    guidance_interval: tuple[Time, Time] = (0.0, 1.0)
    """Between which times (1 is noise, 0 the picture) they are led so; at the very beginning it costs variety (Kynkäänniemi et al. 2024,
    https://arxiv.org/abs/2404.07724)."""

    @model_validator(mode="after")
    def _interval_is_one(self) -> Self:
        low, high = self.guidance_interval
        if low > high:
            raise ValueError(f"guidance_interval begins at {low:g} and ends at {high:g}; give the smaller number first")
        return self
