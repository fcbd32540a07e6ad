"""Qwen 3 with experts. Yang et al. 2025, https://arxiv.org/abs/2505.09388."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import (
    DEFAULTS,
    FEED_FORWARD,
    PRE_NORMS,
    QK_NORMS,
    SELF_ATTENTION,
    TIED,
    attention_biases,
    decoder,
    read_decoder,
    write_decoder,
)
from .family import Family, Fields, Rule, layers
from .fields import one_window


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    expert = [Rule("gate_proj", "gate"), Rule("up_proj", "up"), Rule("down_proj", "down")]
    experts = [Rule("mlp.gate", "feed_forward.router"), *layers("mlp.experts", "feed_forward.experts", config.experts, expert)]
    # A layer has the one feed-forward or the experts; a rule for what it does not have finds nothing.
    return decoder(config, [*PRE_NORMS, *SELF_ATTENTION, *QK_NORMS, *FEED_FORWARD, *experts])


def read_config(fields: Fields) -> ModelConfig:
    depth, every = fields["num_hidden_layers"], fields["decoder_sparse_step"]
    dense = {*(fields["mlp_only_layers"] or ()), *(layer for layer in range(depth) if (layer + 1) % every)}
    experts = fields["num_local_experts"] if "num_local_experts" in fields else fields["num_experts"]
    return read_decoder(
        fields,
        biased=attention_biases(fields),
        qk_norm=True,
        window=fields["sliding_window"] if fields["use_sliding_window"] else None,
        experts=experts,
        experts_per_token=fields["num_experts_per_tok"],
        expert_width=fields["moe_intermediate_size"],
        experts_normalized=fields["norm_topk_prob"],
        dense_layers=tuple(sorted(dense)),
    )


def write_config(config: ModelConfig) -> dict[str, Any]:
    if not config.experts:
        raise ValueError("the format is for experts, and the model has none")
    window = one_window(config)
    return {
        **write_decoder(config),
        "attention_bias": config.has_bias("query"),
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "num_experts": config.experts,
        "num_local_experts": config.experts,  # the name since transformers 5
        "num_experts_per_tok": config.experts_per_token,
        "moe_intermediate_size": config.expert_hidden_width,
        "norm_topk_prob": config.experts_normalized,
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(config.dense_layers),
    }


FAMILY = Family(
    name="qwen3_moe",
    architectures=("Qwen3MoeForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={
        **DEFAULTS, "num_key_value_heads": 4, "max_position_embeddings": 32_768, "attention_bias": False, "use_sliding_window": False,
        "sliding_window": 4_096, "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": False, "num_experts_per_tok": 8,
    },
)  # fmt: skip
