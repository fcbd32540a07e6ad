"""T5 and its version 1.1 (Flan-T5). Raffel et al. 2020, https://arxiv.org/abs/1910.10683."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .family import Family, Fields, Rule, layers
from .fields import from_activation, only, to_activation

CONTEXT = 4096
"""Relative positions hold for any length, and config.json names none; eight times what T5 was trained on. assumed."""


def _attention(theirs: str, ours: str) -> tuple[Rule, ...]:
    names = {"q": "query", "k": "key", "v": "value", "o": "output"}
    return tuple(Rule(f"{theirs}.{short}", f"{ours}.{name}") for short, name in names.items())


def _feed_forward(layer: str, *, gated: bool) -> tuple[Rule, ...]:
    theirs = ("wi_0", "wi_1", "wo") if gated else ("wi", "wo")
    ours = ("gate", "up", "down") if gated else ("up", "down")
    return (
        *(Rule(f"{layer}.DenseReluDense.{name}", f"feed_forward.{own}") for name, own in zip(theirs, ours, strict=True)),
        Rule(f"{layer}.layer_norm", "feed_forward_norm"),
    )


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    """The table of T5 and mT5, with a decoder or without."""
    attention = (*_attention("layer.0.SelfAttention", "attention"), Rule("layer.0.layer_norm", "attention_norm"))
    cross = (*_attention("layer.1.EncDecAttention", "cross_attention"), Rule("layer.1.layer_norm", "cross_norm"))
    encoder = [*attention, *_feed_forward("layer.1", gated=config.gated)]
    decoder = [*attention, *cross, *_feed_forward("layer.2", gated=config.gated)]
    ends = [
        rule
        for stack in ("encoder", "decoder")
        for rule in (
            Rule(f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias", f"{stack}.relative"),  # one for all layers
            Rule(f"{stack}.final_layer_norm", f"{stack}.norm"),
        )
    ]
    return [
        Rule("shared", "embedding"),
        *layers("encoder.block", "encoder.blocks", config.encoder_layers, encoder),
        *layers("decoder.block", "decoder.blocks", config.decoder_layers, decoder),
        *ends,
        Rule("lm_head", "output"),
    ]


def read_t5(fields: Fields, *, scaled: bool) -> ModelConfig:
    """The config of T5 and mT5; `scaled`: the decoder's states are divided by √width before the logits."""
    only(fields, is_decoder=False)
    alone = (fields.get("architectures") or [""])[0].endswith("EncoderModel")
    gate, _, activation = fields["feed_forward_proj"].rpartition("-")
    decoder = fields["num_decoder_layers"] or fields["num_layers"]
    return ModelConfig(
        vocabulary_size=fields["vocab_size"],
        width=fields["d_model"],
        depth=fields["num_layers"],
        heads=fields["num_heads"],
        head_width=fields["d_kv"],
        context=CONTEXT,
        architecture="encoder" if alone else "encoder-decoder",
        decoder_depth=None if alone or decoder == fields["num_layers"] else decoder,
        position="relative",
        relative_buckets=fields["relative_attention_num_buckets"],
        relative_distance=fields["relative_attention_max_distance"],
        norm_epsilon=fields["layer_norm_epsilon"],
        attention_scale=1.0,
        feed_forward=from_activation("gelu_new" if gate and activation == "gelu" else activation, gated=bool(gate)),
        feed_forward_width=fields["d_ff"],
        tied_embeddings=alone or fields["tie_word_embeddings"] is not False,
        output_scale=fields["d_model"] ** -0.5 if scaled and not alone else 1.0,
        dropout=fields["dropout_rate"],
    )


def write_t5(config: ModelConfig, name: str) -> dict[str, Any]:
    """The inverse of `read_t5` for the family whose architectures begin with `name`."""
    activation = to_activation(config.feed_forward)
    if config.gated:
        activation = "gated-" + activation.replace("gelu_new", "gelu")
    alone = config.architecture == "encoder"
    return {
        "architectures": [f"{name}EncoderModel" if alone else f"{name}ForConditionalGeneration"],
        "vocab_size": config.vocabulary_size,
        "d_model": config.width,
        "d_kv": config.head_size,
        "d_ff": config.hidden_width,
        "num_layers": config.depth,
        "num_decoder_layers": config.decoder_layers or config.depth,
        "num_heads": config.heads,
        "relative_attention_num_buckets": config.relative_buckets,
        "relative_attention_max_distance": config.relative_distance,
        "layer_norm_epsilon": config.norm_epsilon,
        "feed_forward_proj": activation,
        "dropout_rate": config.dropout,
        "tie_word_embeddings": config.tied_embeddings,
        "is_encoder_decoder": not alone,
    }


def read_config(fields: Fields) -> ModelConfig:
    # Before transformers 5 the scaling was told from the tying: version 1.1 has neither.
    scaled = fields.get("scale_decoder_outputs")
    return read_t5(fields, scaled=fields["tie_word_embeddings"] is not False if scaled is None else scaled)


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {**write_t5(config, "T5"), "scale_decoder_outputs": config.output_scale != 1.0}


TIED = dict.fromkeys(("lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"), "shared.weight")
IGNORED = (r"^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$",)
"""Cross-attention has no positions, and old checkpoints have a table for them."""
DEFAULTS: Fields = {
    "d_kv": 64, "num_decoder_layers": None, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6, "feed_forward_proj": "relu", "dropout_rate": 0.1, "tie_word_embeddings": True,
}  # fmt: skip

FAMILY = Family(
    name="t5",
    architectures=("T5ForConditionalGeneration", "T5EncoderModel", "T5WithLMHeadModel"),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    tied=TIED,
    ignored=IGNORED,
    defaults={**DEFAULTS, "vocab_size": 32128, "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
)
