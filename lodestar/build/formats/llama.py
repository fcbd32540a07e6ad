"""Llama 2 and 3. Touvron et al. 2023, https://arxiv.org/abs/2307.09288; Dubey et al. 2024, https://arxiv.org/abs/2407.21783."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import DEFAULTS, FEED_FORWARD, PRE_NORMS, SELF_ATTENTION, TIED, attention_biases, decoder, read_decoder, write_decoder
from .family import Family, Fields, Rule


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, [*PRE_NORMS, *SELF_ATTENTION, *FEED_FORWARD])


def read_config(fields: Fields) -> ModelConfig:
    return read_decoder(fields, biased=(*attention_biases(fields), *(("feed_forward",) if fields["mlp_bias"] else ())))


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {
        **write_decoder(config),
        "attention_bias": config.has_bias("query"),
        "mlp_bias": config.has_bias("feed_forward"),
    }


FAMILY = Family(
    name="llama",
    architectures=("LlamaForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={**DEFAULTS, "attention_bias": False, "mlp_bias": False},
)
