"""Whisper. Radford et al. 2022, https://arxiv.org/abs/2212.04356."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ..towers import SpeechWriter
from .encoder_decoders import DECODER_LAYER, ENCODER_LAYER, read_encoder_decoder, write_encoder_decoder
from .family import Family, Fields, Rule, layers
from .fields import only

BIASED = ("query", "value", "output", "feed_forward", "norm")
"""A bias of the keys would add the same number to all scores of a query."""


def read_config(fields: Fields) -> ModelConfig:
    only(fields, scale_embedding=False, use_weighted_layer_sum=False)
    # The encoder's positions are sinusoids, which checkpoints hold as a table.
    return read_encoder_decoder(
        {**fields, "max_position_embeddings": fields["max_target_positions"]},
        source_context=fields["max_source_positions"],
        position="learned",
        biased=BIASED,
        tied_embeddings=fields["tie_word_embeddings"],  # whose encoder reads no tokens
    )


def write_config(config: ModelConfig) -> dict[str, Any]:
    written = write_encoder_decoder(config)
    context = written.pop("max_position_embeddings")
    return {**written, "max_target_positions": context, "max_source_positions": config.source_context or context}


def write_parts(module: nn.Module, fields: Fields) -> dict[str, Any] | None:
    return {"num_mel_bins": module.stem.bands} if isinstance(module, SpeechWriter) else None


def build(config: ModelConfig, fields: Fields) -> nn.Module:
    return SpeechWriter(config, fields["num_mel_bins"])


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    transformer = [
        Rule("decoder.embed_tokens", "embedding"),
        Rule("encoder.embed_positions", "encoder.learned"),
        Rule("decoder.embed_positions", "decoder.learned"),
        *layers("encoder.layers", "encoder.blocks", config.encoder_layers, ENCODER_LAYER),
        *layers("decoder.layers", "decoder.blocks", config.decoder_layers, DECODER_LAYER),
        Rule("encoder.layer_norm", "encoder.norm"),
        Rule("decoder.layer_norm", "decoder.norm"),
    ]
    return [
        Rule("model.encoder.conv1", "stem.first"),
        Rule("model.encoder.conv2", "stem.second"),
        *(rule.inside("model.", "transformer.") for rule in transformer),
        Rule("proj_out", "transformer.output"),
    ]


FAMILY = Family(
    name="whisper",
    architectures=("WhisperForConditionalGeneration", "WhisperModel"),
    read_config=read_config,
    write_config=write_config,
    write_parts=write_parts,
    tensors=tensors,
    build=build,
    prefix="model.",
    tied={"proj_out.weight": "model.decoder.embed_tokens.weight"},
    defaults={
        "vocab_size": 51865, "num_mel_bins": 80, "encoder_layers": 4, "encoder_attention_heads": 6, "decoder_layers": 4,
        "decoder_attention_heads": 6, "decoder_ffn_dim": 1536, "encoder_ffn_dim": 1536, "d_model": 384, "activation_function": "gelu",
        "max_source_positions": 1500, "max_target_positions": 448, "scale_embedding": False, "tie_word_embeddings": True, "dropout": 0.0,
        "init_std": 0.02,
    },
)  # fmt: skip
