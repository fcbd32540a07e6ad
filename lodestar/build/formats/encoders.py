"""What BERT, RoBERTa and ModernBERT share: the heads that `architectures` names, and the layers' names of the first two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ...model.config import ModelConfig
from ..heads import Activation, HeadShape, MaskedLanguageModel, PooledEncoder, SequenceClassifier, SpanClassifier, TokenClassifier
from .family import Fields, Rule, inside, layers
from .fields import from_activation, only, to_activation

HEADS = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering")
"""What may follow `For` in the name of an architecture; the bare model ends in `Model`."""
POOLED = HeadShape("first", "tanh")
"""How BERT and RoBERTa classify a text: by its first token."""

LAYER = (
    Rule("attention.self.query", "attention.query"),
    Rule("attention.self.key", "attention.key"),
    Rule("attention.self.value", "attention.value"),
    Rule("attention.output.dense", "attention.output"),
    Rule("attention.output.LayerNorm", "attention_norm"),
    Rule("intermediate.dense", "feed_forward.up"),
    Rule("output.dense", "feed_forward.down"),
    Rule("output.LayerNorm", "feed_forward_norm"),
)
OLD_NAMES = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))
"""Of norms, in checkpoints that come from TensorFlow."""
DEFAULTS: Fields = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
    "max_position_embeddings": 512, "layer_norm_eps": 1e-12, "type_vocab_size": 2, "hidden_dropout_prob": 0.1, "initializer_range": 0.02,
}  # fmt: skip


def architectures(*names: str) -> tuple[str, ...]:
    """The architectures of the families whose names begin so: `BertModel`, `BertForMaskedLM` and so on."""
    return tuple(f"{name}{ending}" for name in names for ending in ("Model", *(f"For{head}" for head in HEADS)))


def head_of(fields: Fields) -> str:
    """The one of `HEADS` that config.json names; "" for the bare model."""
    named = (fields.get("architectures") or [""])[0]
    # Pre-training is masked tokens and a second task that our model does without.
    return "MaskedLM" if named.endswith("ForPreTraining") else next((head for head in HEADS if named.endswith(f"For{head}")), "")


def label_count(fields: Fields, otherwise: int = 2) -> int:
    """How many labels a classifier has; `otherwise` is the family's number where config.json names none."""
    return len(fields.get("id2label") or ()) or int(fields.get("num_labels") or otherwise)


def build_classifier(config: ModelConfig, fields: Fields, sequence: HeadShape, token: HeadShape) -> nn.Module:
    """The classifier of a sequence, of each token, or of an answer's start and end."""
    match head_of(fields):
        case "SequenceClassification":
            return SequenceClassifier(config, label_count(fields), sequence)
        case "QuestionAnswering":
            return SpanClassifier(config, token)
    return TokenClassifier(config, label_count(fields), token)


def write_head(module: nn.Module, fields: Fields, *names: str) -> dict[str, Any]:
    """`architectures` and the labels of a module, where `fields`, which it was read with, do not say the same.

    Args:
        names: what the family's architectures begin with; the first one where the fields have none.
    """
    head = "MaskedLM" if isinstance(module, MaskedLanguageModel) else ""
    if isinstance(module, SequenceClassifier):
        head = "SequenceClassification"
    if isinstance(module, TokenClassifier):
        head = "QuestionAnswering" if isinstance(module, SpanClassifier) else "TokenClassification"
    named = (fields.get("architectures") or [""])[0]
    name = next((name for name in names if named.startswith(name)), names[0])
    written: dict[str, Any] = {"architectures": [f"{name}For{head}" if head else f"{name}Model"]}
    if isinstance(module, SequenceClassifier | TokenClassifier) and label_count(fields) != module.output.out_features:
        written |= write_unnamed_labels(module.output.out_features)
    return written


def write_labels(labels: Sequence[str]) -> dict[str, Any]:
    """A classifier's labels, in the order of its logits, as config.json has them."""
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def write_unnamed_labels(count: int) -> dict[str, Any]:
    """As `write_labels`, by the names that transformers gives where nobody gave any."""
    return write_labels([f"LABEL_{number}" for number in range(count)])


def write_bert_parts(module: nn.Module, fields: Fields, names: tuple[str, ...], activation: Activation) -> dict[str, Any] | None:
    """What of config.json follows from a module around BERT or RoBERTa; None where neither has such a head.

    Args:
        activation: of the projection before the masked tokens' logits.
    """
    match module:
        case PooledEncoder():
            has = True
        case MaskedLanguageModel():
            has = module.shape == HeadShape(activation=activation, norm=True) and module.output_bias is not None
        case SequenceClassifier():
            has = module.shape == POOLED
        case TokenClassifier():
            has = module.shape.activation is None
        case _:
            has = False
    return write_head(module, fields, *names) if has else None


def encoder(config: ModelConfig, theirs: str, head: Sequence[Rule]) -> list[Rule]:
    """The table of BERT and RoBERTa with a head; `theirs` stands before the encoder's names."""
    body = [
        Rule("embeddings.word_embeddings", "embedding"),
        Rule("embeddings.position_embeddings", "encoder.learned"),
        Rule("embeddings.token_type_embeddings", "token_types"),
        Rule("embeddings.LayerNorm", "encoder.embedding_norm"),
        *layers("encoder.layer", "encoder.blocks", config.depth, LAYER),
    ]
    return [*inside(theirs, "transformer.", body), *head]


def read_encoder(fields: Fields, **choices: Any) -> ModelConfig:
    """The config of BERT and RoBERTa; `choices` are what is the family's own."""
    only(fields, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute", tie_word_embeddings=True)
    return ModelConfig(
        **{
            "vocabulary_size": fields["vocab_size"],
            "width": fields["hidden_size"],
            "depth": fields["num_hidden_layers"],
            "heads": fields["num_attention_heads"],
            "context": fields["max_position_embeddings"],
            "architecture": "encoder",
            "position": "learned",
            "norm": "layer",
            "norm_place": "post",
            "norm_epsilon": fields["layer_norm_eps"],
            "embedding_norm": True,
            "feed_forward": from_activation(fields["hidden_act"]),
            "feed_forward_width": fields["intermediate_size"],
            "bias": True,
            "token_types": fields["type_vocab_size"],
            "initial_std": fields["initializer_range"],
            "dropout": fields["hidden_dropout_prob"],
            **choices,
        }
    )


def write_encoder(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `read_encoder`."""
    return {
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.position_offset + config.context,
        "layer_norm_eps": config.norm_epsilon,
        "hidden_act": to_activation(config.feed_forward),
        "intermediate_size": config.hidden_width,
        "type_vocab_size": config.token_types,
        "initializer_range": config.initial_std,
        "hidden_dropout_prob": config.dropout,
    }
