"""Qwen 3. Yang et al. 2025, https://arxiv.org/abs/2505.09388."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import (
    DEFAULTS,
    FEED_FORWARD,
    PRE_NORMS,
    QK_NORMS,
    QWEN_DEFAULTS,
    SELF_ATTENTION,
    TIED,
    attention_biases,
    decoder,
    read_decoder,
    read_qwen_windows,
    write_decoder,
    write_qwen_windows,
)
from .family import Family, Fields, Rule


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, [*PRE_NORMS, *SELF_ATTENTION, *QK_NORMS, *FEED_FORWARD])


def read_config(fields: Fields) -> ModelConfig:
    return read_decoder(fields, biased=attention_biases(fields), qk_norm=True, layer_windows=read_qwen_windows(fields))


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {**write_decoder(config), **write_qwen_windows(config), "attention_bias": config.has_bias("query")}


FAMILY = Family(
    name="qwen3",
    architectures=("Qwen3ForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={**DEFAULTS, **QWEN_DEFAULTS, "head_dim": 128, "attention_bias": False},
)
