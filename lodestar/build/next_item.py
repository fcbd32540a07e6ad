"""A Transformer over what a user chose, which says what comes next: items in the place of tokens.

As SASRec (Kang and McAuley 2018, https://arxiv.org/abs/1808.09781) a causal decoder whose output is tied to its input; its loss is the
cross-entropy over the whole catalogue, with which it is far better than as published (Klenitskiy and Vasilev 2023,
https://arxiv.org/abs/2309.07602), or an estimate of it by sampled items.

An item's vector is a row of its own plus the mean of the rows of its text's terms. Items that nobody chose in training have no row of their
own, and stand where their terms put them; in training some of the others do without theirs, too, so that the terms learn to serve alone
(Volkovs et al. 2017, DropoutNet).

Axes: B rows, T tokens, W model width, N positions, I items, S items that were chosen in training, which come first among all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.task import IGNORE, Batch, device_of
from ..model.config import ModelConfig
from ..model.cross_entropy import LinearCrossEntropy
from ..model.transformer import Transformer
from .measuring import batches_by_length, evaluating
from .top_items import TopItems

FIRST_ITEM = 2
"""The token of item 0; those before are the tokenizer's special ones, of which one fills rows."""
POPULARITY_POWER = 0.75
"""Sampled items are drawn by their counts to this power, as in word2vec (Mikolov et al. 2013): between uniform and by popularity."""


