"""The probabilities that a classifier gives.

Axes: B rows, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.task import Batch, device_of
from ..contracts.tokenizer import PAD, SPECIAL_TOKENS
from .heads import SequenceClassifier
from .measuring import batches_by_length, evaluating

HIDDEN = SPECIAL_TOKENS.index(PAD)
"""What stands in the place of a hidden token."""


def class_log_probabilities(model: nn.Module, rows: Sequence[Sequence[int]], pad: int) -> np.ndarray:
    """The log-probability of each class for each row of tokens, (rows, C), in the order given.

    A row longer than the model's context loses its end, as in training.
    """
    assert isinstance(model, SequenceClassifier)
    kept = [list(row[: model.config.context]) for row in rows]
    found = np.empty((len(kept), model.output.out_features))
    device = device_of(model)
    with evaluating(model):
        for batch in batches_by_length([len(row) for row in kept]):
            lengths_B = torch.tensor([len(kept[row]) for row in batch], device=device)
            longest = len(kept[batch[-1]])
            tokens_BT = torch.tensor([kept[row] + [pad] * (longest - len(kept[row])) for row in batch], device=device)
            mask_BT = torch.arange(longest, device=device) < lengths_B[:, None]
            found[batch] = model(tokens_BT, mask_BT).float().log_softmax(-1).double().cpu().numpy()
    return found


def masked_losses(model: nn.Module, batch: Batch, share: float) -> tuple[Tensor, Tensor]:
    """With `share` of the tokens hidden: the mean cross-entropy of the labels, and that of the hidden tokens, in nats.

    A hidden token reads as padding that is attended to. Which are hidden is drawn from torch's generator, as dropout is.
    """
    assert isinstance(model, SequenceClassifier)
    tokens_BT, mask_BT = batch["tokens"], batch["attention_mask"]
    hide_BT = (torch.rand(tokens_BT.shape, device=tokens_BT.device) < share) & mask_BT
    hide_BT[:, 0] |= ~hide_BT.any()  # at least one, for a mean
    hidden_BTW = model.transformer.hidden(tokens_BT.masked_fill(hide_BT, HIDDEN), attention_mask=mask_BT)
    label_loss = F.cross_entropy(model.classify(hidden_BTW, mask_BT).float(), batch["label"])
    token_loss = F.cross_entropy(model.transformer.logits(hidden_BTW[hide_BT]).float(), tokens_BT[hide_BT])
    return label_loss, token_loss
