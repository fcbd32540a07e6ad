"""Mixtral. Jiang et al. 2024, https://arxiv.org/abs/2401.04088."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import DEFAULTS, PRE_NORMS, SELF_ATTENTION, TIED, decoder, read_decoder, write_decoder
from .family import Family, Fields, Rule, layers
from .fields import one_window


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    expert = [Rule("w1", "gate"), Rule("w3", "up"), Rule("w2", "down")]
    experts = layers("block_sparse_moe.experts", "feed_forward.experts", config.experts, expert)
    return decoder(config, [*PRE_NORMS, *SELF_ATTENTION, Rule("block_sparse_moe.gate", "feed_forward.router"), *experts])


def read_config(fields: Fields) -> ModelConfig:
    return read_decoder(
        fields, window=fields["sliding_window"], experts=fields["num_local_experts"], experts_per_token=fields["num_experts_per_tok"]
    )


def write_config(config: ModelConfig) -> dict[str, Any]:
    if not config.experts:
        raise ValueError("the format is for experts, and the model has none")
    return {
        **write_decoder(config),
        "intermediate_size": config.expert_hidden_width,
        "sliding_window": one_window(config),
        "num_local_experts": config.experts,
        "num_experts_per_tok": config.experts_per_token,
    }


FAMILY = Family(
    name="mixtral",
    architectures=("MixtralForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={
        **DEFAULTS, "num_key_value_heads": 8, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5, "rope_theta": 1_000_000.0,
        "sliding_window": None, "num_local_experts": 8, "num_experts_per_tok": 2,
    },
)  # fmt: skip