class NextItem(nn.Module):
    """Histories of items → a state after each of them, to be compared with the items' vectors.

    Args:
        config: of the decoder; its vocabulary has `FIRST_ITEM` tokens more than there are items with a row of their own.
        counts: how often each of those was chosen in training (S,).
        terms_of_items: the terms of every item, those that nobody chose behind the others (I); None where there are no texts.
        terms: how many different ones there are.
        without_own: the share of items that do without their own row in a training step.
        sampled: items that the loss is estimated by; 0 for all of them.
    """

    starts: Tensor
    term_of: Tensor
    log_chances: Tensor

    def __init__(
        self, config: ModelConfig, counts: Sequence[int], *, terms_of_items: Sequence[Sequence[int]] | None = None, terms: int = 0,
        without_own: float = 0.1, sampled: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if config.vocabulary_size != FIRST_ITEM + len(counts):
            raise ValueError(f"vocabulary_size is {config.vocabulary_size}, and {len(counts)} items need {FIRST_ITEM + len(counts)}")
        self.config, self.without_own, self.sampled = config, without_own, sampled
        self.seen = len(counts)
        self.items = len(counts) if terms_of_items is None else len(terms_of_items)
        self.counts, self._terms_of_items = list(counts), terms_of_items
        self.transformer = Transformer(config)
        self.terms = nn.Embedding(terms, config.width) if terms else None
        if self.terms is not None:
            nn.init.normal_(self.terms.weight, std=config.initial_std)
        self.make_buffers()
        self._catalogue: TopItems | None = None

    def make_buffers(self, device: torch.device | str | None = None) -> None:
        """(Re)compute what follows from the items, and so is no part of the state: where each one's terms begin, and the chances."""
        lists = self._terms_of_items or [[]] * self.items
        starts = torch.tensor([len(each) for each in lists], device=device).cumsum(0)
        self.register_buffer("starts", starts - torch.tensor([len(each) for each in lists], device=device), persistent=False)
        flat = torch.tensor([term for each in lists for term in each], dtype=torch.long, device=device)
        self.register_buffer("term_of", flat, persistent=False)
        chances = (torch.tensor(self.counts, dtype=torch.float64, device=device) + 1) ** POPULARITY_POWER
        self.register_buffer("log_chances", (chances / chances.sum()).log().float(), persistent=False)

    def vectors(self, *, all_items: bool = False) -> Tensor:
        """The vectors of the items that were chosen in training (S, W), or of all (I, W)."""
        embedding = self.transformer.embedding
        assert embedding is not None
        own_SW = embedding.weight[FIRST_ITEM:]
        if self.terms is None:
            return own_SW
        count = self.items if all_items else self.seen
        ends = self.starts[count] if count < self.items else len(self.term_of)
        text_IW = F.embedding_bag(self.term_of[:ends], self.terms.weight, self.starts[:count], mode="mean")
        if self.training and self.without_own:
            own_SW = own_SW * (torch.rand(self.seen, 1, device=own_SW.device) >= self.without_own)
        return torch.cat((own_SW + text_IW[: self.seen], text_IW[self.seen :]))

    def hidden(self, tokens_BT: Tensor, vectors_IW: Tensor, positions: Tensor | None = None, document_ids: Tensor | None = None) -> Tensor:
        """States (B, T, W) after each of the tokens, which mean the items of `vectors_IW`."""
        embedding = self.transformer.embedding
        assert embedding is not None
        table = torch.cat((embedding.weight[:FIRST_ITEM], vectors_IW))
        return self.transformer.hidden(embeddings=F.embedding(tokens_BT, table), positions=positions, document_ids=document_ids)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """How much each item is to come after each of the tokens: logits (B, T, I)."""
        vectors_IW = self.vectors(all_items=True)
        return self.hidden(tokens_BT, vectors_IW) @ vectors_IW.mT

    def train(self, mode: bool = True) -> NextItem:
        """As every module's; weights that change make the catalogue anew."""
        if mode:
            self._catalogue = None
        super().train(mode)
        return self

    @property
    def catalogue(self) -> TopItems:
        """All items' vectors, kept while the model only answers."""
        assert not self.training, "the vectors change in training"
        if self._catalogue is None:
            with torch.inference_mode():
                self._catalogue = TopItems(self.vectors(all_items=True).float().contiguous())
        return self._catalogue


def next_item_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy, in nats, of the batch's targets among the items that were chosen in training; and how many there are."""
    assert isinstance(model, NextItem)
    told_BT = batch["targets"] != IGNORE
    vectors_SW = model.vectors()
    hidden_BTW = model.hidden(batch["tokens"], vectors_SW, batch.get("positions"), batch.get("document_ids"))
    hidden_NW, targets_N = hidden_BTW[told_BT], batch["targets"][told_BT] - FIRST_ITEM
    if model.sampled and model.training:
        drawn_D = torch.multinomial(model.log_chances.exp(), model.sampled, replacement=True)
        loss = sampled_softmax_loss(hidden_NW, vectors_SW, targets_N, drawn_D, model.log_chances)
    elif hidden_NW.device.type == "cpu" and not torch.compiler.is_compiling():
        loss = LinearCrossEntropy.apply(hidden_NW, vectors_SW, targets_N, False)
    else:
        loss = F.cross_entropy((hidden_NW @ vectors_SW.mT).float(), targets_N, reduction="sum")
    return loss, told_BT.sum()


def sampled_softmax_loss(hidden_NW: Tensor, vectors_IW: Tensor, targets_N: Tensor, drawn_D: Tensor, log_chances_I: Tensor) -> Tensor:
    """The summed cross-entropy estimated by D drawn items, in nats.

    Each drawn item's exp(logit) is divided by how often it is expected to be drawn, D times its chance, and the target's stands for itself;
    so what estimates Σ exp(logit) over the catalogue is right in the mean (Bengio and Senécal 2008; the correction of log Q). Where the
    target is drawn it is left out, as it is there already.

    Args:
        drawn_D: with replacement, by the chances.
    """
    vectors_DW = vectors_IW[drawn_D]
    own_N1 = (hidden_NW * vectors_IW[targets_N]).sum(-1, keepdim=True).float()
    expected_D = log_chances_I[drawn_D] + torch.tensor(float(len(drawn_D)), device=drawn_D.device).log()
    others_ND = (hidden_NW @ vectors_DW.mT).float() - expected_D
    others_ND = others_ND.masked_fill(drawn_D == targets_N[:, None], -torch.inf)
    return (torch.cat((own_N1, others_ND), 1).logsumexp(1, keepdim=True) - own_N1).sum()


def last_states(model: NextItem, histories: Sequence[Sequence[int]]) -> Tensor:
    """The state (histories, W), float32, after each history of items, none of them empty; of a longer one than the context its end."""
    context, device = model.config.context, device_of(model)
    rows = [history[-context:] for history in histories]
    states = torch.empty(len(rows), model.config.width, device=device)
    with evaluating(model):
        vectors_IW = model.catalogue.vectors_IW
        for chosen in batches_by_length([len(row) for row in rows]):
            longest = len(rows[chosen[-1]])
            # Right padding needs no mask in a decoder: no token sees what comes after it.
            tokens_BT = torch.tensor(
                [[FIRST_ITEM + item for item in rows[at]] + [0] * (longest - len(rows[at])) for at in chosen], device=device
            )
            last_B = torch.tensor([len(rows[at]) - 1 for at in chosen], device=device)
            hidden_BTW = model.hidden(tokens_BT, vectors_IW.to(model.transformer.dtype))
            states[chosen] = hidden_BTW[torch.arange(len(chosen), device=device), last_B].float()
    return states
