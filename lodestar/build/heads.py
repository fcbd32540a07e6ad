"""Heads: a class for a text, a class for each token, an answer's ends, the token behind a mask, one vector for a text.

Axes: B batch, T tokens, W model width, C classes, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..model.blocks import ACTIVATIONS, Dropout
from ..model.config import FeedForward, ModelConfig
from ..model.linear import Linear, linear
from ..model.norms import make_norm
from ..model.transformer import Transformer

Pooling = Literal["mean", "first"]
Activation = FeedForward | Literal["tanh"]


@dataclass(frozen=True)
class HeadShape:
    """What stands between the encoder's states and the last linear layer; as it is, nothing but the mean."""

    pooling: Pooling = "mean"
    """One vector for a text: the mean of the states of its real tokens, or the state of its first token (BERT's [CLS])."""
    activation: Activation | None = None
    """Of a layer as wide as the model before the last one; no such layer where None."""
    dense_bias: bool = True
    """A bias in that layer."""
    norm: bool = False
    """A norm of the config's kind after it."""


class Projection(nn.Module):
    """norm(activation(dense(x))), as wide as the model."""

    def __init__(self, config: ModelConfig, activation: Activation, *, bias: bool = True, norm: bool = False) -> None:
        super().__init__()
        self.config = config
        self.dense = Linear(config.width, config.width, bias=bias)
        self.activation = torch.tanh if activation == "tanh" else ACTIVATIONS[activation]
        self.norm = make_norm(config) if norm else nn.Identity()
        self.initialise()

    def initialise(self) -> None:
        """Begin anew: normal weights, no bias, a norm that changes nothing."""
        _initialise(self.dense, self.config)
        if isinstance(self.norm, nn.LayerNorm | nn.RMSNorm):
            self.norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """(…, W) → (…, W)."""
        return self.norm(self.activation(self.dense(x)))


class _Classifier(nn.Module):
    """The Transformer, the projection of the head's shape, and a linear layer to the labels."""

    def __init__(self, config: ModelConfig, labels: int, shape: HeadShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.transformer = Transformer(config)
        self.projection = (
            Projection(config, shape.activation, bias=shape.dense_bias, norm=shape.norm) if shape.activation else nn.Identity()
        )
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(config.width, labels)
        self.initialise_head()

    def initialise_head(self) -> None:
        """Begin anew with all but the encoder."""
        if isinstance(self.projection, Projection):
            self.projection.initialise()
        _initialise(self.output, self.config)

    def _decide(self, x: Tensor) -> Tensor:
        """(…, W) → (…, C)."""
        return self.output(self.dropout(self.projection(x)))


class SequenceClassifier(_Classifier):
    """One of `labels` for a sequence: its states pooled, and a linear layer; what stands between them is the `shape`."""

    def __init__(self, config: ModelConfig, labels: int, shape: HeadShape | None = None) -> None:
        super().__init__(config, labels, shape or HeadShape())

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None, token_types: Tensor | None = None) -> Tensor:
        """Logits (B, C).

        Args:
            tokens: ids (B, T).
            attention_mask: (B, T), True on real tokens, of which each row has at least one; all of them where None.
            token_types: (B, T), where the config has them.
        """
        hidden_BTW = self.transformer.hidden(tokens, attention_mask=attention_mask, token_types=token_types)
        return self.decide(hidden_BTW, tokens, attention_mask)

    def decide(self, hidden_BTW: Tensor, tokens_BT: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, C) from the encoder's states and the tokens that they are of, which a classifier may look at once more."""
        return self.classify(hidden_BTW, attention_mask)

    def classify(self, hidden_BTW: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, C) from the encoder's states."""
        return self._decide(self.pooled(hidden_BTW, attention_mask))

    def pooled(self, hidden_BTW: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The one vector of each row, (B, W), by the shape's pooling."""
        if self.shape.pooling == "first":
            return hidden_BTW[:, 0]
        if attention_mask is None:
            return hidden_BTW.mean(1)
        weights_BT1 = attention_mask[..., None].to(hidden_BTW.dtype)
        return (hidden_BTW * weights_BT1).sum(1) / weights_BT1.sum(1)


class TokenClassifier(_Classifier):
    """One of `labels` for each token: names in a text."""

    def __init__(self, config: ModelConfig, labels: int, shape: HeadShape | None = None) -> None:
        super().__init__(config, labels, shape or HeadShape())

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None, token_types: Tensor | None = None) -> Tensor:
        """Logits (B, T, C); those of padding mean nothing. The arguments are those of `SequenceClassifier`."""
        return self._decide(self.transformer.hidden(tokens, attention_mask=attention_mask, token_types=token_types))


