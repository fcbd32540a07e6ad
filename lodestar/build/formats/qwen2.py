"""Qwen 2 and 2.5. Yang et al. 2024, https://arxiv.org/abs/2407.10671, https://arxiv.org/abs/2412.15115."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import (
    DEFAULTS,
    FEED_FORWARD,
    PRE_NORMS,
    QWEN_DEFAULTS,
    SELF_ATTENTION,
    TIED,
    decoder,
    read_decoder,
    read_qwen_windows,
    write_decoder,
    write_qwen_windows,
)
from .family import Family, Fields, Rule


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, [*PRE_NORMS, *SELF_ATTENTION, *FEED_FORWARD])


def read_config(fields: Fields) -> ModelConfig:
    return read_decoder(fields, biased=("query", "key", "value"), layer_windows=read_qwen_windows(fields))


def write_config(config: ModelConfig) -> dict[str, Any]:
    fields = {**write_decoder(config), **write_qwen_windows(config)}
    if config.head_size * config.heads == config.width:
        del fields["head_dim"]  # which Qwen 2 derives
    return fields


FAMILY = Family(
    name="qwen2",
    architectures=("Qwen2ForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={**DEFAULTS, **QWEN_DEFAULTS},
)
