"""What the Llama-like decoders share: their tables of names and the fields of their config.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...model.config import ModelConfig
from .family import Fields, Rule, layers
from .fields import from_activation, read_rotary, to_activation, write_rotary

PRE_NORMS = (
    Rule("input_layernorm", "attention_norm"),
    Rule("post_attention_layernorm", "feed_forward_norm"),
)
SELF_ATTENTION = (
    Rule("self_attn.q_proj", "attention.query"),
    Rule("self_attn.k_proj", "attention.key"),
    Rule("self_attn.v_proj", "attention.value"),
    Rule("self_attn.o_proj", "attention.output"),
)
QK_NORMS = (
    Rule("self_attn.q_norm", "attention.query_norm"),
    Rule("self_attn.k_norm", "attention.key_norm"),
)
FEED_FORWARD = (
    Rule("mlp.gate_proj", "feed_forward.gate"),
    Rule("mlp.up_proj", "feed_forward.up"),
    Rule("mlp.down_proj", "feed_forward.down"),
)
TIED = {"lm_head.weight": "model.embed_tokens.weight"}
DEFAULTS: Fields = {
    "num_key_value_heads": None, "head_dim": None, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}  # fmt: skip


def decoder(config: ModelConfig, layer: Iterable[Rule], norm: Rule = Rule("model.norm", "decoder.norm")) -> list[Rule]:  # noqa: B008 - frozen
    """The table of a decoder whose layers are `layer`."""
    return [
        Rule("model.embed_tokens", "embedding"),
        *layers("model.layers", "decoder.blocks", config.depth, layer),
        norm,
        Rule("lm_head", "output"),
    ]


def read_decoder(fields: Fields, **choices: Any) -> ModelConfig:
    """The config of a Llama-like decoder; `choices` are what is the family's own."""
    return ModelConfig(
        **{
            "vocabulary_size": fields["vocab_size"],
            "width": fields["hidden_size"],
            "depth": fields["num_hidden_layers"],
            "heads": fields["num_attention_heads"],
            "key_value_heads": fields["num_key_value_heads"],
            "head_width": fields["head_dim"],
            "norm_epsilon": fields["rms_norm_eps"],
            "feed_forward": from_activation(fields["hidden_act"], gated=True),
            "feed_forward_width": fields["intermediate_size"],
            "tied_embeddings": fields["tie_word_embeddings"],
            **read_rotary(fields),
            **choices,
        }
    )


def write_decoder(config: ModelConfig) -> dict[str, Any]:
    """What of config.json Llama-like decoders write alike."""
    return {
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "rms_norm_eps": config.norm_epsilon,
        "hidden_act": to_activation(config.feed_forward),
        "intermediate_size": config.hidden_width,
        "tie_word_embeddings": config.tied_embeddings,
        **write_rotary(config),
    }
