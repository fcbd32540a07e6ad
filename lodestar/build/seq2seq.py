"""What every task that reads one text and writes another shares: pairs of tokens, their loss, and decoding many at a time.

Axes: B rows, S source tokens, T tokens, N tokens to predict, W model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.progress import track
from ..contracts.task import IGNORE, Batch, device_of
from ..model.beam import BeamSettings, Hypothesis, beam_search
from ..model.steps import make_step
from ..model.transformer import Transformer
from .classify import HIDDEN
from .language import joined_loss, joins
from .measuring import evaluating

DECODED_TOKENS = 4_096
"""Source tokens, padding included, times beams, that are decoded at once. # assumed: enough rows for the products' full speed"""


def encode_pair(source: Sequence[int], target: Sequence[int], *, start: Sequence[int], end: int) -> dict[str, list[int]]:
    """The fields of a paired example: `source` as the encoder reads it, and `tokens` with the `targets` to predict from each.

    Args:
        source: with its own marks.
        start: what the decoder is given before it writes; no more than the last of it predicts something.
        end: what it writes last.
    """
    return {
        "source": list(source),
        "tokens": [*start, *target],
        "targets": [*[IGNORE] * (len(start) - 1), *target, end],
    }


def pair_loss(
    model: nn.Module, batch: Batch, smoothing: float = 0.0, *, word_dropout: float = 0.0, consistency: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy in nats of a paired batch's targets, and how many there are.

    What keeps a model from learning few pairs by heart counts in training alone.

    Args:
        smoothing: ε of label smoothing: the target is 1 − ε of the right token and ε of all alike (Szegedy et al. 2015,
            https://arxiv.org/abs/1512.00567, section 7).
        word_dropout: the share of tokens, of source and target, that the model is not shown; it predicts them all the same (Sennrich and
            Zhang 2019, https://arxiv.org/abs/1905.11901, section 4.3).
        consistency: α of R-Drop (Wu et al. 2021, https://arxiv.org/abs/2106.14448): each pair is read twice, with other dropout, and what
            the two readings predict is drawn together; takes twice the time.
    """
    assert isinstance(model, Transformer)
    if not model.training:
        smoothing = word_dropout = consistency = 0.0
    terms = (batch["targets"] != IGNORE).sum()
    if not consistency:
        return _cross_entropy(model, batch, _hidden(model, batch, word_dropout), smoothing), terms
    first, second = (_hidden(model, batch, word_dropout) for _ in range(2))
    likelihood = _cross_entropy(model, batch, first, smoothing) + _cross_entropy(model, batch, second, smoothing)
    return (likelihood + consistency * _divergence(model, batch, first, second)) / 2, terms


def _hidden(model: Transformer, batch: Batch, word_dropout: float) -> Tensor:
    """The decoder's states (B, T, W)."""
    source, tokens, source_mask = batch["source_tokens"], batch["tokens"], batch["source_mask"]
    if word_dropout:
        source, tokens = (x.masked_fill(torch.rand(x.shape, device=x.device) < word_dropout, HIDDEN) for x in (source, tokens))
    # A GPU would have to be waited for. Without padding, the fused attention needs no table.
    seen = None if source_mask.device.type == "cpu" and bool(source_mask.all()) else source_mask
    # The padding of the targets stands on the right, where no token sees it.
    return model.hidden(tokens, source_tokens=source, source_mask=seen)


def _cross_entropy(model: Transformer, batch: Batch, hidden_BTW: Tensor, smoothing: float) -> Tensor:
    targets_BT = batch["targets"]
    if joins(model):
        loss = joined_loss(model, hidden_BTW, targets_BT)
        return loss + smoothing * _smoothed_part(model, hidden_BTW, targets_BT) if smoothing else loss
    logits_BTV = model.logits(hidden_BTW).float()
    return F.cross_entropy(
        logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )  # fmt: skip


def _divergence(model: Transformer, batch: Batch, first_BTW: Tensor, second_BTW: Tensor) -> Tensor:
    """Half of KL(p, q) + KL(q, p), summed over the targets: ½ Σ (p − q)(log p − log q)."""
    told_BT = batch["targets"] != IGNORE
    p, q = (model.logits(hidden[told_BT]).float().log_softmax(-1) for hidden in (first_BTW, second_BTW))
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum()


def _smoothed_part(model: Transformer, hidden_BTW: Tensor, targets_BT: Tensor) -> Tensor:
    """Σ (x_target − mean x) over the targets, x the logits: what label smoothing adds for each unit of ε.

    (1 − ε)(lse − x_target) + ε·mean(lse − x) = (lse − x_target) + ε(x_target − mean x); and both, being linear in the hidden state, need no
    logits of the other tokens.
    """
    head = model.output if model.output is not None else model.embedding
    assert isinstance(head, nn.Linear | nn.Embedding)
    told_BT, weight_VW = targets_BT != IGNORE, head.weight.float()
    apart_NW = F.embedding(targets_BT[told_BT], weight_VW) - weight_VW.mean(0)
    return (hidden_BTW[told_BT].float() * apart_NW).sum()


class ToWrite(NamedTuple):
    """One text to be written."""

    source: Sequence[int]
    """What an encoder-decoder reads, with its marks; empty for a decoder."""
    start: Sequence[int]
    """What the output begins with, not counted to it: at least one token. For a decoder, all that it reads."""
    limit: int
    """Tokens that may be written, the end mark counted."""


def write_texts(
    model: nn.Module,
    wanted: Sequence[ToWrite],
    settings: BeamSettings,
    *,
    ends: Collection[int],
    pad: int,
    banned: Collection[int] = (),
    best: int = 1,
    label: str = "",
) -> list[list[Hypothesis]]:
    """The best hypotheses of each text, in the order given; texts of like lengths are decoded together, which changes none of them.

    Args:
        ends: the tokens that end a text.
        banned: tokens that no text may hold.
        label: of the progress bar; none where empty.

    Raises:
        ValueError: a text and its limit do not fit the model's context.
    """
    assert isinstance(model, Transformer)
    written: list[list[Hypothesis]] = [[] for _ in wanted]
    groups = _groups(wanted, max(1, DECODED_TOKENS // settings.beams), model.config.context)
    device = device_of(model)
    banned_V: Tensor | None = None
    if banned:
        banned_V = torch.zeros(model.config.vocabulary_size, dtype=torch.bool, device=device)
        banned_V[list(banned)] = True
    with evaluating(model):
        for group in track(groups, label, "batch") if label else groups:
            texts = [wanted[place] for place in group]
            prompt_BP, prompt_mask = _rows([text.start for text in texts], pad, device, left=True)
            source_BS = source_mask = None
            if model.encoder is not None:
                source_BS, source_mask = _rows([text.source for text in texts], pad, device)
            step = make_step(
                model, prompt_BP, max(text.limit for text in texts), beams=settings.beams, attention_mask=prompt_mask,
                source_tokens=source_BS, source_mask=source_mask,
            )  # fmt: skip
            found = beam_search(step, [text.limit for text in texts], ends, settings, best=best, banned_V=banned_V)
            for place, hypotheses in zip(group, found, strict=True):
                written[place] = hypotheses
    return written


def _groups(wanted: Sequence[ToWrite], budget: int, context: int) -> list[list[int]]:
    """All texts, from the shortest to the longest, in groups whose padded rows make at most `budget` tokens, and whose longest start and
    highest limit fit the context together: the room of a row that is padded is that of the longest.
    """
    sizes = [max(len(text.source), len(text.start)) for text in wanted]
    groups: list[list[int]] = []
    start = limit = 0
    for place in sorted(range(len(sizes)), key=lambda place: (sizes[place], wanted[place].limit)):
        start, limit = max(start, len(wanted[place].start)), max(limit, wanted[place].limit)
        if not groups or (len(groups[-1]) + 1) * sizes[place] > budget or start + limit > context:
            groups.append([])
            start, limit = len(wanted[place].start), wanted[place].limit
        groups[-1].append(place)
    return groups


def _rows(sequences: Sequence[Sequence[int]], pad: int, device: torch.device, *, left: bool = False) -> tuple[Tensor, Tensor | None]:
    """Sequences as padded rows, and True on their real tokens; None where there is no padding."""
    longest = max(map(len, sequences))
    if all(len(sequence) == longest for sequence in sequences):
        return torch.tensor([list(sequence) for sequence in sequences], device=device), None
    empty = [[pad] * (longest - len(sequence)) for sequence in sequences]
    rows = [[*blank, *real] if left else [*real, *blank] for real, blank in zip(sequences, empty, strict=True)]
    steps, lengths_B1 = torch.arange(longest, device=device), torch.tensor([[len(sequence)] for sequence in sequences], device=device)
    return torch.tensor(rows, device=device), steps >= longest - lengths_B1 if left else steps < lengths_B1
