"""mBART and mBART-50. Liu et al. 2020, https://arxiv.org/abs/2001.08210; Tang et al. 2020, https://arxiv.org/abs/2008.00401."""

from __future__ import annotations

from ...model.config import ModelConfig
from .encoder_decoders import DEFAULTS, TIED, read_encoder_decoder, tensors, write_encoder_decoder
from .family import Family, Fields


def read_config(fields: Fields) -> ModelConfig:
    return read_encoder_decoder(fields, position="learned", position_offset=2, embedding_norm=True, output_bias=True)


FAMILY = Family(
    name="mbart",
    architectures=("MBartForConditionalGeneration",),
    read_config=read_config,
    write_config=write_encoder_decoder,
    tensors=tensors,
    tied=TIED,
    defaults={"vocab_size": 50265, **DEFAULTS},
)
