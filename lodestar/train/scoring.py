"""How likely a model finds tokens that were written already: what preference and reinforcement losses are made of.

Axes: B rows, T tokens, N scored tokens, W model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..model.transformer import Transformer

SCORED, ATTENTION = "scored", "attention_mask"
LOGIT_ROWS = 2_048
"""Positions whose logits are held at once, in the backward pass too: a vocabulary of 150,000 takes 1.2 GB in float32."""


@dataclass(frozen=True)
class Scored:
    """A text as tokens, and which of them are the model's to answer for (a reply, not its prompt). The first one is never scored."""

    tokens: Sequence[int]
    scored: Sequence[bool]

    def __post_init__(self) -> None:
        assert len(self.tokens) == len(self.scored), "one mark a token"
        assert any(self.scored[1:]), "something to score"

    @classmethod
    def reply(cls, prompt: Sequence[int], reply: Sequence[int]) -> Scored:
        """A prompt that is given and a reply that is scored."""
        return cls([*prompt, *reply], [False] * len(prompt) + [True] * len(reply))

    def with_reply_of(self, other: Scored) -> Scored:
        """This one's prompt (what stands before the first scored token) with the other's reply."""
        mine, theirs = (text.scored.index(True) for text in (self, other))
        return Scored([*self.tokens[:mine], *other.tokens[theirs:]], [*self.scored[:mine], *other.scored[theirs:]])


def padded(texts: Sequence[Scored], pad: int) -> dict[str, Tensor]:
    """`tokens`, `scored` and `attention_mask` (B, T), padded on the right to the longest, rounded up to a multiple of 8."""
    longest = -(-max(len(text.tokens) for text in texts) // 8) * 8  # few widths: fewer shapes for a compiler to meet
    tokens_BT = torch.full((len(texts), longest), pad)
    scored_BT = torch.zeros(len(texts), longest, dtype=torch.bool)
    mask_BT = torch.zeros_like(scored_BT)
    for row, text in enumerate(texts):
        length = len(text.tokens)
        tokens_BT[row, :length] = torch.tensor(text.tokens)
        scored_BT[row, :length] = torch.tensor(text.scored)
        mask_BT[row, :length] = True
    scored_BT[:, 0] = False
    return {"tokens": tokens_BT, SCORED: scored_BT, ATTENTION: mask_BT}


def token_log_probabilities(model: nn.Module, batch: Mapping[str, Tensor], temperature: float = 1.0) -> Tensor:
    """The log-probability, in float32, of each scored token given those before it, (B, T); 0 elsewhere.

    Logits are made at the scored positions alone, a part at a time, and made again in the backward pass: all of them at once would
    take more memory than the model.

    Args:
        batch: `tokens` and `scored`, (B, T). Padding stands on the right, where no mask is needed: nothing looks ahead.
        temperature: of the distribution that is meant, as in sampling.
    """
    transformer = cast(Transformer, model)
    tokens_BT, scored_BT = batch["tokens"], batch[SCORED]
    rows_N, columns_N = scored_BT.nonzero(as_tuple=True)
    hidden_NW = transformer.hidden(tokens_BT)[rows_N, columns_N - 1]  # a token is predicted from the one before it
    targets_N = tokens_BT[rows_N, columns_N]

    def log_probabilities(hidden: Tensor, targets: Tensor) -> Tensor:
        return -F.cross_entropy(transformer.logits(hidden).float() / temperature, targets, reduction="none")

    parts = list(zip(hidden_NW.split(LOGIT_ROWS), targets_N.split(LOGIT_ROWS), strict=True))
    if torch.is_grad_enabled() and len(parts) > 1:
        values = [cast(Tensor, checkpoint(log_probabilities, *part, use_reentrant=False)) for part in parts]
    else:
        values = [log_probabilities(*part) for part in parts]
    return torch.zeros(tokens_BT.shape, device=tokens_BT.device).index_put((rows_N, columns_N), torch.cat(values))
