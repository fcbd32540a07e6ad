"""BERT. Devlin et al. 2019, https://arxiv.org/abs/1810.04805."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ..heads import HeadShape, MaskedLanguageModel, PooledEncoder
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

NAMES = ("Bert",)
HEADS = {
    "": (Rule("bert.pooler.dense", "pooler.dense"),),
    "MaskedLM": (
        Rule("cls.predictions.transform.dense", "projection.dense"),
        Rule("cls.predictions.transform.LayerNorm", "projection.norm"),
        Rule("cls.predictions.bias", "output_bias"),
    ),
    "SequenceClassification": (Rule("bert.pooler.dense", "projection.dense"), Rule("classifier", "output")),
    "TokenClassification": (Rule("classifier", "output"),),
    "QuestionAnswering": (Rule("qa_outputs", "output"),),
}


def build(config: ModelConfig, fields: Fields) -> nn.Module:
    match head_of(fields):
        case "":
            return PooledEncoder(config)
        case "MaskedLM":
            return MaskedLanguageModel(config, config.feed_forward)
        case _:
            return build_classifier(config, fields, POOLED, HeadShape())


def write_parts(module: nn.Module, fields: Fields) -> dict[str, Any] | None:
    # The projection of masked tokens has the activation of the layers.
    activation = module.config.feed_forward if isinstance(module, MaskedLanguageModel) else "gelu"
    return write_bert_parts(module, fields, NAMES, activation)


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return encoder(config, "bert.", HEADS[head_of(fields)])


FAMILY = Family(
    name="bert",
    architectures=(*architectures(*NAMES), "BertForPreTraining"),
    read_config=read_encoder,
    write_config=write_encoder,
    tensors=tensors,
    build=build,
    write_parts=write_parts,
    prefix="bert.",
    renamed=OLD_NAMES,
    # The pre-training's second task, and the output matrix and bias where a checkpoint holds those tied ones twice.
    ignored=(r"^cls\.seq_relationship\.", r"^cls\.predictions\.decoder\.", r"^bert\.pooler\."),
    defaults={"vocab_size": 30522, **DEFAULTS},
)
