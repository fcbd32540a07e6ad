"""What wav2vec 2.0 and HuBERT share, which is all but their names: the table and the fields of config.json."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ..stems import WaveShape
from ..towers import CTCRecognizer, SoundEncoder
from .family import Fields, Rule, inside, layers
from .fields import from_activation, only, to_activation

LAYER = (
    Rule("attention.q_proj", "attention.query"),
    Rule("attention.k_proj", "attention.key"),
    Rule("attention.v_proj", "attention.value"),
    Rule("attention.out_proj", "attention.output"),
    Rule("layer_norm", "attention_norm"),
    Rule("feed_forward.intermediate_dense", "feed_forward.up"),
    Rule("feed_forward.output_dense", "feed_forward.down"),
    Rule("final_layer_norm", "feed_forward_norm"),
)
LONGEST = 1 << 16
"""Frames. The formats have no limit, for nothing in the model does; these are 22 minutes at 50 a second."""
RENAMED = (
    (r"\.pos_conv_embed\.conv\.weight_g$", ".pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"\.pos_conv_embed\.conv\.weight_v$", ".pos_conv_embed.conv.parametrizations.weight.original1"),
)
"""How torch called the weight's two parts before its version 2.0."""
IGNORED = (r"(^|\.)masked_spec_embed$",)
"""What stands in for masked frames in pre-training, which not every checkpoint has and no answer reads."""
DEFAULTS: Fields = {
    "vocab_size": 32, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "hidden_dropout": 0.1, "initializer_range": 0.02, "layer_norm_eps": 1e-5, "feat_extract_norm": "group",
    "feat_extract_activation": "gelu", "feat_proj_layer_norm": True, "conv_dim": (512,) * 7, "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2), "conv_bias": False, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
}  # fmt: skip


def read_sound_encoder(fields: Fields) -> ModelConfig:
    """The config of wav2vec 2.0 and HuBERT."""
    read_shape(fields)  # what is wrong in the front end's fields is told here, where the file's name is known
    only(fields, add_adapter=False, adapter_attn_dim=None, conv_pos_batch_norm=False, use_weighted_layer_sum=False)
    stable = fields["do_stable_layer_norm"]
    return ModelConfig(
        vocabulary_size=0,
        width=fields["hidden_size"],
        depth=fields["num_hidden_layers"],
        heads=fields["num_attention_heads"],
        context=LONGEST,
        architecture="encoder",
        position="none",
        norm="layer",
        norm_place="pre" if stable else "post",
        norm_epsilon=fields["layer_norm_eps"],
        embedding_norm=not stable,
        feed_forward=from_activation(fields["hidden_act"]),
        feed_forward_width=fields["intermediate_size"],
        bias=True,
        dropout=fields["hidden_dropout"],
        initial_std=fields["initializer_range"],
    )


def write_sound_encoder(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `read_sound_encoder`, but for the front end's shape."""
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden_width,
        "hidden_act": to_activation(config.feed_forward),
        "layer_norm_eps": config.norm_epsilon,
        "do_stable_layer_norm": config.norm_place == "pre",
        "hidden_dropout": config.dropout,
        "initializer_range": config.initial_std,
    }


def read_shape(fields: Fields) -> WaveShape:
    """How samples become embeddings."""
    return WaveShape(
        channels=tuple(fields["conv_dim"]),
        kernels=tuple(fields["conv_kernel"]),
        strides=tuple(fields["conv_stride"]),
        norm=fields["feat_extract_norm"],
        bias=fields["conv_bias"],
        activation=from_activation(fields["feat_extract_activation"]),
        projection_norm=fields["feat_proj_layer_norm"],
        position_kernel=fields["num_conv_pos_embeddings"],
        position_groups=fields["num_conv_pos_embedding_groups"],
        norm_epsilon=fields["layer_norm_eps"],
    )


def build_sound_model(config: ModelConfig, fields: Fields) -> nn.Module:
    """The bare encoder, or the recogniser that `architectures` names."""
    shape = read_shape(fields)
    if _is_recognizer(fields):
        return CTCRecognizer(config, shape, fields["vocab_size"])
    return SoundEncoder(config, shape)


def write_sound_parts(module: nn.Module, fields: Fields, family: str, *, bare_projection: bool) -> dict[str, Any] | None:
    """What of config.json a sound model says; the architecture is `family`'s.

    Args:
        bare_projection: whether the family may do without the projection's norm.
    """
    if not isinstance(module, SoundEncoder):
        return None
    shape = module.stem.shape
    if not (shape.projection_norm or bare_projection) or shape.norm_epsilon != module.config.norm_epsilon:
        return None
    recognizer = isinstance(module, CTCRecognizer)
    return {
        "architectures": [f"{family}ForCTC" if recognizer else f"{family}Model"],
        **({"vocab_size": module.output.out_features} if isinstance(module, CTCRecognizer) else {}),
        **({"feat_proj_layer_norm": shape.projection_norm} if bare_projection else {}),
        "conv_dim": list(shape.channels),
        "conv_kernel": list(shape.kernels),
        "conv_stride": list(shape.strides),
        "feat_extract_norm": shape.norm,
        "conv_bias": shape.bias,
        "feat_extract_activation": to_activation(from_activation(shape.activation)),
        "num_conv_pos_embeddings": shape.position_kernel,
        "num_conv_pos_embedding_groups": shape.position_groups,
    }


def sound_tensors(config: ModelConfig, fields: Fields, theirs: str) -> list[Rule]:
    """The table; `theirs` stands before the encoder's names."""
    convolutions = (Rule("conv", "convolution"), Rule("layer_norm", "norm"))
    positions = "encoder.pos_conv_embed.conv"
    body = [
        *layers("feature_extractor.conv_layers", "stem.layers", len(fields["conv_dim"]), convolutions),
        Rule("feature_projection.layer_norm", "stem.projection_norm"),
        Rule("feature_projection.projection", "stem.projection"),
        Rule(f"{positions}.parametrizations.weight.original0", "stem.positions.magnitude"),
        Rule(f"{positions}.parametrizations.weight.original1", "stem.positions.direction"),
        Rule(f"{positions}.bias", "stem.positions.bias"),
        Rule("encoder.layer_norm", "transformer.encoder.norm" if config.norm_place == "pre" else "transformer.encoder.embedding_norm"),
        *layers("encoder.layers", "transformer.encoder.blocks", config.depth, LAYER),
    ]
    return [*inside(theirs, "", body), *([Rule("lm_head", "output")] if _is_recognizer(fields) else [])]


def _is_recognizer(fields: Fields) -> bool:
    return bool(fields.get("architectures")) and fields["architectures"][0].endswith("ForCTC")
