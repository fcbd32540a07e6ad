"""Answers as spans of a text: the best one of all windows that the text is read in, and what is learnt of it.

After Devlin et al. 2019, https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3.

Axes: B rows, T tokens, N tokens of a window's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts import reading
from ..contracts.errors import UserError
from ..contracts.reading import Reading
from ..contracts.task import Batch, device_of
from ..contracts.tokenizer import Tokenizer
from .heads import SpanClassifier
from .measuring import batches_by_length, evaluating
from .windows import OVERLAP, Window, windows

LONGEST_ANSWER = 100
"""Characters of an answer at most, where nothing else is said."""
_STRETCH = 256
"""Starts whose spans are looked at together: memory grows with it times the window."""


class Span(NamedTuple):
    """The best answer in one text."""

    context: int
    """Which text: its place among those that were given."""
    start: int
    end: int
    """The answer is the characters text[start:end]."""
    score: float
    """The start's logit plus the end's."""
    null_score: float
    """The same of "no answer here", the least of the text's windows. The text has no answer where it exceeds `score` by a threshold."""
    probability: float
    """The start's times the end's, among all tokens of the window that the answer stands in."""
    windows: int
    """In how many the text was read."""


def best_spans(
    model: nn.Module, tokenizer: Tokenizer, question: str, contexts: Sequence[str], *, longest_answer: int = LONGEST_ANSWER,
    overlap: int = OVERLAP,
) -> list[Span]:  # fmt: skip
    """The best answer to a question in each of several texts, in their order; texts longer than the model's context are read in windows.

    Args:
        model: what the task question-answering trains.
        contexts: texts, each of them more than blanks.
        longest_answer: characters of an answer at most, but always one token.
        overlap: tokens that a window shares with the one before it, and at most half of it.

    Raises:
        UserError: the question leaves no room for a text.
    """
    pairs = [(question, context) for context in contexts]
    return best_span_of_each(model, tokenizer, pairs, longest_answer=longest_answer, overlap=overlap)


def best_span_of_each(
    model: nn.Module,
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[str, str]],
    *,
    longest_answer: int = LONGEST_ANSWER,
    overlap: int = OVERLAP,
) -> list[Span]:
    """As `best_spans`, of questions and texts in pairs; `context` is the place of the pair."""
    assert isinstance(model, SpanClassifier)
    rows: list[tuple[int, Window]] = []
    for pair, (question, context) in enumerate(pairs):
        rows += [(pair, window) for window in windows(tokenizer, question, context, model.config.context, overlap)]
    best: dict[int, Span] = {}
    device, types = device_of(model), model.config.token_types
    with evaluating(model):
        for chosen in batches_by_length([len(window.tokens) for _, window in rows]):
            logits = model(*_tensors([rows[row][1] for row in chosen], tokenizer.pad, types, device)).double().cpu().numpy()
            for row, logits_T2 in zip(chosen, logits, strict=True):
                pair, window = rows[row]
                found = _best_of(window, pairs[pair][1], logits_T2[: len(window.tokens)], longest_answer)._replace(context=pair)
                best[pair] = _better(best[pair], found) if pair in best else found
    return [best[pair] for pair in range(len(pairs))]


def read_span(
    model: nn.Module, tokenizer: Tokenizer, pair: tuple[str, str], place: tuple[int, int] | None, *, overlap: int = OVERLAP
) -> Reading:
    """The window in which a question's answer stands, for whoever explains it.

    Args:
        pair: the question and the text.
        place: the characters of the text that are the answer; None where there is none, which the first window's first token says.

    Raises:
        UserError: no window holds all of the answer.
    """
    assert isinstance(model, SpanClassifier)
    rows = windows(tokenizer, *pair, model.config.context, overlap)
    holding = [(row, found) for row in rows if place is not None and (found := row.place(*place)) != (0, 0)]
    if place is not None and not holding:
        what = f"no window of {model.config.context} tokens holds the whole answer"
        raise UserError(what, where="output", fix="give fewer words of the context")
    row, (first, last) = holding[0] if holding else (rows[0], (0, 0))
    answer = "" if place is None else pair[1][slice(*place)]
    types = np.minimum(row.token_types, max(model.config.token_types - 1, 0)).tolist() if model.config.token_types else []
    return Reading(row.tokens, reading.Span(first, last + 1), answer, token_types=types)


