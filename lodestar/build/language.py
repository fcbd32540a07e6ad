"""What every task that models language token by token shares: documents as tokens, their loss, their cross-entropy.

Axes: B rows, T tokens, W model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.progress import track
from ..contracts.task import IGNORE, Batch, device_of
from ..contracts.tokenizer import Tokenizer
from ..model.cross_entropy import LinearCrossEntropy
from ..model.transformer import Transformer
from .arithmetic import widens
from .measuring import batches_by_length, evaluating

LOGIT_ROWS = 2_048
"""Positions whose logits are held at once: a vocabulary of 50,000 takes 400 MB."""


def document_tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    """The text between two marks: the first is what its first token is predicted from, the second is learnt as its end."""
    return [tokenizer.opening, *tokenizer.encode(text), tokenizer.end_of_text]


def next_token_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy in nats of a packed batch's targets, and how many there are."""
    targets_BT = batch["targets"]
    if isinstance(model, Transformer) and joins(model):
        hidden_BTW = model.hidden(batch["tokens"], positions=batch.get("positions"), document_ids=batch.get("document_ids"))
        return joined_loss(model, hidden_BTW, targets_BT), (targets_BT != IGNORE).sum()
    logits_BTV = model(batch["tokens"], positions=batch.get("positions"), document_ids=batch.get("document_ids"))
    return _loss_of(logits_BTV, targets_BT), (targets_BT != IGNORE).sum()


def target_loss(model: Transformer, hidden_BTW: Tensor, targets_BT: Tensor) -> Tensor:
    """The summed cross-entropy, in nats, of the targets that are not `IGNORE`, from a decoder's states."""
    return joined_loss(model, hidden_BTW, targets_BT) if joins(model) else _loss_of(model.logits(hidden_BTW), targets_BT)


def _loss_of(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=IGNORE, reduction="sum")


def joins(model: Transformer) -> bool:
    """Whether `joined_loss` takes the model: where gradients are asked of eager operations on a CPU, and its logits are plain products."""
    config, head = model.config, model.output if model.output is not None else model.embedding
    plain = config.logit_cap is None and not config.output_bias and config.output_scale == 1.0
    return (
        plain
        and isinstance(head, nn.Linear | nn.Embedding)
        and head.weight.device.type == "cpu"
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


def joined_loss(model: Transformer, hidden_BTW: Tensor, targets_BT: Tensor) -> Tensor:
    """The summed cross-entropy, in nats, of the targets that are not `IGNORE`; their logits alone are computed, a part at a time."""
    head = model.output if model.output is not None else model.embedding
    assert isinstance(head, nn.Linear | nn.Embedding)
    told_BT = targets_BT != IGNORE
    hidden_NW = hidden_BTW.flatten(0, 1) if told_BT.all() else hidden_BTW[told_BT]
    wide = not head.weight.requires_grad and widens(head.weight.dtype, head.weight.device)
    return LinearCrossEntropy.apply(hidden_NW, head.weight, targets_BT[told_BT], wide)


def document_columns(model: nn.Module, tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """`nats`, `bytes` and `tokens` of each text; its end is predicted, too, and counts as a token but not as a byte."""
    assert isinstance(model, Transformer)
    documents = [[tokenizer.opening, *ids, tokenizer.end_of_text] for ids in tokenizer.encode_batch(texts)]
    return {
        "nats": document_nats(model, documents),
        "bytes": np.array([len(text.encode()) for text in texts], dtype=np.int64),
        "tokens": np.array([len(document) - 1 for document in documents], dtype=np.int64),
    }


def document_nats(
    model: Transformer, documents: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None
) -> np.ndarray:  # fmt: skip
    """The summed cross-entropy, in nats, of each document's tokens after its first (float64).

    Args:
        targets: for each token of each document, the one to predict from it, or `IGNORE`; the next one where absent.

    A document longer than the context is read in windows that overlap by half, so that no token past the first window is predicted
    from less than half a context. Windows of like length share a batch.
    """
    targets = [document[1:] for document in documents] if targets is None else targets
    nats = np.zeros(len(documents))
    windows = [window for number, tokens in enumerate(documents) for window in _windows(number, len(tokens) - 1, model.config.context)]
    batches = batches_by_length([window.end - window.start for window in windows])
    with evaluating(model):
        for batch in track(batches, "cross-entropy", "batch"):
            nats += np.bincount(*_batch_nats(model, documents, targets, [windows[number] for number in batch]), minlength=len(documents))
    return nats


@dataclass(frozen=True)
class _Window:
    """Predictions `start` to `end` of a document are made in one row, and those from `scored` on are counted."""

    document: int
    start: int
    scored: int
    end: int


def _windows(document: int, predictions: int, context: int) -> Iterator[_Window]:
    end = min(predictions, context)
    yield _Window(document, 0, 0, end)
    while end < predictions:
        scored, end = end, min(end + max(context // 2, 1), predictions)
        yield _Window(document, end - context, scored, end)


def _batch_nats(
    model: Transformer, documents: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], windows: Sequence[_Window]
) -> tuple[np.ndarray, np.ndarray]:
    """The document of each scored prediction, and its nats."""
    longest = windows[-1].end - windows[-1].start
    # Right padding needs no mask in a decoder: no token sees what comes after it.
    tokens_BT = torch.zeros(len(windows), longest, dtype=torch.long)
    targets_BT = torch.full_like(tokens_BT, IGNORE)
    for row, window in enumerate(windows):
        document = documents[window.document]
        tokens_BT[row, : window.end - window.start] = torch.tensor(document[window.start : window.end])
        targets_BT[row, window.scored - window.start : window.end - window.start] = torch.tensor(
            targets[window.document][window.scored : window.end]
        )
    device = device_of(model)
    rows, columns = (targets_BT != IGNORE).nonzero(as_tuple=True)
    targets_N = targets_BT[rows, columns].to(device)
    hidden_NW = model.hidden(tokens_BT.to(device))[rows.to(device), columns.to(device)]
    nats = [
        F.cross_entropy(model.logits(hidden).float(), target, reduction="none").double().cpu()
        for hidden, target in zip(hidden_NW.split(LOGIT_ROWS), targets_N.split(LOGIT_ROWS), strict=True)
    ]
    owners = np.array([window.document for window in windows])
    return owners[rows.numpy()], torch.cat(nats).numpy()
