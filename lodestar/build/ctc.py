"""Connectionist temporal classification: a text from frames that each name a token, or none (the blank).

A path names one symbol a frame; without its repetitions and then its blanks it is a text, whose probability is the sum over its paths.
Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.

Axes: B batch, T frames, U tokens of a text, V vocabulary, S states of an alignment (2 · U + 1: a blank before, between and after).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ..contracts.text import UNSPACED, WORD
from ..model.beam import Hypothesis


def ctc_loss(logits_BTV: Tensor, frames_B: Tensor, targets_BU: Tensor, lengths_B: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """Minus the summed log-probability, in nats, of the texts, and how many tokens they have.

    A text that needs more frames than there are (see `frames_needed`) has no path: it counts nothing, and no gradient comes of it.

    Args:
        frames_B: real frames of each row, before the padding.
        targets_BU: the texts, padded behind with anything; `blank` is no token of a text.
        lengths_B: tokens of each.
    """
    log_probabilities_TBV = logits_BTV.float().log_softmax(-1).transpose(0, 1)
    loss = F.ctc_loss(
        log_probabilities_TBV, targets_BU, frames_B, lengths_B, blank=blank, reduction="sum", zero_infinity=True
    )  # fmt: skip
    return loss, lengths_B.sum()


def frames_needed(tokens: Sequence[int]) -> int:
    """The fewest frames that a path of this text has: one a token, and a blank between two that are the same."""
    return len(tokens) + sum(before == after for before, after in itertools.pairwise(tokens))


def collapse(path: Sequence[int], blank: int) -> list[int]:
    """The text of a path."""
    return [symbol for place, symbol in enumerate(path) if symbol != blank and (place == 0 or path[place - 1] != symbol)]


class Scorer(Protocol):
    """A language model that says how likely texts are."""

    def log_probabilities(self, texts: Sequence[str], *, whole: bool) -> Sequence[float]:
        """In nats: that a text begins with each of these; or, whole, that it is this one."""
        ...


@dataclass(frozen=True)
class Fusion:
    """Shallow fusion: log P(tokens | sound) + weight · log P(text) + bonus · words, over the words that are complete.

    Hannun et al. 2014, https://arxiv.org/abs/1408.2873, equation 2.
    """

    scorer: Scorer
    decode: Callable[[Sequence[int]], str]
    """Tokens → text."""
    weight: float = 0.5
    """α."""
    bonus: float = 0.5
    """β, in nats a word: makes good for what a language model takes off each."""


class PrefixBeam:
    """The likeliest texts, found a frame at a time; frames may come in pieces.

    Each text that is held has two sums, over the paths that end in its last token and over those that end in a blank (Hannun et al. 2014,
    algorithm 1). With beams for all texts, both are exact.

    Args:
        beams: texts that are held after each frame.
        tokens: at each frame, the likeliest so many are tried; all where None.
        least: a token below this probability at a frame is not tried there.
    """

    def __init__(self, blank: int, beams: int = 8, *, tokens: int | None = 32, least: float = 1e-5, fusion: Fusion | None = None) -> None:
        self.blank, self.beams, self.tokens, self.least, self.fusion = blank, beams, tokens, math.log(least) if least else -math.inf, fusion
        self._known: dict[tuple[str, bool], float] = {}
        self._root = _Prefix(None, blank)
        self._root.ends_blank = 0.0
        self._held = [self._root]

    def push(self, log_probabilities_TV: np.ndarray) -> None:
        """Hear (T, V) more frames."""
        for row_V in log_probabilities_TV:
            self._step(row_V)

    def results(self) -> list[Hypothesis]:
        """The texts that are held, the best first; with fusion, of whole texts."""
        scored = self._scored(self._held, whole=True)
        order = sorted(range(len(scored)), key=lambda place: -scored[place])
        return [Hypothesis(self._held[place].text(), scored[place], self._held[place].total, True) for place in order]

    def _step(self, row_V: np.ndarray) -> None:
        candidates = np.flatnonzero(row_V >= self.least)
        if self.tokens is not None and len(candidates) > self.tokens:
            candidates = candidates[np.argpartition(-row_V[candidates], self.tokens - 1)[: self.tokens]]
        tried = [(int(token), float(row_V[token])) for token in candidates if token != self.blank]
        blank = float(row_V[self.blank])
        for prefix in self._held:
            prefix.prepare()
        touched = list(self._held)
        for prefix in self._held:
            total = prefix.total
            prefix.next_blank = _add(prefix.next_blank, total + blank)
            for token, log in tried:
                again = token == prefix.token and prefix.parent is not None
                if again:
                    prefix.next_token = _add(prefix.next_token, prefix.ends_token + log)
                come = prefix.ends_blank if again else total
                if come == -math.inf:
                    continue
                longer = prefix.children.get(token)
                if longer is None:
                    longer = prefix.children[token] = _Prefix(prefix, token)
                if not longer.prepared:
                    longer.prepare()
                    touched.append(longer)
                longer.next_token = _add(longer.next_token, come + log)
        for prefix in touched:
            prefix.advance()
        if len(touched) > self.beams:
            scored = self._scored(touched, whole=False)
            order = sorted(range(len(touched)), key=lambda place: -scored[place])
            for place in order[self.beams :]:
                touched[place].forget()
            touched = [touched[place] for place in order[: self.beams]]
        self._held = [prefix for prefix in touched if prefix.total > -math.inf] or touched[:1]

    def _scored(self, prefixes: Sequence[_Prefix], *, whole: bool) -> list[float]:
        fusion = self.fusion
        if fusion is None:
            return [prefix.total for prefix in prefixes]
        texts = []
        for prefix in prefixes:
            if prefix.settled is None:
                prefix.settled = settled(fusion.decode(prefix.text()))
            texts.append(fusion.decode(prefix.text()) if whole else prefix.settled)
        unknown = [text for text in dict.fromkeys(texts) if (text, whole) not in self._known]
        if unknown:
            found = fusion.scorer.log_probabilities(unknown, whole=whole)
            self._known.update(((text, whole), score) for text, score in zip(unknown, found, strict=True))
        return [
            prefix.total + fusion.weight * self._known[text, whole] + fusion.bonus * len(WORD.findall(text))
            for prefix, text in zip(prefixes, texts, strict=True)
        ]


class _Prefix:
    """A text, as a token after another text."""

    __slots__ = ("children", "ends_blank", "ends_token", "next_blank", "next_token", "parent", "prepared", "settled", "token", "total")

    def __init__(self, parent: _Prefix | None, token: int) -> None:
        self.parent, self.token, self.prepared = parent, token, False
        self.children: dict[int, _Prefix] = {}
        self.ends_blank = self.ends_token = self.next_blank = self.next_token = -math.inf
        self.total = 0.0 if parent is None else -math.inf
        """log of the sum over all of its paths so far."""
        self.settled: str | None = None

    def prepare(self) -> None:
        self.next_blank = self.next_token = -math.inf
        self.prepared = True

    def advance(self) -> None:
        self.ends_blank, self.ends_token, self.prepared = self.next_blank, self.next_token, False
        self.total = _add(self.ends_blank, self.ends_token)

    def forget(self) -> None:
        """Its paths so far are lost; the texts that go on from it stay."""
        self.ends_blank = self.ends_token = self.total = -math.inf
        if not self.children and self.parent is not None:
            del self.parent.children[self.token]

    def text(self) -> list[int]:
        tokens: list[int] = []
        prefix = self
        while prefix.parent is not None:
            tokens.append(prefix.token)
            prefix = prefix.parent
        return tokens[::-1]


def _add(a: float, b: float) -> float:
    """log(eᵃ + eᵇ)."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


