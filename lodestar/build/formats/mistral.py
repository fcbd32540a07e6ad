"""Mistral. Jiang et al. 2023, https://arxiv.org/abs/2310.06825."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import DEFAULTS, FEED_FORWARD, PRE_NORMS, SELF_ATTENTION, TIED, decoder, read_decoder, write_decoder
from .family import Family, Fields, Rule
from .fields import one_window


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, [*PRE_NORMS, *SELF_ATTENTION, *FEED_FORWARD])


def read_config(fields: Fields) -> ModelConfig:
    return read_decoder(fields, window=fields["sliding_window"])


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {**write_decoder(config), "sliding_window": one_window(config)}


FAMILY = Family(
    name="mistral",
    architectures=("MistralForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={**DEFAULTS, "num_key_value_heads": 8, "max_position_embeddings": 131_072, "sliding_window": 4_096},
)