def span_losses(model: nn.Module, batch: Batch) -> Tensor:
    """The mean of the start's and the end's cross-entropy over the row's real tokens, in nats, for each row (B,).

    Args:
        batch: `tokens`, `attention_mask` and `token_types` (B, T), and `start` and `end` (B,), the places of the answer's first and last
            token; an answer that the row does not reach counts as none.
    """
    assert isinstance(model, SpanClassifier)
    mask_BT = batch["attention_mask"]
    logits_BT2 = model(batch["tokens"], mask_BT, clipped(batch["token_types"], model.config.token_types)).float()
    logits_B2T = logits_BT2.masked_fill(~mask_BT[..., None], -torch.inf).mT
    places_B2 = torch.stack((batch["start"], batch["end"]), dim=1)
    inside_B1 = (places_B2 < mask_BT.sum(1, keepdim=True)).all(1, keepdim=True)
    return F.cross_entropy(logits_B2T.flatten(0, 1), (places_B2 * inside_B1).flatten(), reduction="none").view(-1, 2).mean(1)


def clipped(token_types: Tensor, count: int) -> Tensor | None:
    """Token types for a model that has `count` of them."""
    return token_types.clamp(max=count - 1) if count else None


def _tensors(rows: Sequence[Window], pad: int, types: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """Tokens, attention mask and token types (B, T) of rows, padded to the longest."""
    longest = max(len(row.tokens) for row in rows)
    tokens_BT = torch.tensor([row.tokens + [pad] * (longest - len(row.tokens)) for row in rows], device=device)
    types_BT = torch.tensor([row.token_types + [0] * (longest - len(row.tokens)) for row in rows], device=device)
    lengths_B = torch.tensor([len(row.tokens) for row in rows], device=device)
    return tokens_BT, torch.arange(longest, device=device) < lengths_B[:, None], clipped(types_BT, types)


def _best_of(window: Window, text: str, logits_T2: np.ndarray, longest_answer: int) -> Span:
    """The best span of one window; its score is minus infinity where the window holds blanks alone."""
    starts_N, ends_N = np.array(window.offsets, dtype=np.int64).reshape(-1, 2).T
    inside_N2 = logits_T2[window.first : window.first + len(starts_N)]
    blank_N = np.array([not text[start:end].strip() for start, end in window.offsets], dtype=bool)
    within_N2 = np.array([(_within_word(text, start), _within_word(text, end)) for start, end in window.offsets], dtype=bool).reshape(-1, 2)
    score = -np.inf
    for forbidden_N2 in (blank_N[:, None] | within_N2, np.tile(blank_N[:, None], 2)):
        if score == -np.inf:  # no word of the window begins and ends in it: then parts of one
            start_N, end_N = np.where(forbidden_N2, -np.inf, inside_N2).T
            first, last, score = _best_pair(start_N, end_N, starts_N, ends_N, longest_answer)
    null_score, whole = float(logits_T2[0].sum()), np.logaddexp.reduce(logits_T2, axis=0).sum()
    if score == -np.inf:
        return Span(0, 0, 0, score, null_score, 0.0, 1)
    start, end = int(starts_N[first]), int(ends_N[last])
    found = text[start:end]
    start, end = start + len(found) - len(found.lstrip()), end - len(found) + len(found.rstrip())
    return Span(0, start, end, score, null_score, float(np.exp(score - whole)), 1)


def _within_word(text: str, place: int) -> bool:
    """Whether no answer begins or ends at a place: between two letters of a script with capitals, or two digits.

    measured: of 6,700 answers of XQuAD (en, de, zh) and CMRC 2018, 4 do. Scripts without capitals join particles to their words.
    """
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return (before.isdecimal() and after.isdecimal()) or (before.lower() != before.upper() and after.lower() != after.upper())


def _best_pair(start_N: np.ndarray, end_N: np.ndarray, starts_N: np.ndarray, ends_N: np.ndarray, longest: int) -> tuple[int, int, float]:
    """The tokens i ≤ j of the highest start_N[i] + end_N[j] among the spans of at most `longest` characters, or of one token."""
    count = len(start_N)
    best = (0, 0, -np.inf)
    places = np.arange(count)
    limits_N = np.maximum(np.searchsorted(ends_N, starts_N + longest, side="right"), places + 1)
    for at in range(0, count, _STRETCH):
        stretch = places[at : at + _STRETCH]
        upto = int(limits_N[stretch].max())
        allowed = (places[at:upto] >= stretch[:, None]) & (places[at:upto] < limits_N[stretch, None])
        scores = np.where(allowed, start_N[stretch, None] + end_N[at:upto], -np.inf)
        row, column = divmod(int(scores.argmax()), scores.shape[1])
        if scores[row, column] > best[2]:
            best = (at + row, at + column, float(scores[row, column]))
    return best


def _better(one: Span, other: Span) -> Span:
    """Of two windows of one text: the better span, the lesser score of none, and both windows."""
    better = one if one.score >= other.score else other
    return better._replace(null_score=min(one.null_score, other.null_score), windows=one.windows + other.windows)