_OPEN_WORD = re.compile(rf"[^\W_{UNSPACED}]+$")


def settled(text: str) -> str:
    """As much of a text as can no longer change when it goes on: all but a last word that may be unfinished."""
    return _OPEN_WORD.sub("", text).rstrip()


class Span(NamedTuple):
    """Where a token is heard."""

    start: int
    """Its first frame."""
    end: int
    """The frame after its last."""
    log_probability: float
    """The mean over these frames."""


def align(log_probabilities_TV: np.ndarray, tokens: Sequence[int], blank: int) -> list[Span]:
    """Where each token stands on the likeliest path of a text (Viterbi).

    Raises:
        ValueError: there are fewer frames than the text needs.
    """
    frames, needed = len(log_probabilities_TV), frames_needed(tokens)
    if frames < needed:
        raise ValueError(f"{frames} frames are too few for a text that takes {needed}; give the recording that it was read from")
    if not tokens:
        return []
    symbols_S = np.full(2 * len(tokens) + 1, blank)
    symbols_S[1::2] = tokens
    # A blank may be left out between two tokens that differ.
    skips_S = np.zeros(len(symbols_S), bool)
    skips_S[3::2] = symbols_S[3::2] != symbols_S[1:-2:2]
    emitted_TS = log_probabilities_TV[:, symbols_S]
    best_S = np.full(len(symbols_S), -np.inf)
    best_S[:2] = emitted_TS[0, :2]
    steps_TS = np.zeros((frames, len(symbols_S)), np.int8)
    for frame in range(1, frames):
        come_3S = np.full((3, len(symbols_S)), -np.inf)
        come_3S[0] = best_S
        come_3S[1, 1:] = best_S[:-1]
        come_3S[2, 2:] = np.where(skips_S[2:], best_S[:-2], -np.inf)
        steps_TS[frame] = come_3S.argmax(0)
        best_S = come_3S.max(0) + emitted_TS[frame]
    state = len(symbols_S) - 1 - int(best_S[-2] > best_S[-1])
    path = np.empty(frames, np.int64)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(steps_TS[frame, state])
    spans = []
    for state in range(1, len(symbols_S), 2):
        places = np.flatnonzero(path == state)
        spans.append(Span(int(places[0]), int(places[-1]) + 1, float(emitted_TS[places, state].mean())))
    return spans


class Word(NamedTuple):
    """A word, or a character of a script without spaces, and where it is heard."""

    text: str
    start: int
    """Its first frame."""
    end: int
    """The frame after its last."""


_SPOKEN = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:['’.,:-][^\W{UNSPACED}]+)*|\S")


def words(text: str, tokens: Sequence[int], spans: Sequence[Span], decode: Callable[[Sequence[int]], str]) -> list[Word]:
    """The words of a text with the spans of their tokens; punctuation stays with the word before it.

    Args:
        text: decode(tokens).
    """
    ends = [len(decode(tokens[: count + 1]).rstrip("\ufffd")) for count in range(len(tokens))]
    found: list[Word] = []
    for match in _SPOKEN.finditer(text):
        if not WORD.search(match.group()):
            if found:
                found[-1] = found[-1]._replace(text=found[-1].text + match.group())
            continue
        first = next(place for place, end in enumerate(ends) if end > match.start())
        # A character of several tokens ends with its last; the others before it end where the text before it does.
        while first and ends[first - 1] == match.start() and ends[first - 1] == (ends[first - 2] if first > 1 else 0):
            first -= 1
        last = next(place for place, end in enumerate(ends) if end >= match.end())
        found.append(Word(match.group(), spans[first].start, spans[last].end))
    return found


def greedy(log_probabilities_TV: np.ndarray, blank: int) -> list[int]:
    """The text of the likeliest path, which is not always the likeliest text."""
    return collapse(log_probabilities_TV.argmax(-1).tolist(), blank)
