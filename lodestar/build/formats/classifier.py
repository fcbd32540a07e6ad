"""A classifier around an encoder that was read: where fine-tuning for one's own labels begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import nn

from ...contracts.errors import UserError
from ...contracts.task import device_of
from ...model.meta import without_storage
from ...model.transformer import Transformer
from ..heads import Projection, SequenceClassifier
from .encoders import write_labels
from .family import families
from .folder import origin_of

ENDING = "ForSequenceClassification"
TOKENS = "ForTokenClassification"
"""Encoders of text have it, and they alone."""


def classifier_of(model: nn.Module, labels: Sequence[str]) -> SequenceClassifier:
    """A classifier of texts with a new head of the family's own shape; `save_model` writes it as the family's classifier.

    The encoder is the model's own, not a copy. A projection of the same shape (BERT's pooler, ModernBERT's head) is taken along.

    Args:
        model: what `load_model` read: an encoder, bare or with any head.
        labels: their names, in the order of the logits.

    Raises:
        UserError: the model is of no family that has such a classifier.
    """
    origin = origin_of(model)
    encoders = {family.name: family for family in families() if any(name.endswith(TOKENS) for name in family.architectures)}
    if origin is None or origin.family not in encoders:
        raise UserError("no classifier of texts is built around this model", fix=f"load one of the families {', '.join(sorted(encoders))}")
    family = encoders[origin.family]
    names = [name for name in family.architectures if name.endswith(ENDING)]
    named = (origin.fields.get("architectures") or [""])[0]
    name = next((name for name in names if named.startswith(name.removesuffix(ENDING))), names[0])
    fields = {**origin.fields, "architectures": [name], **write_labels(labels)}
    encoder = model if isinstance(model, Transformer) else model.transformer
    assert isinstance(encoder, Transformer)
    with without_storage():  # no storage for a second encoder
        made = family.build(encoder.config, family.full(fields))
    assert isinstance(made, SequenceClassifier)
    made.transformer = encoder
    for part in (made.projection, made.output):
        part.to_empty(device=device_of(encoder)).to(encoder.dtype)
    made.initialise_head()
    for child in model.children():
        if isinstance(child, Projection) and isinstance(made.projection, Projection) and _alike(child, made.projection):
            made.projection.load_state_dict(child.state_dict())
    made.origin = dataclasses.replace(origin, fields=fields)  # type: ignore[assignment]
    return made.train(model.training)


def _alike(one: Projection, other: Projection) -> bool:
    return one.activation is other.activation and one.state_dict().keys() == other.state_dict().keys()
