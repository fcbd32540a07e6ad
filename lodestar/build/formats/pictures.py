"""What ViT, DeiT and CLIP's tower of pictures share: the fields of config.json, and the table of the first two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...model.config import ModelConfig
from ..stems import PatchShape
from ..towers import PictureClassifier, PictureEncoder
from .encoders import label_count, write_unnamed_labels
from .family import Fields, Rule, Tensors, Transform, inside, layers
from .fields import from_activation, only, to_activation


def _joined(theirs: Tensors, like: Tensors) -> Tensors:
    return [torch.cat([tensor[0] for tensor in theirs])]


def _parted(ours: Tensors) -> Tensors:
    return [row[None, None] for row in ours[0]]


BATCH_OF_ONE = Transform(lambda theirs, like: [theirs[0][0]], lambda ours: [ours[0][None]])
"""(1, T, W) ↔ (T, W)."""
JOINED = Transform(_joined, _parted)
"""Several of (1, 1, W) ↔ one of (P, W)."""

LAYER = (
    Rule("layernorm_before", "attention_norm"),
    Rule("attention.attention.query", "attention.query"),
    Rule("attention.attention.key", "attention.key"),
    Rule("attention.attention.value", "attention.value"),
    Rule("attention.output.dense", "attention.output"),
    Rule("layernorm_after", "feed_forward_norm"),
    Rule("intermediate.dense", "feed_forward.up"),
    Rule("output.dense", "feed_forward.down"),
)
DEFAULTS: Fields = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "qkv_bias": True, "image_size": 224, "patch_size": 16, "num_channels": 3, "hidden_dropout_prob": 0.0,
    "initializer_range": 0.02,
}  # fmt: skip


def read_shape(fields: Fields, *, prefix: int, bias: bool = True) -> PatchShape:
    """How pictures are cut."""
    return PatchShape(*_pair(fields["image_size"]), *_pair(fields["patch_size"]), fields["num_channels"], prefix, bias)


def write_shape(shape: PatchShape) -> dict[str, Any]:
    """The inverse of `read_shape`."""
    return {
        "image_size": _size(shape.height, shape.width),
        "patch_size": _size(shape.patch_height, shape.patch_width),
        "num_channels": shape.channels,
    }


def read_picture_encoder(fields: Fields, *, prefix: int) -> ModelConfig:
    """The config of ViT and DeiT, which have so many tokens before the patches."""
    only(fields, tie_word_embeddings=True)
    biased = None if fields["qkv_bias"] else ("output", "feed_forward", "norm")
    return ModelConfig(
        vocabulary_size=0,
        width=fields["hidden_size"],
        depth=fields["num_hidden_layers"],
        heads=fields["num_attention_heads"],
        context=read_shape(fields, prefix=prefix).tokens,
        architecture="encoder",
        position="learned",
        norm="layer",
        norm_epsilon=fields["layer_norm_eps"],
        feed_forward=from_activation(fields["hidden_act"]),
        feed_forward_width=fields["intermediate_size"],
        bias=True,
        biased=biased,
        dropout=fields["hidden_dropout_prob"],
        initial_std=fields["initializer_range"],
    )


def write_picture_encoder(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `read_picture_encoder`, but for the pictures' shape."""
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden_width,
        "hidden_act": to_activation(config.feed_forward),
        "layer_norm_eps": config.norm_epsilon,
        "qkv_bias": config.has_bias("query"),
        "hidden_dropout_prob": config.dropout,
        "initializer_range": config.initial_std,
    }


def build_picture_model(config: ModelConfig, fields: Fields, *, prefix: int) -> nn.Module:
    """The bare encoder, or the classifier that `architectures` names."""
    shape = read_shape(fields, prefix=prefix)
    named = (fields.get("architectures") or [""])[0]
    if "ForImageClassification" not in named:
        return PictureEncoder(config, shape)
    return PictureClassifier(config, shape, label_count(fields), ensemble=named.endswith("WithTeacher"))


def write_picture_parts(module: nn.Module, fields: Fields, family: str, *, prefix: int) -> dict[str, Any] | None:
    """What of config.json a picture model says, where it has as many tokens before the patches; the architecture is `family`'s."""
    if not isinstance(module, PictureEncoder) or module.stem.shape.prefix != prefix or not module.stem.shape.bias:
        return None
    written = write_shape(module.stem.shape)
    if not isinstance(module, PictureClassifier):
        return {"architectures": [f"{family}Model"], **written}
    teacher = "WithTeacher" if len(module.outputs) > 1 else ""
    written["architectures"] = [f"{family}ForImageClassification{teacher}"]
    if not fields or label_count(fields) != module.labels:
        written |= write_unnamed_labels(module.labels)
    return written


def picture_tensors(config: ModelConfig, theirs: str, tokens: tuple[str, ...], outputs: tuple[str, ...]) -> list[Rule]:
    """The table of ViT and DeiT.

    Args:
        theirs: before the encoder's names.
        tokens: the names of those before the patches.
        outputs: the names of the heads.
    """
    body = [
        Rule(tuple(f"embeddings.{name}" for name in tokens), "stem.prefix", JOINED),
        Rule("embeddings.patch_embeddings.projection", "stem.projection"),
        Rule("embeddings.position_embeddings", "transformer.encoder.learned.weight", BATCH_OF_ONE),
        *layers("encoder.layer", "transformer.encoder.blocks", config.depth, LAYER),
        Rule("layernorm", "transformer.encoder.norm"),
    ]
    return [*inside(theirs, "", body), *(Rule(name, f"outputs.{place}") for place, name in enumerate(outputs))]


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width, for both of which config.json may give one number."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _size(height: int, width: int) -> int | list[int]:
    return height if height == width else [height, width]