class SpanClassifier(TokenClassifier):
    """How much each token looks like the first one of an answer, and like its last one: logits (B, T, 2).

    Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 4.2.
    """

    def __init__(self, config: ModelConfig, shape: HeadShape | None = None) -> None:
        super().__init__(config, 2, shape)


class EncoderDecoderClassifier(_Classifier):
    """One of `labels` for a sequence that an encoder-decoder reads twice: its decoder, too, and the state of its last end token decides.

    Lewis et al. 2020, https://arxiv.org/abs/1910.13461, section 3.1.
    """

    def __init__(self, config: ModelConfig, labels: int, *, start_token: int, end_token: int) -> None:
        super().__init__(config, labels, HeadShape("first", "tanh"))
        self.start_token, self.end_token = start_token, end_token

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, C).

        Args:
            tokens: ids (B, T), each row with the end token.
            attention_mask: (B, T), True on real tokens, which stand on the left; all of them where None.

        Raises:
            ValueError: a row has no end token.
        """
        ends_BT = tokens == self.end_token
        if not bool(ends_BT.any(1).all()):
            raise ValueError(f"a row has no end token ({self.end_token}), whose state decides; add it to the text")
        begun_BT = torch.cat((torch.full_like(tokens[:, :1], self.start_token), tokens[:, :-1]), dim=1)
        hidden_BTW = self.transformer.hidden(begun_BT, source_tokens=tokens, source_mask=attention_mask)
        last_B = tokens.shape[1] - 1 - ends_BT.flip(1).int().argmax(1)
        return self._decide(hidden_BTW[torch.arange(len(tokens), device=tokens.device), last_B])


class MaskedLanguageModel(nn.Module):
    """The token behind each mask: a projection, and the token embedding transposed.

    Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1.
    """

    def __init__(self, config: ModelConfig, activation: Activation = "gelu", *, dense_bias: bool = True, output_bias: bool = True) -> None:
        super().__init__()
        self.config, self.shape = config, HeadShape(activation=activation, dense_bias=dense_bias, norm=True)
        self.transformer = Transformer(config)
        self.projection = Projection(config, activation, bias=dense_bias, norm=True)
        self.output_bias = nn.Parameter(torch.zeros(config.vocabulary_size)) if output_bias else None

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None, token_types: Tensor | None = None) -> Tensor:
        """Logits (B, T, V). The arguments are those of `SequenceClassifier`."""
        return self.logits(self.transformer.hidden(tokens, attention_mask=attention_mask, token_types=token_types))

    def logits(self, hidden: Tensor) -> Tensor:
        """The encoder's states (…, W), of masked tokens alone where that saves work, → logits (…, V)."""
        embedding = self.transformer.embedding
        assert embedding is not None
        return linear(self.projection(hidden), embedding.weight, self.output_bias)


class PooledEncoder(nn.Module):
    """BERT as it is published without a task: the states, and a layer that makes one vector of the first one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.pooler = Projection(config, "tanh")

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None, token_types: Tensor | None = None) -> Tensor:
        """The encoder's states (B, T, W). The arguments are those of `SequenceClassifier`."""
        return self.transformer.hidden(tokens, attention_mask=attention_mask, token_types=token_types)

    def pooled(self, hidden_BTW: Tensor) -> Tensor:
        """One vector for each row, (B, W), from the encoder's states."""
        return self.pooler(hidden_BTW[:, 0])


def _initialise(layer: nn.Linear, config: ModelConfig) -> None:
    nn.init.normal_(layer.weight, std=config.initial_std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
