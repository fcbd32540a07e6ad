"""DeiT. Touvron et al. 2021, https://arxiv.org/abs/2012.12877."""

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
    teacher = (fields.get("architectures") or [""])[0].endswith("WithTeacher")
    outputs = ("cls_classifier", "distillation_classifier") if teacher else ("classifier",)
    return picture_tensors(config, "deit.", ("cls_token", "distillation_token"), outputs)


FAMILY = Family(
    name="deit",
    architectures=("DeiTForImageClassificationWithTeacher", "DeiTForImageClassification", "DeiTModel"),
    read_config=partial(read_picture_encoder, prefix=2),
    write_config=write_picture_encoder,
    write_parts=partial(write_picture_parts, family="DeiT", prefix=2),
    tensors=tensors,
    build=partial(build_picture_model, prefix=2),
    prefix="deit.",
    ignored=(r"^(deit\.)?pooler\.",),  # of the bare model, which not every checkpoint has and no classifier reads
    defaults=DEFAULTS,
)
