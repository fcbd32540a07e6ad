"""A linear model on n-grams of tokens beside an encoder: wide and deep, one the other's correction.

On a few thousand texts a linear model on n-grams is better than an encoder from scratch, and the two err on different texts. Cheng et al.
2016, https://arxiv.org/abs/1606.07792, train both at once; here the linear one is solved to its optimum before training, as stochastic
steps leave it points behind (measured: bench/RESULTS.md, sentiment), and how much each counts is fitted on validation.

Axes: B rows, T tokens, C classes, G n-grams of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.language import Words
from ..model.config import ModelConfig
from .heads import SequenceClassifier

LONGEST = 2
"""Tokens in the longest n-gram. # measured: bench/quality/classification.py, English and Chinese reviews"""
REGULARISATION = 0.1
"""The inverse strength C of the penalty. # measured: as LONGEST"""
ENTRIES, FEWEST_BUCKETS = 1 << 20, 1 << 12
"""Weights in all, and the fewest n-grams that are told apart: with many classes, more n-grams share a weight."""
RECORDS = 200_000
"""Texts to learn from at most, evenly spread: more make the solution no better, and it has to fit into memory."""


class NgramVotes(nn.Module):
    """What each n-gram that occurs in a text, however often, says of each class: logits (B, C) are their sum.

    The weights are naive Bayes' log-count ratios, corrected by logistic regression (Wang and Manning 2012, NBSVM,
    https://aclanthology.org/P12-2018). N-grams are told apart by a hash.
    """

    weights: Tensor
    bias: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        buckets = max(FEWEST_BUCKETS, 1 << (ENTRIES // classes).bit_length() - 1)
        self.register_buffer("weights", torch.zeros(buckets, classes))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, tokens_BT: Tensor, attention_mask_BT: Tensor | None = None) -> Tensor:
        """Logits (B, C)."""
        mask_BT = torch.ones_like(tokens_BT, dtype=torch.bool) if attention_mask_BT is None else attention_mask_BT
        ids_BG, real_BG = ngrams(tokens_BT, mask_BT, len(self.weights))
        # Sorted, so that a repetition stands behind what it repeats; what is not real goes to the end.
        ordered_BG, places_BG = ids_BG.masked_fill(~real_BG, len(self.weights)).sort(1)
        first_BG = F.pad(ordered_BG[:, 1:] != ordered_BG[:, :-1], (1, 0), value=True) & real_BG.gather(1, places_BG)
        votes_BGC = F.embedding(ordered_BG.clamp(max=len(self.weights) - 1), self.weights)
        return (votes_BGC * first_BG[..., None]).sum(1) + self.bias

    def learn(self, rows: Sequence[Sequence[int]], truth: np.ndarray) -> None:
        """Solve for the weights.

        Args:
            rows: the tokens of each text.
            truth: the index of its class (n,), or several classes (n, C) of 0 and 1.
        """
        from scipy.sparse import csr_matrix
        from sklearn.linear_model import LogisticRegression

        chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), RECORDS)).astype(int))
        found = [np.unique(row) for row in _rows_of_ngrams([rows[place] for place in chosen], len(self.weights))]
        ends = np.cumsum([0, *map(len, found)])
        table = csr_matrix((np.ones(ends[-1]), np.concatenate(found), ends), (len(found), len(self.weights)))
        for label in range(len(self.bias)):
            true = (truth[chosen] == label) if truth.ndim == 1 else truth[chosen, label] > 0
            if true.all() or not true.any():
                self.bias[label] = 10.0 if true.all() else -10.0
                continue
            counts = [1 + np.asarray(table[rows_].sum(0)).ravel() for rows_ in (true, ~true)]
            ratio = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
            # `csr.multiply` of a row would be a dense matrix in memory for a moment.
            weighed = csr_matrix((ratio[table.indices], table.indices, table.indptr), table.shape)
            solved = LogisticRegression(C=REGULARISATION, max_iter=300).fit(weighed, true)
            self.weights[:, label] = torch.from_numpy(ratio * solved.coef_[0])
            self.bias[label] = float(solved.intercept_[0])


