"""Marian and the OPUS-MT translators. Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .encoder_decoders import DEFAULTS, TIED, read_encoder_decoder, write_encoder_decoder
from .encoder_decoders import tensors as body
from .family import Family, Fields, Rule
from .fields import only


def read_config(fields: Fields) -> ModelConfig:
    sizes = {}
    if fields.get("share_encoder_decoder_embeddings", True):
        only(fields, decoder_vocab_size=fields["vocab_size"])
    else:
        sizes = {
            "vocabulary_size": fields.get("decoder_vocab_size") or fields["vocab_size"],
            "source_vocabulary_size": fields["vocab_size"],
        }
    return read_encoder_decoder(fields, position="sinusoidal-halves", norm_place="post", output_bias=True, **sizes)


def write_config(config: ModelConfig) -> dict[str, Any]:
    written = {**write_encoder_decoder(config), "decoder_vocab_size": config.vocabulary_size}
    if config.source_vocabulary_size is not None:
        written |= {"vocab_size": config.source_vocabulary_size, "share_encoder_decoder_embeddings": False}
    return written


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    rules = body(config, fields)
    if config.source_vocabulary_size is None:
        return rules
    apart = [Rule("model.encoder.embed_tokens", "source_embedding"), Rule("model.decoder.embed_tokens", "embedding")]
    return [*apart, *(rule for rule in rules if rule.ours != "embedding")]


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
