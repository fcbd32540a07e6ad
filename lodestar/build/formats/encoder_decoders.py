"""What BART, mBART, Marian and M2M-100 share: their table of names and the fields of config.json."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .family import Fields, Rule, Tensors, Transform, layers
from .fields import from_activation, only, to_activation


def _rows(tensors: Tensors, like: Tensors) -> Tensors:
    return [tensor[0] for tensor in tensors]


ROW = Transform(_rows, lambda ours: [tensor[None] for tensor in ours])
"""(1, V) ↔ (V)."""


def _attention(theirs: str, ours: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{theirs}.q_proj", f"{ours}.query"),
        Rule(f"{theirs}.k_proj", f"{ours}.key"),
        Rule(f"{theirs}.v_proj", f"{ours}.value"),
        Rule(f"{theirs}.out_proj", f"{ours}.output"),
    )


ENCODER_LAYER = (
    *_attention("self_attn", "attention"),
    Rule("self_attn_layer_norm", "attention_norm"),
    Rule("fc1", "feed_forward.up"),
    Rule("fc2", "feed_forward.down"),
    Rule("final_layer_norm", "feed_forward_norm"),
)
DECODER_LAYER = (*ENCODER_LAYER, *_attention("encoder_attn", "cross_attention"), Rule("encoder_attn_layer_norm", "cross_norm"))
STACK = (
    Rule("embed_positions", "learned"),
    Rule("layernorm_embedding", "embedding_norm"),
    Rule("layer_norm", "norm"),
)
TIED = {
    "lm_head.weight": "model.shared.weight",
    "model.encoder.embed_tokens.weight": "model.shared.weight",
    "model.decoder.embed_tokens.weight": "model.shared.weight",
}
"""What older checkpoints hold twice."""
DEFAULTS: Fields = {
    "max_position_embeddings": 1024, "d_model": 1024, "encoder_layers": 12, "encoder_ffn_dim": 4096, "encoder_attention_heads": 16,
    "decoder_layers": 12, "decoder_ffn_dim": 4096, "decoder_attention_heads": 16, "activation_function": "gelu", "scale_embedding": False,
    "pad_token_id": 1, "tie_word_embeddings": True, "dropout": 0.1, "init_std": 0.02,
}  # fmt: skip


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    """The table of all four; what a family does not have, its model has no tensor for."""
    stacks = [rule.inside(f"model.{stack}.", f"{stack}.") for stack in ("encoder", "decoder") for rule in STACK]
    return [
        Rule("model.shared", "embedding"),
        *stacks,
        *layers("model.encoder.layers", "encoder.blocks", config.encoder_layers, ENCODER_LAYER),
        *layers("model.decoder.layers", "decoder.blocks", config.decoder_layers, DECODER_LAYER),
        Rule("lm_head", "output"),
        Rule("final_logits_bias", "output_bias", ROW),
    ]


def read_encoder_decoder(fields: Fields, **choices: Any) -> ModelConfig:
    """The config of an encoder-decoder; `choices` are what is the family's own."""
    only(fields, is_decoder=False)
    if "tied_embeddings" not in choices:
        # Untied, transformers gives the encoder and the decoder an embedding each, too.
        only(fields, tie_word_embeddings=True)
    heads, hidden = fields["encoder_attention_heads"], fields["encoder_ffn_dim"]
    return ModelConfig(
        **{
            "vocabulary_size": fields["vocab_size"],
            "width": fields["d_model"],
            "depth": fields["encoder_layers"],
            "heads": heads,
            "context": fields["max_position_embeddings"],
            "architecture": "encoder-decoder",
            "decoder_depth": _differing(fields["decoder_layers"], fields["encoder_layers"]),
            "decoder_heads": _differing(fields["decoder_attention_heads"], heads),
            "decoder_feed_forward_width": _differing(fields["decoder_ffn_dim"], hidden),
            "norm": "layer",
            "norm_epsilon": 1e-5,
            "feed_forward": from_activation(fields["activation_function"]),
            "feed_forward_width": hidden,
            "bias": True,
            "scaled_embeddings": fields["scale_embedding"],
            "dropout": fields["dropout"],
            "initial_std": fields["init_std"],
            **choices,
        }
    )


def write_encoder_decoder(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `read_encoder_decoder`."""
    decoder = config.of_decoder()
    return {
        "vocab_size": config.vocabulary_size,
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.hidden_width,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": decoder.heads,
        "decoder_ffn_dim": decoder.hidden_width,
        "max_position_embeddings": config.context,
        "activation_function": to_activation(config.feed_forward),
        "scale_embedding": config.scaled_embeddings,
        "dropout": config.dropout,
        "init_std": config.initial_std,
        "is_encoder_decoder": True,
        "tie_word_embeddings": config.tied_embeddings,
    }


def _differing(value: int, usual: int) -> int | None:
    return None if value == usual else value