def ngrams(tokens_BT: Tensor, mask_BT: Tensor, buckets: int) -> tuple[Tensor, Tensor]:
    """The bucket of each n-gram of one to LONGEST tokens, (B, G), and whether all of it is text."""
    hash_BT, real_BT = torch.zeros_like(tokens_BT), torch.ones_like(mask_BT)
    ids, real = [], []
    for size in range(min(LONGEST, tokens_BT.shape[1])):
        end = tokens_BT.shape[1] - size
        # Products of 64 bits wrap around, on every machine alike.
        hash_BT = (hash_BT[:, :end] + 1 + tokens_BT[:, size:]) * 0x5851F42D4C957F2D
        real_BT = real_BT[:, :end] & mask_BT[:, size:]
        ids.append((hash_BT >> 20 & 0x7FFFFFFFFFF) % buckets)
        real.append(real_BT)
    return torch.cat(ids, 1), torch.cat(real, 1)


def _rows_of_ngrams(rows: Sequence[Sequence[int]], buckets: int) -> Iterator[np.ndarray]:
    for row in rows:
        tokens_1T = torch.tensor([list(row)])
        yield ngrams(tokens_1T, torch.ones_like(tokens_1T, dtype=torch.bool), buckets)[0][0].numpy()


class VotingClassifier(SequenceClassifier):
    """An encoder's logits and the n-grams' votes, added with a weight each; in training, the encoder learns by itself."""

    mix: Tensor

    def __init__(self, config: ModelConfig, labels: int) -> None:
        super().__init__(config, labels)
        self.votes = NgramVotes(labels)
        self.register_buffer("mix", torch.full((2,), 0.5))

    def decide(self, hidden_BTW: Tensor, tokens_BT: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        logits_BC = self.classify(hidden_BTW, attention_mask)
        if self.training:
            return logits_BC
        return self.mix[0] * logits_BC + self.mix[1] * self.votes(tokens_BT, attention_mask)


def weigh(model: nn.Module, logits: Callable[[], np.ndarray], truth: np.ndarray) -> list[Words]:
    """Decide how much the encoder and the votes count, and say it; nothing where the model has no votes.

    Args:
        logits: the model's, as it is at the time, for validation (n, C).
        truth: as `fit_mix` takes it.
    """
    if not isinstance(model, VotingClassifier):
        return []
    alone = []
    for mix in ((1.0, 0.0), (0.0, 1.0)):
        model.mix.copy_(torch.tensor(mix))
        alone.append(logits())
    encoder, votes = fit_mix((alone[0], alone[1]), truth)
    model.mix.copy_(torch.tensor((encoder, votes)))
    return [Words(f"the encoder counts {encoder:.2f}, its n-grams {votes:.2f}.", f"编码器的权重为 {encoder:.2f}，n 元组为 {votes:.2f}。")]


def fit_mix(logits: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> tuple[float, float]:
    """The weights, neither below 0, at which the sum of two models' logits (n, C) makes validation's labels likeliest.

    Args:
        truth: (n,) of indices, or (n, C) of 0 and 1.
    """
    from scipy.optimize import minimize

    one, other = (torch.from_numpy(each) for each in logits)
    labels = torch.from_numpy(truth.astype(np.int64 if truth.ndim == 1 else np.float64))
    doubt = 1 / (len(truth) + 2)  # as in `fit_temperature`: where all is right, nothing else would bound them

    def loss(mix: np.ndarray) -> float:
        mixed = float(mix[0]) * one + float(mix[1]) * other
        if labels.ndim == 1:
            return float(F.cross_entropy(mixed, labels, label_smoothing=doubt))
        return float(F.binary_cross_entropy_with_logits(mixed, labels * (1 - doubt) + doubt / 2))

    found = minimize(loss, [0.5, 0.5], method="L-BFGS-B", bounds=[(0.0, 20.0)] * 2)
    return float(found.x[0]), float(found.x[1])
