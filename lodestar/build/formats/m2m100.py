"""M2M-100 and NLLB-200. Fan et al. 2020, https://arxiv.org/abs/2010.11125; NLLB team 2022, https://arxiv.org/abs/2207.04672.

Positions count from the row after the padding token's. Rows of unequal lengths are padded on the right.
"""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .encoder_decoders import DEFAULTS, TIED, read_encoder_decoder, tensors, write_encoder_decoder
from .family import Family, Fields


def read_config(fields: Fields) -> ModelConfig:
    return read_encoder_decoder(fields, position="sinusoidal-fairseq", position_offset=fields["pad_token_id"] + 1)


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {**write_encoder_decoder(config), "pad_token_id": config.position_offset - 1}


FAMILY = Family(
    name="m2m_100",
    architectures=("M2M100ForConditionalGeneration",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    tied=TIED,
    ignored=(r"^model\.(encoder|decoder)\.embed_positions\.weights?$",),  # sinusoids, which follow from the config
    defaults={**DEFAULTS, "vocab_size": 128112, "activation_function": "relu", "scale_embedding": True},
)
