"""ModernBERT. Warner et al. 2024, https://arxiv.org/abs/2412.13663."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ...model.transformer import Transformer
from ..heads import HeadShape, MaskedLanguageModel, SequenceClassifier, TokenClassifier
from .encoders import architectures, build_classifier, head_of, write_head
from .family import SPLIT, Family, Fields, Rule, inside, layers
from .fields import from_activation, only, to_activation

LAYER = (
    Rule("attn_norm", "attention_norm"),
    Rule("attn.Wqkv", ("attention.query", "attention.key", "attention.value"), SPLIT),
    Rule("attn.Wo", "attention.output"),
    Rule("mlp_norm", "feed_forward_norm"),
    Rule("mlp.Wi", ("feed_forward.gate", "feed_forward.up"), SPLIT),
    Rule("mlp.Wo", "feed_forward.down"),
)
PROJECTION = (Rule("head.dense", "projection.dense"), Rule("head.norm", "projection.norm"))
ATTENTION = ("query", "key", "value", "output")


def build(config: ModelConfig, fields: Fields) -> nn.Module:
    head, activation, bias = head_of(fields), from_activation(fields["classifier_activation"]), fields["classifier_bias"]
    if not head:
        return Transformer(config)
    if head == "MaskedLM":
        return MaskedLanguageModel(config, activation, dense_bias=bias, output_bias=fields["decoder_bias"])
    shape = HeadShape("first" if fields["classifier_pooling"] == "cls" else "mean", activation, dense_bias=bias, norm=True)
    return build_classifier(config, fields, shape, shape)


def write_parts(module: nn.Module, fields: Fields) -> dict[str, Any] | None:
    written: dict[str, Any] = {}
    match module:
        case Transformer():
            return write_head(module, fields, "ModernBert")
        case MaskedLanguageModel():
            written = {"decoder_bias": module.output_bias is not None}
        case SequenceClassifier():
            written = {"classifier_pooling": "cls" if module.shape.pooling == "first" else "mean"}
        case TokenClassifier():
            pass
        case _:
            return None
    shape = module.shape
    if shape.activation is None or shape.activation == "tanh" or not shape.norm:
        return None
    written |= {"classifier_activation": to_activation(shape.activation), "classifier_bias": shape.dense_bias}
    return {**written, **write_head(module, fields, "ModernBert")}


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    body = [
        Rule("embeddings.tok_embeddings", "embedding"),
        Rule("embeddings.norm", "encoder.embedding_norm"),
        *layers("layers", "encoder.blocks", config.depth, LAYER),
        Rule("final_norm", "encoder.norm"),
    ]
    head = head_of(fields)
    if not head:
        return inside("model.", "", body)
    output = Rule("decoder.bias", "output_bias") if head == "MaskedLM" else Rule("classifier", "output")
    return [*inside("model.", "transformer.", body), *PROJECTION, output]


def read_config(fields: Fields) -> ModelConfig:
    only(fields, tie_word_embeddings=True)
    depth, every = fields["num_hidden_layers"], fields["global_attn_every_n_layers"]
    kinds = fields["layer_types"] or ["sliding_attention" if layer % every else "full_attention" for layer in range(depth)]
    # Half of `local_attention` on either side, and the token itself.
    local = fields["local_attention"] // 2 + 1
    return ModelConfig(
        vocabulary_size=fields["vocab_size"],
        width=fields["hidden_size"],
        depth=depth,
        heads=fields["num_attention_heads"],
        context=fields["max_position_embeddings"],
        architecture="encoder",
        layer_windows=tuple(local if kind == "sliding_attention" else None for kind in kinds),
        rotary_base=_base(fields, "full_attention", "global_rope_theta"),
        local_rotary_base=_base(fields, "sliding_attention", "local_rope_theta"),
        norm="layer",
        norm_epsilon=fields["norm_eps"],
        embedding_norm=True,
        skip_first_norm=True,
        feed_forward=from_activation(fields["hidden_activation"], gated=True),
        feed_forward_width=fields["intermediate_size"],
        biased=(
            *(ATTENTION if fields["attention_bias"] else ()),
            *(("feed_forward",) if fields["mlp_bias"] else ()),
            *(("norm",) if fields["norm_bias"] else ()),
        ),
        initial_std=fields["initializer_range"],
    )


def _base(fields: Fields, kind: str, old_name: str) -> float:
    """The rotary base of the layers of a kind; transformers 4 has a field for each."""
    rope = (fields["rope_parameters"] or {}).get(kind) or {}
    only(rope, rope_type="default")
    return float(rope.get("rope_theta") or fields[old_name])


def write_config(config: ModelConfig) -> dict[str, Any]:
    windows = config.layer_windows or (config.window,) * config.depth
    local = next((window for window in windows if window), 1)
    local_base = config.local_rotary_base or config.rotary_base
    return {
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.context,
        "layer_types": ["sliding_attention" if window else "full_attention" for window in windows],
        "local_attention": 2 * (local - 1),
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": config.rotary_base},
            "sliding_attention": {"rope_type": "default", "rope_theta": local_base},
        },
        "global_rope_theta": config.rotary_base,
        "local_rope_theta": local_base,
        "norm_eps": config.norm_epsilon,
        "hidden_activation": to_activation(config.feed_forward),
        "intermediate_size": config.hidden_width,
        "attention_bias": config.has_bias("query"),
        "mlp_bias": config.has_bias("feed_forward"),
        "norm_bias": config.has_bias("norm"),
        "initializer_range": config.initial_std,
    }


FAMILY = Family(
    name="modernbert",
    architectures=architectures("ModernBert"),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    build=build,
    write_parts=write_parts,
    prefix="model.",
    ignored=(r"^decoder\.weight$",),  # the embedding, where a checkpoint holds it twice
    defaults={
        "vocab_size": 50368, "hidden_size": 768, "intermediate_size": 1152, "num_hidden_layers": 22, "num_attention_heads": 12,
        "hidden_activation": "gelu", "max_position_embeddings": 8192, "norm_eps": 1e-5, "norm_bias": False, "attention_bias": False,
        "mlp_bias": False, "layer_types": None, "global_attn_every_n_layers": 3, "local_attention": 128, "rope_parameters": None,
        "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0, "decoder_bias": True, "classifier_pooling": "cls",
        "classifier_bias": False, "classifier_activation": "gelu", "initializer_range": 0.02,
    },
)  # fmt: skip
