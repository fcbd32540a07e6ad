"""What is explained: one answer of one model to one text. Which tokens were read, and which number of the output stands for the answer.

The number is always the mean log-probability, in nats, of what the answer is made of: one label, the tokens of a written text, the two ends
of a span, one text of several. Its exponential, the answer's probability (for a written text, the geometric mean over its tokens), is what
curves show.

Axes: B rows, T tokens of the text that is explained, U tokens of the decoder beside it, W model width, C classes, V vocabulary.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..build.embed import PASSAGE, QUESTION, TextEncoder, embed_tokens
from ..build.heads import SequenceClassifier, TokenClassifier
from ..build.measuring import batches_by_length, evaluating
from ..build.ngram_votes import VotingClassifier
from ..contracts.errors import UserError
from ..contracts.progress import track
from ..contracts.reading import Label, Nearest, Reading, Span, Written
from ..contracts.task import device_of
from ..model.transformer import Transformer
from .attention import AttentionMaps, attention_maps, transformer_of
from .steps import Steps

PASS_TOKENS = 1024
"""Tokens of one pass without gradients, padding included: one step, as long as others wait for their turn.
# measured 2026-12: 0.14 s of a CPU core at 5M parameters, and no less in all with twice as many"""


@dataclass(frozen=True)
class Subject(ABC):
    """An answer and the text that it was given to."""

    model: nn.Module
    reading: Reading
    pad: int
    """What fills rows of unlike length; never attended to."""

    @property
    @abstractmethod
    def tokens(self) -> Sequence[int]:
        """What is explained, (T,): the text of the only stack, or what an encoder-decoder's encoder read."""

    @property
    def fixed(self) -> frozenset[int]:
        """Of the places of `tokens`, those that the answer needs, and so never taken away."""
        return frozenset()

    @abstractmethod
    def scores(self, embeddings_BTW: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
        """The answer's log-probability in each row, (B,).

        Args:
            embeddings_BTW: of the tokens left in each row, at its beginning.
            mask_BT: True on them, False on what fills the row.
            places_BT: which of `tokens` each one is.
        """

    @abstractmethod
    def read(self) -> AttentionMaps:
        """The attention weights of reading all of it."""

    @abstractmethod
    def readers(self) -> Tensor:
        """How much each row of the last layer's states counts in the answer, summing to one: of `tokens` (T,), or of the decoder's (U,)."""

    def embeddings(self, tokens: Tensor) -> Tensor:
        """Ids → what the first layer is given, without positions and types."""
        transformer = transformer_of(self.model)
        assert transformer.reading_embedding is not None
        embedded = transformer.reading_embedding(tokens)
        return embedded * math.sqrt(transformer.config.width) if transformer.config.scaled_embeddings else embedded

    def average_embedding(self) -> Tensor:
        """The mean of `embeddings` over the vocabulary, (W,): a word that says nothing."""
        embedding = transformer_of(self.model).reading_embedding
        assert embedding is not None
        return self.embeddings(torch.arange(embedding.num_embeddings, device=device_of(self.model))).mean(0)

    def way(self, is_word_T: Tensor) -> tuple[Tensor, Tensor]:
        """The two ends of the way that gradients are integrated along, (T, W) each: the text as it is, and one whose words all are the
        average of the vocabulary.

        A token that no training text held may stand for an answer by accident: as the beginning of the way, padding gave areas under the
        deletion curve of 0.48 in place of 0.42 on the classification sample, and nothing at all where it alone gave the answer.
        # measured 2026-11, one model

        Args:
            is_word_T: True on tokens of words, False on marks and on the answer, which are the same at both ends.
        """
        with torch.no_grad():
            inputs_TW = self.embeddings(torch.tensor([*self.tokens], device=is_word_T.device))
            return inputs_TW, torch.where(is_word_T[:, None], self.average_embedding(), inputs_TW)

    def scores_on_the_way(self, rows_ATW: Tensor) -> Tensor:
        """The answer's log-probability at points of the way, (A, T, W) → (A,); gradients flow through it."""
        places_AT = torch.arange(rows_ATW.shape[1], device=rows_ATW.device).expand(rows_ATW.shape[:2])
        return self.scores(rows_ATW, torch.ones_like(places_AT, dtype=torch.bool), places_AT)

    def log_probabilities(self, kept: Sequence[Sequence[int]], *, progress: bool = False) -> Steps[np.ndarray]:
        """The answer's log-probability where only the tokens at these places (at least one) are left, a row each.

        Args:
            progress: show a bar where it takes long.
        """
        batches = batches_by_length([len(places) for places in kept], PASS_TOKENS)
        found = np.empty(len(kept))
        for batch in track(batches, "taking words away", "batch") if progress else batches:
            found[batch] = self._scores_of([kept[row] for row in batch])
            yield
        return found

    def _scores_of(self, kept: Sequence[Sequence[int]]) -> np.ndarray:
        """One pass of `log_probabilities`; the last row is the longest."""
        device, longest = device_of(self.model), len(kept[-1])
        with evaluating(self.model):
            lengths_B = torch.tensor([len(places) for places in kept], device=device)
            places_BT = torch.tensor([[*places] + [-1] * (longest - len(places)) for places in kept], device=device)
            mask_BT = torch.arange(longest, device=device) < lengths_B[:, None]
            ids_BT = torch.tensor([*self.tokens, self.pad], device=device)[places_BT]
            return self.scores(self.embeddings(ids_BT), mask_BT, places_BT).double().cpu().numpy()


@dataclass(frozen=True)
class LabelSubject(Subject):
    """The label that a classifier gave."""

    label: Label

    @property
    def tokens(self) -> Sequence[int]:
        return self.reading.tokens

    def scores(self, embeddings_BTW: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
        assert isinstance(self.model, SequenceClassifier)
        hidden_BTW = self.model.transformer.hidden(embeddings=embeddings_BTW, attention_mask=mask_BT)
        ids_BT = torch.tensor([*self.tokens, self.pad], device=places_BT.device)[places_BT]
        return self._chances(self.model.decide(hidden_BTW, ids_BT, mask_BT))

    def _chances(self, logits_BC: Tensor) -> Tensor:
        scaled_BC = logits_BC.float() / self.label.temperature
        if self.label.exclusive:
            return scaled_BC.log_softmax(-1)[:, self.label.index]
        return nn.functional.logsigmoid(scaled_BC[:, self.label.index])

    def read(self) -> AttentionMaps:
        return _read(self.model, self.tokens)

    def readers(self) -> Tensor:
        assert isinstance(self.model, SequenceClassifier)
        shares_T = torch.zeros(len(self.tokens), dtype=torch.float64)
        if self.model.shape.pooling == "first":
            shares_T[0] = 1
            return shares_T
        return shares_T + 1 / len(self.tokens)


@dataclass(frozen=True)
class VotedLabelSubject(LabelSubject):
    """The label that an encoder gave together with the votes of n-grams, which have no attention, but their part in the answer.

    Behind its embedding, each token's input holds what its n-grams add to the logits: at the beginning of the way nothing.
    """

    def way(self, is_word_T: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(self.model, VotingClassifier)
        inputs_TW, baseline_TW = super().way(is_word_T)
        with torch.no_grad():
            votes_TC = self.model.shares(torch.tensor([*self.tokens], device=is_word_T.device)).to(inputs_TW.dtype)
        return torch.cat((inputs_TW, votes_TC), 1), torch.cat((baseline_TW, votes_TC.masked_fill(is_word_T[:, None], 0)), 1)

    def scores_on_the_way(self, rows_ATW: Tensor) -> Tensor:
        assert isinstance(self.model, VotingClassifier)
        embeddings_ATW, votes_ATC = rows_ATW.split((self.model.config.width, len(self.label.names)), -1)
        logits_AC = self.model.classify(self.model.transformer.hidden(embeddings=embeddings_ATW))
        return self._chances(self.model.mix[0] * logits_AC + votes_ATC.sum(1) + self.model.vote_bias)


@dataclass(frozen=True)
class SpanSubject(Subject):
    """The span of the text that an extractive reader chose: its first token and its last one."""

    span: Span

    @property
    def tokens(self) -> Sequence[int]:
        return self.reading.tokens

    @property
    def fixed(self) -> frozenset[int]:
        return frozenset(range(self.span.start, self.span.end))

    def scores(self, embeddings_BTW: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
        assert isinstance(self.model, TokenClassifier)
        types = None
        if self.reading.token_types:
            types = torch.tensor([*self.reading.token_types, 0], device=places_BT.device)[places_BT]
        hidden_BTW = self.model.transformer.hidden(embeddings=embeddings_BTW, attention_mask=mask_BT, token_types=types)
        logits_BT2 = self.model.output(self.model.projection(hidden_BTW)).float().masked_fill(~mask_BT[..., None], -torch.inf)
        chances_BT2 = logits_BT2.log_softmax(1)
        ends = (self.span.start, self.span.end - 1)
        return torch.stack([chances_BT2[..., side][places_BT == place] for side, place in enumerate(ends)]).mean(0)

    def read(self) -> AttentionMaps:
        return _read(self.model, self.tokens, self.reading.token_types)

    def readers(self) -> Tensor:
        shares_T = torch.zeros(len(self.tokens), dtype=torch.float64)
        for place in (self.span.start, self.span.end - 1):
            shares_T[place] += 0.5
        return shares_T


@dataclass(frozen=True)
class NearestSubject(Subject):
    """The text that an encoder placed nearest to another one: its probability is the softmax over all of those it was chosen from, at the
    temperature that the encoder was trained with.
    """

    nearest: Nearest
    others: Tensor
    """The unit vectors of the texts that were not chosen, (N, W)."""

    @property
    def tokens(self) -> Sequence[int]:
        return self.reading.tokens

    @property
    def fixed(self) -> frozenset[int]:
        """The last token of either text, its mark: of no token there is no vector."""
        return frozenset({self.nearest.start - 1, len(self.tokens) - 1})

    @property
    def parts(self) -> list[int]:
        """Which text each token is of."""
        return [QUESTION if place < self.nearest.start else PASSAGE for place in range(len(self.tokens))]

    def scores(self, embeddings_BTW: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
        assert isinstance(self.model, TextEncoder)
        part_BT = torch.tensor([*self.parts, 0], device=mask_BT.device)[places_BT]
        vectors_B2W, _ = self.model.parts(None, part_BT, embeddings=embeddings_BTW)
        own_BW, chosen_BW = vectors_B2W.unbind(1)
        near_BN = torch.cat(((own_BW * chosen_BW).sum(-1, keepdim=True), own_BW @ self.others.T), 1)
        return (near_BN * self.model.scale).log_softmax(-1)[:, 0]

    def read(self) -> AttentionMaps:
        assert isinstance(self.model, TextEncoder)
        tokens_1T, part_1T = (torch.tensor([list(each)], device=device_of(self.model)) for each in (self.tokens, self.parts))
        with evaluating(self.model), attention_maps(self.model) as maps:
            self.model.parts(tokens_1T, part_1T)
        return maps

    def readers(self) -> Tensor:
        part_T = torch.tensor(self.parts)
        return sum((part_T == part).double() / (part_T == part).sum() / 2 for part in (QUESTION, PASSAGE))  # type: ignore[return-value]


@dataclass(frozen=True)
class WrittenSubject(Subject):
    """What a decoder wrote after a text: the next token, or several. What it read again of them stands behind the text, and stays."""

    written: Written

    @property
    def tokens(self) -> Sequence[int]:
        return self.reading.tokens[:-1]

    @property
    def fixed(self) -> frozenset[int]:
        """The output, and the first token: something must stand before the output."""
        return frozenset({0, *range(self.written.start, len(self.tokens))})

    def scores(self, embeddings_BTW: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
        assert isinstance(self.model, Transformer)
        # Filling on the right needs no mask: no token sees what comes after it.
        hidden_BTW = self.model.hidden(embeddings=embeddings_BTW)
        wanted = torch.tensor(self.reading.tokens[self.written.start :], device=mask_BT.device)
        rows, first_B = torch.arange(len(mask_BT), device=mask_BT.device), mask_BT.sum(-1) - len(wanted)
        found = torch.zeros(len(mask_BT), device=mask_BT.device)
        for step, one in enumerate(wanted):
            found = found + self.model.logits(hidden_BTW[rows, first_B + step]).float().log_softmax(-1)[:, one]
        return found / len(wanted)

    def read(self) -> AttentionMaps:
        return _read(self.model, self.tokens)

    def readers(self) -> Tensor:
        shares_T = torch.zeros(len(self.tokens), dtype=torch.float64)
        shares_T[self.written.start - 1 :] = 1 / (len(self.tokens) - self.written.start + 1)
        return shares_T


@dataclass(frozen=True)
class TranslatedSubject(Subject):
    """What an encoder-decoder wrote about what it read: the source's tokens are explained, the decoder's stay."""

    written: Written

    @property
    def tokens(self) -> Sequence[int]:
        return self.reading.source

    def scores(self, embeddings_BTW: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
        assert isinstance(self.model, Transformer)
        memory_BTW = self.model.encode(None, mask_BT, embeddings=embeddings_BTW)
        given_BU = torch.tensor([self.reading.tokens[:-1]], device=mask_BT.device).expand(len(mask_BT), -1)
        hidden_BUW = self.model.hidden(given_BU, memory=memory_BTW, source_mask=mask_BT)[:, self.written.start - 1 :]
        wanted_1U1 = torch.tensor([self.reading.tokens[self.written.start :]], device=mask_BT.device)[..., None]
        chances_BUV = self.model.logits(hidden_BUW).float().log_softmax(-1)
        return chances_BUV.gather(-1, wanted_1U1.expand(len(mask_BT), -1, -1))[..., 0].mean(-1)

    def read(self) -> AttentionMaps:
        assert isinstance(self.model, Transformer)
        device = device_of(self.model)
        with evaluating(self.model), attention_maps(self.model) as maps:
            self.model.hidden(
                torch.tensor([self.reading.tokens[:-1]], device=device), source_tokens=torch.tensor([self.reading.source], device=device)
            )
        return maps

    def readers(self) -> Tensor:
        shares_U = torch.zeros(len(self.reading.tokens) - 1, dtype=torch.float64)
        shares_U[self.written.start - 1 :] = 1 / (len(shares_U) - self.written.start + 1)
        return shares_U


def subject_of(model: nn.Module, reading: Reading, pad: int) -> Subject:
    """The subject that a model of this kind has.

    Raises:
        UserError: there is no way to explain the answers of such a model yet.
    """
    asked = reading.asked
    if isinstance(asked, Label) and isinstance(model, VotingClassifier):
        return VotedLabelSubject(model, reading, pad, asked)
    if isinstance(asked, Label) and isinstance(model, SequenceClassifier):
        return LabelSubject(model, reading, pad, asked)
    if isinstance(asked, Span) and isinstance(model, TokenClassifier):
        return SpanSubject(model, reading, pad, asked)
    if isinstance(asked, Nearest) and isinstance(model, TextEncoder):
        vectors = embed_tokens(model, pad, asked.others)
        with torch.inference_mode(False):  # gradients flow beside them
            others_NW = torch.from_numpy(vectors).to(device_of(model))
        return NearestSubject(model, reading, pad, asked, others_NW)
    if isinstance(asked, Written) and isinstance(model, Transformer):
        if model.encoder is not None and model.decoder is not None:
            return TranslatedSubject(model, reading, pad, asked)
        if model.decoder is not None:
            return WrittenSubject(model, reading, pad, asked)
    raise UserError(
        f"the answers of a {type(model).__name__} cannot be explained", fix="explain a decoder, an encoder-decoder or a classifier"
    )


def _read(model: nn.Module, tokens: Sequence[int], types: Sequence[int] = ()) -> AttentionMaps:
    device = device_of(model)
    with evaluating(model), attention_maps(model) as maps:
        transformer_of(model).hidden(
            torch.tensor([list(tokens)], device=device), token_types=torch.tensor([list(types)], device=device) if types else None
        )
    return maps
