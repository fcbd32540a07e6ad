"""Marian and the OPUS-MT translators. Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .encoder_decoders import DEFAULTS, TIED, read_encoder_decoder, tensors, write_encoder_decoder
from .family import Family, Fields
from .fields import only


def read_config(fields: Fields) -> ModelConfig:
    only(fields, share_encoder_decoder_embeddings=True, decoder_vocab_size=fields["vocab_size"])
    return read_encoder_decoder(fields, position="sinusoidal-halves", norm_place="post", output_bias=True)


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {**write_encoder_decoder(config), "decoder_vocab_size": config.vocabulary_size}


FAMILY = Family(
    name="marian",
    architectures=("MarianMTModel",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    tied=TIED,
    ignored=(r"^model\.(encoder|decoder)\.embed_positions\.weight$",),  # sinusoids, which follow from the config
    defaults={"vocab_size": 58101, **DEFAULTS},
)
