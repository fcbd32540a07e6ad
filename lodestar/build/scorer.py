"""A language model that says which of two texts is the likelier: what shallow fusion asks (see `ctc.Scorer`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..contracts.errors import UserError
from ..contracts.tokenizer import Tokenizer
from ..model.transformer import Transformer
from .bundle import load_bundle
from .language import document_nats
from .opening import is_open


class TransformerScorer:
    """The log-probabilities of a decoder, by its own tokenizer."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> TransformerScorer:
        """A release of the task text-generation, or an open checkpoint of a decoder.

        Raises:
            UserError: there is none in the folder.
        """
        if is_open(folder):
            from .formats import load_model, load_tokenizer

            model, tokenizer = load_model(folder, device=device), load_tokenizer(folder)
        else:
            bundle = load_bundle(folder, lambda _, config: Transformer(config), device=device)
            model, tokenizer = bundle.model, bundle.tokenizer
        if not isinstance(model, Transformer) or model.config.architecture != "decoder":
            raise UserError("the folder holds no language model", where=folder, fix="name a release of the task text-generation")
        return cls(model.eval(), tokenizer)

    def log_probabilities(self, texts: Sequence[str], *, whole: bool) -> list[float]:
        """In nats: that a text begins with each of these; or, whole, that it is this one."""
        opening, end = self.tokenizer.opening, self.tokenizer.end_of_text
        documents = [[opening, *ids, *([end] if whole else [])] for ids in self.tokenizer.encode_batch(texts)]
        told = [place for place, document in enumerate(documents) if len(document) > 1]
        nats = [0.0] * len(documents)
        for place, one in zip(told, document_nats(self.model, [documents[place] for place in told]) if told else (), strict=True):
            nats[place] = -float(one)
        return nats
