"""Linear models on n-grams of tokens beside an encoder: wide and deep, each the others' correction.

On a few thousand texts a linear model on n-grams is better than an encoder from scratch, and the two err on different texts. Cheng et al.
2016, https://arxiv.org/abs/1606.07792, train both at once; here the linear ones are solved to their optimum before training, as stochastic
steps leave them points behind (measured: bench/RESULTS.d/classification.md), and how much each counts is fitted on validation.

Axes: B rows, N texts, T tokens, C classes, G n-grams of a row, K n-grams that are known, P parts of a mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.language import Words
from ..model.config import ModelConfig
from .classify import read_batches
from .heads import SequenceClassifier

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LONGEST = 3
"""Tokens in the longest n-gram. # measured: bench/RESULTS.d/classification.md, English and Chinese reviews"""
RATIO_C, FREQUENCY_C = 0.1, 30.0
"""The inverse strengths of the penalties. # measured: as LONGEST"""
WEIGHTS, FEWEST_KNOWN, MOST_KNOWN = 1 << 20, 1 << 12, 1 << 18
"""Of each linear model: weights in all, and within what bounds the n-grams that have one; with many classes they are fewer."""
FEW_TEXTS = 1000
"""Below so many texts, an n-gram that stands in one alone is known, too."""
RECORDS = 200_000
"""Texts to learn from at most, evenly spread: more make the solution no better, and it has to fit into memory."""
UNKNOWN = torch.iinfo(torch.int64).max
"""The key of no n-gram."""


class Occurrences(NamedTuple):
    """The known n-grams of each row, (B, G); what counts nothing has a count of 0."""

    places: Tensor
    """Where the n-gram stands among the known ones."""
    counts: Tensor
    """How often it stands in the row."""


