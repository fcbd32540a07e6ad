"""ViT. Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929."""

from __future__ import annotations

from functools import partial

from ...model.config import ModelConfig
from .family import Family, Fields, Rule
from .pictures import (
    DEFAULTS,
    build_picture_model,
    picture_tensors,
    read_picture_encoder,
    write_picture_encoder,
    write_picture_parts,
)


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return picture_tensors(config, "vit.", ("cls_token",), ("classifier",))


FAMILY = Family(
    name="vit",
    architectures=("ViTForImageClassification", "ViTModel"),
    read_config=partial(read_picture_encoder, prefix=1),
    write_config=write_picture_encoder,
    write_parts=partial(write_picture_parts, family="ViT", prefix=1),
    tensors=tensors,
    build=partial(build_picture_model, prefix=1),
    prefix="vit.",
    ignored=(r"^(vit\.)?pooler\.",),  # of the bare model, which not every checkpoint has and no classifier reads
    defaults=DEFAULTS,
)
