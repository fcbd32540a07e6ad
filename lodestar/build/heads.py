"""Heads around an encoder.

Axes: B batch, T tokens, W model width, C classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..model.config import ModelConfig
from ..model.transformer import Transformer


class SequenceClassifier(nn.Module):
    """One of `labels` for a sequence: the mean of the encoder's states over the real tokens, and a linear layer."""

    def __init__(self, config: ModelConfig, labels: int) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.width, labels)
        nn.init.normal_(self.output.weight, std=config.initial_std)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, C).

        Args:
            tokens: ids (B, T).
            attention_mask: (B, T), True on real tokens, of which each row has at least one.
        """
        return self.classify(self.transformer.hidden(tokens, attention_mask=attention_mask), attention_mask)

    def classify(self, hidden_BTW: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, C) from the encoder's states."""
        return self.output(self.dropout(self.pooled(hidden_BTW, attention_mask)))

    def pooled(self, hidden_BTW: Tensor, attention_mask: Tensor) -> Tensor:
        """The mean of the states of the real tokens, (B, W)."""
        weights_BT1 = attention_mask[..., None].to(hidden_BTW.dtype)
        return (hidden_BTW * weights_BT1).sum(1) / weights_BT1.sum(1)