class NgramVotes(nn.Module):
    """What the n-grams of a text say of each class, by two linear models.

    One takes each n-gram that occurs, however often, at naive Bayes' log-count ratio, corrected by logistic regression (Wang and Manning
    2012, NBSVM, https://aclanthology.org/P12-2018): better on English words. The other is logistic regression on TF-IDF of unit length:
    better on Chinese characters.
    """

    keys: Tensor
    rarity: Tensor
    ratio: Tensor
    ratio_bias: Tensor
    frequency: Tensor
    frequency_bias: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        known = min(MOST_KNOWN, max(FEWEST_KNOWN, WEIGHTS // classes))
        self.register_buffer("keys", torch.full((known,), UNKNOWN))
        self.register_buffer("rarity", torch.zeros(known))
        for name in ("ratio", "frequency"):
            self.register_buffer(name, torch.zeros(known, classes))
            self.register_buffer(f"{name}_bias", torch.zeros(classes))

    def forward(self, tokens_BT: Tensor, attention_mask_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The logits (B, C) of the two models."""
        mask_BT = torch.ones_like(tokens_BT, dtype=torch.bool) if attention_mask_BT is None else attention_mask_BT
        places_BG, counts_BG = self._occurrences(*ngrams(tokens_BT, mask_BT))
        present_BG = (counts_BG > 0).to(self.ratio.dtype)
        ratio_BC = torch.einsum("bg,bgc->bc", present_BG, F.embedding(places_BG, self.ratio))
        weights_BG = present_BG * (1 + counts_BG.clamp(min=1).log()) * self.rarity[places_BG]
        weights_BG = weights_BG / torch.linalg.vector_norm(weights_BG, dim=1, keepdim=True).clamp(min=1e-12)
        frequency_BC = torch.einsum("bg,bgc->bc", weights_BG, F.embedding(places_BG, self.frequency))
        return ratio_BC + self.ratio_bias, frequency_BC + self.frequency_bias

    def shares(self, tokens_T: Tensor) -> tuple[Tensor, Tensor]:
        """What each token of one text adds to the logits of the two models, (T, C): an n-gram's vote is shared alike by all of the tokens
        that make it, wherever it stands. Their sums, with the biases, are what `forward` gives.
        """
        mask_1T = torch.ones_like(tokens_T, dtype=torch.bool)[None]
        keys_G = ngrams(tokens_T[None], mask_1T)[0][0]
        places_G = torch.searchsorted(self.keys, keys_G).clamp(max=len(self.keys) - 1)
        counts_G = (keys_G[:, None] == keys_G).sum(1)
        known_G = (self.keys[places_G] == keys_G).to(self.ratio.dtype)
        weights_G = known_G * (1 + counts_G.log()) * self.rarity[places_G]
        # An n-gram that stands n times is n of the rows.
        weights_G = weights_G / (weights_G.square() / counts_G).sum().sqrt().clamp(min=1e-12)
        votes = (known_G[:, None] * self.ratio[places_G], weights_G[:, None] * self.frequency[places_G])
        length = len(tokens_T)
        sizes = range(1, min(LONGEST, length) + 1)
        size_G = torch.cat([torch.full((length + 1 - size,), size) for size in sizes]).to(tokens_T.device)
        first_G = torch.cat([torch.arange(length + 1 - size) for size in sizes]).to(tokens_T.device)
        found = []
        for votes_GC in votes:
            each_GC = votes_GC / (counts_G * size_G)[:, None]
            shares_TC = torch.zeros(length + LONGEST, votes_GC.shape[1], dtype=votes_GC.dtype, device=votes_GC.device)
            for offset in range(LONGEST):
                shares_TC.index_add_(0, first_G + offset, each_GC * (size_G > offset)[:, None])
            found.append(shares_TC[:length])
        return found[0], found[1]

    def _occurrences(self, ids_BG: Tensor, real_BG: Tensor) -> Occurrences:
        # Sorted, so that repetitions stand together, and what is no text at the end.
        ordered_BG = ids_BG.masked_fill(~real_BG, UNKNOWN).sort(1).values
        first_BG = torch.searchsorted(ordered_BG, ordered_BG)
        counts_BG = torch.searchsorted(ordered_BG, ordered_BG, right=True) - first_BG
        places_BG = torch.searchsorted(self.keys, ordered_BG).clamp(max=len(self.keys) - 1)
        counts = (first_BG == torch.arange(ids_BG.shape[1], device=ids_BG.device)) & (self.keys[places_BG] == ordered_BG)
        return Occurrences(places_BG, counts_BG * (counts & (ordered_BG != UNKNOWN)))

    def learn(self, rows: Sequence[Sequence[int]], truth: np.ndarray) -> None:
        """Find the n-grams and solve for their weights.

        Args:
            rows: the tokens of each text.
            truth: the index of its class (n,), or several classes (n, C) of 0 and 1.
        """
        from scipy.sparse import csr_matrix
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import normalize

        chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), RECORDS)).astype(int))
        table = self._know([rows[place] for place in chosen])
        known, texts = table.shape[1], len(chosen)
        rarity = self.rarity.numpy(force=True)[:known].astype(np.float64)
        present = csr_matrix((np.ones(table.nnz), table.indices, table.indptr), table.shape)
        # Not `multiply`, which takes a row for a dense matrix.
        frequency = normalize(csr_matrix(((1 + np.log(table.data)) * rarity[table.indices], table.indices, table.indptr), table.shape))
        for label in range(len(self.ratio_bias)):
            true = (truth[chosen] == label) if truth.ndim == 1 else truth[chosen, label] > 0
            if true.all() or not true.any():
                # As far as the rule of succession goes for a label that all of the texts have, or none.
                self.ratio_bias[label] = self.frequency_bias[label] = np.log(texts + 1) * (1 if true.all() else -1)
                continue
            counts = [1 + np.asarray(present[rows_].sum(0)).ravel() for rows_ in (true, ~true)]
            ratio = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
            weighed = csr_matrix((ratio[present.indices], present.indices, present.indptr), present.shape)
            solved = LogisticRegression(C=RATIO_C, max_iter=300).fit(weighed, true)
            self.ratio[:known, label] = torch.from_numpy(ratio * solved.coef_[0])
            self.ratio_bias[label] = float(solved.intercept_[0])
            solved = LogisticRegression(C=FREQUENCY_C, max_iter=300).fit(frequency, true)
            self.frequency[:known, label] = torch.from_numpy(solved.coef_[0])
            self.frequency_bias[label] = float(solved.intercept_[0])

    def _know(self, rows: Sequence[Sequence[int]]) -> csr_matrix:
        """Take up the n-grams of these texts, the commonest where they are too many; returns how often each stands in each text."""
        from scipy.sparse import csr_matrix

        found = [np.unique(_ngrams_of(row), return_counts=True) for row in rows]
        keys, texts = np.unique(np.concatenate([each for each, _ in found]), return_counts=True)
        least = 1 if len(rows) < FEW_TEXTS else 2
        common = np.flatnonzero(texts >= least)
        common = np.sort(common[np.argsort(-texts[common], kind="stable")[: len(self.keys)]])
        keys, texts = keys[common], texts[common]
        self.keys[: len(keys)] = torch.from_numpy(keys)
        self.rarity[: len(keys)] = torch.from_numpy(np.log((1 + len(rows)) / (1 + texts)) + 1)
        places = [np.searchsorted(keys, each) for each, _ in found]
        known = [np.append(keys, UNKNOWN)[place] == each for place, (each, _) in zip(places, found, strict=True)]
        counts = [count[kept] for kept, (_, count) in zip(known, found, strict=True)]
        columns = [place[kept] for kept, place in zip(known, places, strict=True)]
        ends = np.cumsum([0, *map(len, columns)])
        return csr_matrix((np.concatenate(counts).astype(float), np.concatenate(columns), ends), (len(rows), len(keys)))


def ngrams(tokens_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The key of each n-gram of one to LONGEST tokens, (B, G), and whether all of it is text. Keys are hashes of 62 bits."""
    hash_BT, real_BT = torch.zeros_like(tokens_BT), torch.ones_like(mask_BT)
    ids, real = [], []
    for size in range(min(LONGEST, tokens_BT.shape[1])):
        end = tokens_BT.shape[1] - size
        # Products of 64 bits wrap around, on every machine alike.
        hash_BT = (hash_BT[:, :end] + 1 + tokens_BT[:, size:]) * 0x5851F42D4C957F2D
        hash_BT = hash_BT ^ (hash_BT >> 29)
        real_BT = real_BT[:, :end] & mask_BT[:, size:]
        ids.append(hash_BT >> 2)
        real.append(real_BT)
    return torch.cat(ids, 1), torch.cat(real, 1)


def _ngrams_of(row: Sequence[int]) -> np.ndarray:
    tokens_1T = torch.tensor([list(row)])
    return ngrams(tokens_1T, torch.ones_like(tokens_1T, dtype=torch.bool))[0][0].numpy()


PARTS = 3
"""Of a mix: the encoder, and the votes by ratio and by frequency."""


class VotingClassifier(SequenceClassifier):
    """An encoder's logits and the n-grams' votes of either kind, added with a weight each; in training, the encoder learns by itself."""

    mix: Tensor

    def __init__(self, config: ModelConfig, labels: int) -> None:
        super().__init__(config, labels)
        self.votes = NgramVotes(labels)
        self.register_buffer("mix", torch.full((PARTS,), 1 / PARTS))

    def decide(self, hidden_BTW: Tensor, tokens_BT: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if self.training:
            return self.classify(hidden_BTW, attention_mask)
        return torch.einsum("p,bpc->bc", self.mix, self.parts(hidden_BTW, tokens_BT, attention_mask))

    def parts(self, hidden_BTW: Tensor, tokens_BT: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The logits (B, P, C) of each part by itself."""
        return torch.stack((self.classify(hidden_BTW, attention_mask), *self.votes(tokens_BT, attention_mask)), 1)

    def shares(self, tokens_T: Tensor) -> Tensor:
        """What each token of one text adds to the logits by the n-grams' votes, (T, C); `vote_bias` is what they add to any text."""
        ratio_TC, frequency_TC = self.votes.shares(tokens_T)
        return self.mix[1] * ratio_TC + self.mix[2] * frequency_TC

    @property
    def vote_bias(self) -> Tensor:
        """(C,)."""
        return self.mix[1] * self.votes.ratio_bias + self.mix[2] * self.votes.frequency_bias


def weigh(model: VotingClassifier, rows: Sequence[Sequence[int]], pad: int, truth: np.ndarray) -> tuple[np.ndarray, Words]:
    """Decide on validation how much the encoder and the votes count: the logits (n, C) that follow, and what was decided in words.

    Args:
        rows: the tokens of each text.
        truth: as `fit_mix` takes it.
    """
    (parts_NPC,) = read_batches(model, rows, pad, lambda *read: (model.parts(*read).double(),))
    mix = fit_mix(parts_NPC, truth)
    model.mix.copy_(torch.tensor(mix))
    encoder, ratio, frequency = (f"{weight:.2f}" for weight in mix)
    return np.einsum("p,npc->nc", mix, parts_NPC), Words(
        f"the encoder counts {encoder}, its n-grams {ratio} by their ratio and {frequency} by their frequency.",
        f"编码器的权重为 {encoder}，n 元组按比值为 {ratio}，按频率为 {frequency}。",
    )


def fit_mix(parts_NPC: np.ndarray, truth: np.ndarray) -> list[float]:
    """The weights, none below 0, at which the sum of several parts' logits makes validation's labels likeliest.

    Args:
        truth: (n,) of indices, or (n, C) of 0 and 1.
    """
    from scipy.optimize import minimize

    logits_NPC = torch.from_numpy(parts_NPC)
    labels = torch.from_numpy(truth.astype(np.int64 if truth.ndim == 1 else np.float64))
    doubt = 1 / (len(truth) + 2)  # as in `fit_temperature`: where all is right, nothing else would bound them

    def loss(mix: np.ndarray) -> float:
        mixed_NC = torch.einsum("p,npc->nc", torch.from_numpy(mix), logits_NPC)
        if labels.ndim == 1:
            return float(F.cross_entropy(mixed_NC, labels, label_smoothing=doubt))
        return float(F.binary_cross_entropy_with_logits(mixed_NC, labels * (1 - doubt) + doubt / 2))

    parts = parts_NPC.shape[1]
    found = minimize(loss, np.full(parts, 1 / parts), method="L-BFGS-B", bounds=[(0.0, 20.0)] * parts)
    return [float(weight) for weight in found.x]
