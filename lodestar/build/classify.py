"""The probabilities that a classifier gives.

Axes: B rows, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..contracts.task import device_of
from .heads import SequenceClassifier
from .measuring import batches_by_length, evaluating


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
