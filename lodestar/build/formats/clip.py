"""CLIP. Radford et al. 2021, https://arxiv.org/abs/2103.00020."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ..towers import PicturesAndTexts
from .family import Family, Fields, Rule, Transform, inside, layers
from .fields import from_activation, only, to_activation
from .pictures import read_shape, write_shape

ROW = Transform(lambda theirs, like: [theirs[0][None]], lambda ours: [ours[0][0]])
"""(W) ↔ (1, W)."""
LAYER = (
    Rule("layer_norm1", "attention_norm"),
    Rule("self_attn.q_proj", "attention.query"),
    Rule("self_attn.k_proj", "attention.key"),
    Rule("self_attn.v_proj", "attention.value"),
    Rule("self_attn.out_proj", "attention.output"),
    Rule("layer_norm2", "feed_forward_norm"),
    Rule("mlp.fc1", "feed_forward.up"),
    Rule("mlp.fc2", "feed_forward.down"),
)
TOWER: Fields = {
    "num_hidden_layers": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "initializer_range": 0.02,
}  # fmt: skip
TEXT: Fields = {
    **TOWER, "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "max_position_embeddings": 77,
    "eos_token_id": 49407,
}  # fmt: skip
VISION: Fields = {
    **TOWER, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_channels": 3, "image_size": 224,
    "patch_size": 32,
}  # fmt: skip
WRONG_END = 2
"""What config.json says of the first checkpoints, whose texts end with another token: the one with the largest id."""


def _tower(fields: Fields, part: str) -> dict[str, Any]:
    """One tower's fields, whole; in the first checkpoints a second entry beside it has what differs from the defaults."""
    defaults = TEXT if part == "text_config" else VISION
    return {**defaults, **(fields.get(part) or {}), **(fields.get(f"{part}_dict") or {})}


def _read_tower(fields: Fields, **choices: Any) -> ModelConfig:
    return ModelConfig(
        **{
            "width": fields["hidden_size"],
            "depth": fields["num_hidden_layers"],
            "heads": fields["num_attention_heads"],
            "position": "learned",
            "norm": "layer",
            "norm_epsilon": fields["layer_norm_eps"],
            "feed_forward": from_activation(fields["hidden_act"]),
            "feed_forward_width": fields["intermediate_size"],
            "bias": True,
            "initial_std": fields["initializer_range"],
            **choices,
        }
    )


def _write_tower(config: ModelConfig) -> dict[str, Any]:
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "layer_norm_eps": config.norm_epsilon,
        "hidden_act": to_activation(config.feed_forward),
        "intermediate_size": config.hidden_width,
        "initializer_range": config.initial_std,
    }


def read_config(fields: Fields) -> ModelConfig:
    """Of the texts' tower."""
    only(fields, tie_word_embeddings=True)
    read_picture_config(fields)  # what is wrong in the other tower's fields is told here, where the file's name is known
    text = _tower(fields, "text_config")
    return _read_tower(text, vocabulary_size=text["vocab_size"], context=text["max_position_embeddings"])


def read_picture_config(fields: Fields) -> ModelConfig:
    """Of the pictures' tower."""
    vision = _tower(fields, "vision_config")
    tokens = read_shape(vision, prefix=1, bias=False).tokens
    return _read_tower(vision, vocabulary_size=0, context=tokens, architecture="encoder", embedding_norm=True)


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {
        "text_config": {
            "model_type": "clip_text_model",
            **_write_tower(config),
            "vocab_size": config.vocabulary_size,
            "max_position_embeddings": config.context,
        }
    }


def write_parts(module: nn.Module, fields: Fields) -> dict[str, Any] | None:
    """A tower's fields as a whole where one of them differs, for what the module adds to `write_config` stands among the texts'."""
    if not isinstance(module, PicturesAndTexts):
        return None
    end = WRONG_END if module.end_id is None else module.end_id
    text = {**write_config(module.config)["text_config"], "eos_token_id": end}
    vision = {"model_type": "clip_vision_model", **_write_tower(module.pictures.config), **write_shape(module.pictures.stem.shape)}
    return {
        "projection_dim": module.text_projection.out_features,
        **_changes(fields, "text_config", text),
        **_changes(fields, "vision_config", vision),
    }


def _changes(fields: Fields, part: str, written: dict[str, Any]) -> dict[str, Any]:
    found = _tower(fields, part)
    changed = {**found, **written}
    return {} if changed == found else {part: changed, f"{part}_dict": None}


def build(config: ModelConfig, fields: Fields) -> nn.Module:
    shape = read_shape(_tower(fields, "vision_config"), prefix=1, bias=False)
    end = _tower(fields, "text_config")["eos_token_id"]
    end_id = None if end == WRONG_END else end
    return PicturesAndTexts(config, read_picture_config(fields), shape, fields["projection_dim"], end_id=end_id)


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    text = [
        Rule("embeddings.token_embedding", "embedding"),
        Rule("embeddings.position_embedding", "decoder.learned"),
        *layers("encoder.layers", "decoder.blocks", config.depth, LAYER),
        Rule("final_layer_norm", "decoder.norm"),
    ]
    depth = read_picture_config(fields).depth
    pictures = [
        Rule("embeddings.class_embedding", "stem.prefix", ROW),
        Rule("embeddings.patch_embedding", "stem.projection"),
        Rule("embeddings.position_embedding", "transformer.encoder.learned"),
        Rule("pre_layrnorm", "transformer.encoder.embedding_norm"),
        *layers("encoder.layers", "transformer.encoder.blocks", depth, LAYER),
        Rule("post_layernorm", "transformer.encoder.norm"),
    ]
    return [
        *inside("text_model.", "transformer.", text),
        *inside("vision_model.", "pictures.", pictures),
        Rule("text_projection", "text_projection"),
        Rule("visual_projection", "picture_projection"),
        Rule("logit_scale", "logit_scale"),
    ]


FAMILY = Family(
    name="clip",
    architectures=("CLIPModel",),
    read_config=read_config,
    write_config=write_config,
    write_parts=write_parts,
    tensors=tensors,
    build=build,
    defaults={"projection_dim": 512},
)
