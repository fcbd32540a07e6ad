"""RoBERTa and its multilingual sister XLM-R. Liu et al. 2019, https://arxiv.org/abs/1907.11692; Conneau et al. 2020,
https://arxiv.org/abs/1911.02116.

Positions count from the row after the padding token's. Rows of unequal lengths are padded on the right.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ..heads import Activation, HeadShape, MaskedLanguageModel, PooledEncoder
from .encoders import (
    DEFAULTS,
    OLD_NAMES,
    POOLED,
    architectures,
    build_classifier,
    encoder,
    head_of,
    read_encoder,
    write_bert_parts,
    write_encoder,
)
from .family import Family, Fields, Rule

ACTIVATION: Activation = "gelu"
"""Of the projection of masked tokens, whatever the layers have."""
NAMES = ("Roberta", "XLMRoberta")
HEADS = {
    "": (Rule("roberta.pooler.dense", "pooler.dense"),),
    "MaskedLM": (
        Rule("lm_head.dense", "projection.dense"),
        Rule("lm_head.layer_norm", "projection.norm"),
        Rule("lm_head.bias", "output_bias"),
    ),
    "SequenceClassification": (Rule("classifier.dense", "projection.dense"), Rule("classifier.out_proj", "output")),
    "TokenClassification": (Rule("classifier", "output"),),
    "QuestionAnswering": (Rule("qa_outputs", "output"),),
}


def build(config: ModelConfig, fields: Fields) -> nn.Module:
    match head_of(fields):
        case "":
            return PooledEncoder(config)
        case "MaskedLM":
            return MaskedLanguageModel(config, ACTIVATION)
        case _:
            return build_classifier(config, fields, POOLED, HeadShape())


def write_parts(module: nn.Module, fields: Fields) -> dict[str, Any] | None:
    return write_bert_parts(module, fields, NAMES, ACTIVATION)


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return encoder(config, "roberta.", HEADS[head_of(fields)])


def read_config(fields: Fields) -> ModelConfig:
    offset = fields["pad_token_id"] + 1
    return read_encoder(fields, position_offset=offset, context=fields["max_position_embeddings"] - offset)


def write_config(config: ModelConfig) -> dict[str, Any]:
    return {**write_encoder(config), "pad_token_id": config.position_offset - 1}


FAMILY = Family(
    name="roberta",
    architectures=architectures(*NAMES),
    model_types=("xlm-roberta",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    build=build,
    write_parts=write_parts,
    prefix="roberta.",
    renamed=OLD_NAMES,
    # The output matrix and bias, where a checkpoint holds those tied ones twice.
    ignored=(r"^lm_head\.decoder\.", r"^roberta\.pooler\."),
    defaults={"vocab_size": 50265, "pad_token_id": 1, **DEFAULTS},
)
