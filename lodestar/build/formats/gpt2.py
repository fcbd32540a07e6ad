"""GPT-2. Radford et al. 2019; https://huggingface.co/openai-community/gpt2."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .family import TRANSPOSED, TRANSPOSED_SPLIT, Family, Fields, Rule, layers
from .fields import from_activation, only, to_activation

LAYER = (
    Rule("ln_1", "attention_norm"),
    Rule("attn.c_attn", ("attention.query", "attention.key", "attention.value"), TRANSPOSED_SPLIT),
    Rule("attn.c_proj", "attention.output", TRANSPOSED),
    Rule("ln_2", "feed_forward_norm"),
    Rule("mlp.c_fc", "feed_forward.up", TRANSPOSED),
    Rule("mlp.c_proj", "feed_forward.down", TRANSPOSED),
)


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return [
        Rule("transformer.wte", "embedding"),
        Rule("transformer.wpe", "decoder.learned"),
        *layers("transformer.h", "decoder.blocks", config.depth, LAYER),
        Rule("transformer.ln_f", "decoder.norm"),
        Rule("lm_head", "output"),
    ]


def read_config(fields: Fields) -> ModelConfig:
    only(fields, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    return ModelConfig(
        vocabulary_size=fields["vocab_size"],
        width=fields["n_embd"],
        depth=fields["n_layer"],
        heads=fields["n_head"],
        context=fields["n_positions"],
        position="learned",
        norm="layer",
        norm_epsilon=fields["layer_norm_epsilon"],
        feed_forward=from_activation(fields["activation_function"]),
        feed_forward_width=fields["n_inner"],
        bias=True,
        tied_embeddings=fields["tie_word_embeddings"],
    )


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocabulary_size,
        "n_embd": config.width,
        "n_layer": config.depth,
        "n_head": config.heads,
        "n_positions": config.context,
        "layer_norm_epsilon": config.norm_epsilon,
        "activation_function": to_activation(config.feed_forward),
        "n_inner": config.feed_forward_width,
        "tie_word_embeddings": config.tied_embeddings,
    }


FAMILY = Family(
    name="gpt2",
    architectures=("GPT2LMHeadModel",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="transformer.",
    tied={"lm_head.weight": "transformer.wte.weight"},
    ignored=(r"\.attn\.(masked_)?bias$",),  # the causal mask, which old checkpoints hold
    defaults={
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
    },
)  # fmt: skip
