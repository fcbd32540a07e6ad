"""What a classifier says of its texts, and what it learns from them.

Axes: B rows, T tokens, W model width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

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


def class_logits(model: nn.Module, rows: Sequence[Sequence[int]], pad: int) -> np.ndarray:
    """The logit of each class for each row of tokens, (rows, C), in the order given.

    A row longer than the model's context loses its end, as in training.
    """
    return read_rows(model, rows, pad)[0]


def read_rows(model: nn.Module, rows: Sequence[Sequence[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """As `class_logits`, and the one vector that each row's logits are made of, (rows, W)."""
    assert isinstance(model, SequenceClassifier)

    def take(hidden_BTW: Tensor, tokens_BT: Tensor, mask_BT: Tensor) -> Sequence[Tensor]:
        return model.decide(hidden_BTW, tokens_BT, mask_BT).double(), model.pooled(hidden_BTW, mask_BT).float()

    logits, vectors = read_batches(model, rows, pad, take)
    return logits, vectors


def read_batches(
    model: SequenceClassifier, rows: Sequence[Sequence[int]], pad: int, take: Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
) -> list[np.ndarray]:
    """What is taken of each row, (rows, …), in the order given; of a row longer than the model's context, without its end.

    Args:
        rows: tokens; at least one row.
        take: from the encoder's states (B, T, W), the tokens (B, T) and the attention mask (B, T), tensors (B, …).
    """
    kept = [list(row[: model.config.context]) for row in rows]
    found: list[np.ndarray] = []
    device = device_of(model)
    with evaluating(model):
        for batch in batches_by_length([len(row) for row in kept]):
            lengths_B = torch.tensor([len(kept[row]) for row in batch], device=device)
            longest = len(kept[batch[-1]])
            tokens_BT = torch.tensor([kept[row] + [pad] * (longest - len(kept[row])) for row in batch], device=device)
            mask_BT = torch.arange(longest, device=device) < lengths_B[:, None]
            taken = [each.cpu().numpy() for each in take(model.transformer.hidden(tokens_BT, attention_mask=mask_BT), tokens_BT, mask_BT)]
            found = found or [np.empty((len(kept), *each.shape[1:]), each.dtype) for each in taken]
            for whole, each in zip(found, taken, strict=True):
                whole[batch] = each
    return found


def masked_reading(model: nn.Module, batch: Batch, share: float) -> tuple[Tensor, Tensor]:
    """With `share` of the tokens hidden: the logits (B, C), and the mean cross-entropy of the hidden tokens, in nats.

    A hidden token reads as padding that is attended to. Which are hidden is drawn from torch's generator, as dropout is.
    """
    assert isinstance(model, SequenceClassifier)
    tokens_BT, mask_BT = batch["tokens"], batch["attention_mask"]
    hide_BT = (torch.rand(tokens_BT.shape, device=tokens_BT.device) < share) & mask_BT
    hide_BT[:, 0] |= ~hide_BT.any()  # at least one, for a mean
    hidden_BTW = model.transformer.hidden(tokens_BT.masked_fill(hide_BT, HIDDEN), attention_mask=mask_BT)
    token_loss = F.cross_entropy(model.transformer.logits(hidden_BTW[hide_BT]).float(), tokens_BT[hide_BT])
    return model.classify(hidden_BTW, mask_BT).float(), token_loss


LABELS_A_NUMBER = 62
"""Labels in one number of a record: an int64, less its sign and one bit to spare."""


def packed_labels(indices: Collection[int], labels: int) -> dict[str, int]:
    """A set of labels as the numbers of a record: bit i of number k says whether the label 62·k + i is one of them."""
    numbers = [0] * (-(-labels // LABELS_A_NUMBER))
    for index in indices:
        numbers[index // LABELS_A_NUMBER] |= 1 << index % LABELS_A_NUMBER
    return {f"labels_{place}": number for place, number in enumerate(numbers)}


def label_loss(logits_BC: Tensor, batch: Batch) -> Tensor:
    """The summed cross-entropy, in nats: of the one `label` of each text, or of all decisions where a text may have several labels."""
    if "label" in batch:
        return F.cross_entropy(logits_BC, batch["label"], reduction="sum")
    labels = logits_BC.shape[1]
    packed_BK = torch.stack([batch[f"labels_{place}"] for place in range(-(-labels // LABELS_A_NUMBER))], 1)
    bits = torch.arange(LABELS_A_NUMBER, device=logits_BC.device)
    truth_BC = (packed_BK[..., None] >> bits & 1).flatten(1)[:, :labels]
    return F.binary_cross_entropy_with_logits(logits_BC, truth_BC.to(logits_BC.dtype), reduction="sum")
