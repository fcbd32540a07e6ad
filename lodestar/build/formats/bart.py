"""BART. Lewis et al. 2020, https://arxiv.org/abs/1910.13461."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .encoder_decoders import DEFAULTS, TIED, read_encoder_decoder, tensors, write_encoder_decoder
from .family import Family, Fields

BARE = "BartModel"
"""As facebook/bart-base is published: its logits, from the tied embedding, have no bias."""


def read_config(fields: Fields) -> ModelConfig:
    # Two rows of the position tables belong to fairseq's padding.
    return read_encoder_decoder(
        fields,
        position="learned",
        position_offset=2,
        norm_place="post",
        embedding_norm=True,
        output_bias=fields.get("architectures") != [BARE],
    )


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {"architectures": ["BartForConditionalGeneration" if config.output_bias else BARE], **write_encoder_decoder(config)}


FAMILY = Family(
    name="bart",
    architectures=("BartForConditionalGeneration", BARE),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={"vocab_size": 50265, **DEFAULTS},
)
