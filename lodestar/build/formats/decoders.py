"""What the Llama-like decoders share: their tables of names and the fields of their config.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...model.config import ModelConfig
from .family import PLUS_ONE, Fields, Rule, layers
from .fields import from_activation, only, read_rotary, read_windows, to_activation, write_rotary, write_windows

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
OUTPUT_NORMS = (
    Rule("post_attention_layernorm", "attention_output_norm"),
    Rule("post_feedforward_layernorm", "feed_forward_output_norm"),
)
GEMMA_NORMS = (
    Rule("input_layernorm", "attention_norm", PLUS_ONE),
    Rule("post_attention_layernorm", "attention_output_norm", PLUS_ONE),
    Rule("pre_feedforward_layernorm", "feed_forward_norm", PLUS_ONE),
    Rule("post_feedforward_layernorm", "feed_forward_output_norm", PLUS_ONE),
)
LAST_NORM, GEMMA_LAST_NORM = Rule("model.norm", "decoder.norm"), Rule("model.norm", "decoder.norm", PLUS_ONE)
TIED = {"lm_head.weight": "model.embed_tokens.weight"}
DEFAULTS: Fields = {
    "num_key_value_heads": None, "head_dim": None, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}  # fmt: skip
QWEN_DEFAULTS: Fields = {
    "num_key_value_heads": 32, "max_position_embeddings": 32_768, "use_sliding_window": False, "sliding_window": 4_096,
    "max_window_layers": 28,
}  # fmt: skip
GEMMA_DEFAULTS: Fields = {
    **DEFAULTS, "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256,
    "sliding_window": 4_096, "attention_bias": False, "tie_word_embeddings": True, "final_logit_softcapping": None,
    "attn_logit_softcapping": None,
}  # fmt: skip


def decoder(config: ModelConfig, layer: Iterable[Rule], norm: Rule = LAST_NORM) -> list[Rule]:
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


def attention_biases(fields: Fields) -> tuple[str, ...]:
    """What `attention_bias` gives a bias to."""
    return ("query", "key", "value", "output") if fields["attention_bias"] else ()


def read_qwen_windows(fields: Fields) -> tuple[int | None, ...] | None:
    """Qwen's upper layers have the window, where any has."""
    if not fields["use_sliding_window"]:
        return None
    return read_windows(fields, lambda layer: layer >= fields["max_window_layers"])


def write_qwen_windows(config: ModelConfig) -> dict[str, Any]:
    found = write_windows(config)
    below = found["layer_types"].count("full_attention")
    return {**found, "use_sliding_window": found["sliding_window"] is not None, "max_window_layers": below}


def read_gemma(fields: Fields, **choices: Any) -> ModelConfig:
    """The config of a Gemma 2 or 3."""
    only(fields, use_bidirectional_attention=False)
    return read_decoder(
        {**fields, "hidden_act": fields["hidden_activation"] or "gelu_pytorch_tanh"},
        **{
            "biased": attention_biases(fields),
            "norm_place": "sandwich",
            "scaled_embeddings": True,
            "attention_scale": fields["query_pre_attn_scalar"] ** -0.5,
            "attention_cap": fields["attn_logit_softcapping"],
            "logit_cap": fields["final_logit_softcapping"],
            **choices,
        },
    )


def write_gemma(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `read_gemma`, windows included."""
    scale = config.head_size if config.attention_scale is None else config.attention_scale**-2
    fields = write_decoder(config)
    del fields["hidden_act"]
    return {
        **fields,
        **write_windows(config),
        "hidden_activation": "gelu_pytorch_tanh" if config.feed_forward == "geglu-tanh" else to_activation(config.feed_forward),
        "attention_bias": config.has_bias("query"),
        "query_pre_attn_scalar": round(scale),
        "attn_logit_softcapping": config.attention_cap,
        "final_logit_softcapping": config.logit_cap,
    }
