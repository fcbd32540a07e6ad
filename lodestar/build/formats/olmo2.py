"""OLMo 2. OLMo team 2024, https://arxiv.org/abs/2501.00656."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import (
    DEFAULTS,
    FEED_FORWARD,
    OUTPUT_NORMS,
    QK_NORMS,
    SELF_ATTENTION,
    TIED,
    attention_biases,
    decoder,
    read_decoder,
    write_decoder,
)
from .family import Family, Fields, Rule


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, [*OUTPUT_NORMS, *SELF_ATTENTION, *QK_NORMS, *FEED_FORWARD])


def read_config(fields: Fields) -> ModelConfig:
    return read_decoder(fields, biased=attention_biases(fields), norm_place="output", qk_norm=True, qk_norm_over="all")


def write_config(config: ModelConfig) -> dict[str, Any]:
    fields = {**write_decoder(config), "attention_bias": config.has_bias("query")}
    if config.head_size * config.heads == config.width:
        del fields["head_dim"]  # which OLMo 2 derives
    return fields


FAMILY = Family(
    name="olmo2",
    architectures=("Olmo2ForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={**DEFAULTS, "rms_norm_eps": 1e-5, "attention_bias": False},
)
