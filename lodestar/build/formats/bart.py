"""BART. Lewis et al. 2020, https://arxiv.org/abs/1910.13461."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ...model.transformer import Transformer
from ..heads import EncoderDecoderClassifier
from .encoder_decoders import DEFAULTS, TIED, read_encoder_decoder, write_encoder_decoder
from .encoder_decoders import tensors as body
from .encoders import label_count, write_unnamed_labels
from .family import Family, Fields, Rule

WRITER, BARE, CLASSIFIER = "BartForConditionalGeneration", "BartModel", "BartForSequenceClassification"
"""The bare model, as facebook/bart-base is published, has logits from its tied embedding, without a bias."""
LABELS = 3
"""Where config.json names none."""


def _classifies(fields: Fields) -> bool:
    return fields.get("architectures") == [CLASSIFIER]


def build(config: ModelConfig, fields: Fields) -> nn.Module:
    if not _classifies(fields):
        return Transformer(config)
    return EncoderDecoderClassifier(
        config, label_count(fields, LABELS), start_token=fields["decoder_start_token_id"], end_token=fields["eos_token_id"]
    )


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    if not _classifies(fields):
        return body(config, fields)
    return [
        *(rule.inside("", "transformer.") for rule in body(config, fields)),
        Rule("classification_head.dense", "projection.dense"),
        Rule("classification_head.out_proj", "output"),
    ]


def read_config(fields: Fields) -> ModelConfig:
    return read_encoder_decoder(
        fields,
        position="learned",
        position_offset=2,  # the first two rows of the tables belong to fairseq's padding
        norm_place="post",
        embedding_norm=True,
        output_bias=(fields.get("architectures") or [WRITER]) == [WRITER],
    )


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {"architectures": [WRITER if config.output_bias else BARE], **write_encoder_decoder(config)}


def write_parts(module: nn.Module, fields: Fields) -> dict[str, Any] | None:
    if isinstance(module, Transformer):
        return {}
    if not isinstance(module, EncoderDecoderClassifier):
        return None
    ids = {"decoder_start_token_id": module.start_token, "eos_token_id": module.end_token}
    ids["pad_token_id"] = fields.get("pad_token_id", DEFAULTS["pad_token_id"])
    labels = module.output.out_features
    named = {} if label_count(fields, LABELS) == labels else write_unnamed_labels(labels)
    return {"architectures": [CLASSIFIER], **ids, **named}


FAMILY = Family(
    name="bart",
    architectures=(WRITER, BARE, CLASSIFIER),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    build=build,
    write_parts=write_parts,
    prefix="model.",
    tied=TIED,
    defaults={"vocab_size": 50265, "decoder_start_token_id": 2, "eos_token_id": 2, **DEFAULTS},
)
