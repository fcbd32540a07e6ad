"""Beam search, batched over sentences.

A hypothesis Y of |Y| tokens, its end mark counted, scores log P(Y) / lp(|Y|). Each step keeps, of each sentence, the likeliest `beams`
unfinished hypotheses by log P; a finished one is kept where it ranks among the likeliest `beams` candidates of its step, as in fairseq and
transformers. Beams of 1 are greedy decoding.

Axes: A sentences not done, B sentences, K hypotheses of a sentence, R rows (A · K), C candidates, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from . import native


class Step(Protocol):
    """What decodes a token for many rows at a time, and keeps what it needs of the tokens before."""

    def begin(self) -> Tensor:
        """The logits (B, V) of the first token of each sentence: a row each."""
        ...

    def next(self, tokens_R: Tensor) -> Tensor:
        """The logits (R, V) after one more token in each row."""
        ...

    def reorder(self, rows_R: Tensor, *, same_sources: bool) -> None:
        """Row r goes on where row rows_R[r] was; rows may be dropped, and repeated.

        Args:
            same_sources: there are as many rows as before, and each reads the same source as before.
        """
        ...


@dataclass(frozen=True)
class BeamSettings:
    """How hypotheses are searched and compared."""

    beams: int = 4
    length_penalty: float = 1.0
    """α, below; 0 compares sums, which favours short hypotheses. Of no effect on greedy decoding."""
    normalization: Literal["power", "gnmt"] = "power"
    """lp(n) = n^α, as in fairseq and transformers; or ((5 + n) / 6)^α: Wu et al. 2016, https://arxiv.org/abs/1609.08144, equation 14."""
    stopping: Literal["exact", "usual"] = "exact"
    """exact: a sentence is done once no unfinished hypothesis can come to score better than the finished ones that are asked for: the same
    answer as going on to the limit. usual: once `beams` are finished and no unfinished one scores better at its present length than all of
    these, as in transformers: sooner, and the best is seldom missed."""
    unrepeated: int = 0
    """n: no n tokens stand twice in a hypothesis in the same order (Paulus et al. 2018, https://arxiv.org/abs/1705.04304, section 2.5); 0
    leaves it to the model."""

    def penalty(self, length: int) -> float:
        """lp(length)."""
        if self.beams == 1:
            return 1.0
        return (length if self.normalization == "power" else (5 + length) / 6) ** self.length_penalty


class Hypothesis(NamedTuple):
    """One way to write a sentence."""

    tokens: list[int]
    """Without the end mark."""
    score: float
    log_probability: float
    finished: bool
    """Whether the model ended it; else it was cut at its limit."""


def best_continuations(logits_RV: Tensor, count: int, banned_V: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The log-probabilities and ids (R, count) of each row's likeliest tokens, the likeliest first; banned ones only where none is left."""
    if banned_V is None or banned_V.device.type == "cpu":
        banned = torch.empty(0, dtype=torch.long) if banned_V is None else banned_V.nonzero().flatten()
        found = native.best(logits_RV, count, banned)
        if found is not None:
            return found
    logits_RV = logits_RV.float()
    normalizers_R1 = logits_RV.logsumexp(-1, keepdim=True)
    if banned_V is not None:
        logits_RV = logits_RV.masked_fill(banned_V, -torch.inf)
    values_RC, ids_RC = logits_RV.topk(min(count, logits_RV.shape[1]), dim=-1)
    return values_RC - normalizers_R1, ids_RC


@torch.inference_mode()
def beam_search(
    step: Step,
    limits: Sequence[int],
    ends: Collection[int],
    settings: BeamSettings,
    *,
    best: int = 1,
    banned_V: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """The `best` hypotheses of each sentence, the best first; at least one, cut at its limit where none was finished.

    Args:
        step: at its beginning.
        limits: of each sentence, the tokens that a hypothesis may have, its end mark counted; at least 1.
        ends: the tokens that end a hypothesis.
        best: at most `settings.beams`.
        banned_V: True on tokens that no hypothesis holds; their probability is lost.
    """
    logits_RV = step.begin()
    search = _Search(limits, ends, settings, best, logits_RV.device)
    while True:
        count, repeating_RP = settings.beams * (1 + len(ends)), search.repeating()
        if repeating_RP is not None:
            count += int((repeating_RP >= 0).sum(1).max())
        values_RC, ids_RC = best_continuations(logits_RV, count, banned_V)
        if repeating_RP is not None:
            values_RC = values_RC.masked_fill((ids_RC[:, :, None] == repeating_RP[:, None]).any(-1), -torch.inf)
        rows_R, same_sources = search.advance(values_RC, ids_RC)
        if not len(rows_R):
            return search.results()
        step.reorder(rows_R, same_sources=same_sources)
        logits_RV = step.next(search.written_AKT[:, :, -1].flatten())


@dataclass
class _Kept:
    """The finished hypotheses of a sentence."""

    most: int
    hypotheses: list[Hypothesis] = field(default_factory=list)

    def add(self, hypothesis: Hypothesis) -> None:
        self.hypotheses.append(hypothesis)
        self.hypotheses.sort(key=lambda one: -one.score)  # stable: of equals, the first found is the better
        del self.hypotheses[self.most :]

    def score(self, rank: int) -> float:
        """Of the hypothesis of this rank, from 1."""
        return self.hypotheses[rank - 1].score if len(self.hypotheses) >= rank else -math.inf


class _Search:
    """The hypotheses of all sentences: finished ones as lists, the others as tensors."""

    def __init__(self, limits: Sequence[int], ends: Collection[int], settings: BeamSettings, best: int, device: torch.device) -> None:
        self.settings, self.limits, self.best, self.length = settings, list(limits), best, 0
        self.kept = [_Kept(max(best, settings.beams)) for _ in limits]
        self.ends = torch.tensor(sorted(ends), device=device)
        self.sentences = list(range(len(limits)))
        """The sentences that are not done (A)."""
        self.log_AK = torch.zeros(len(limits), 1, device=device)
        self.written_AKT = torch.empty(len(limits), 1, 0, dtype=torch.long, device=device)

    def advance(self, values_RC: Tensor, ids_RC: Tensor) -> tuple[Tensor, bool]:
        """Take each row's continuations; returns the row that each of the next step's goes on from, none when all is done, and whether
        every row's sentence is the one that it was.
        """
        beams, (sentences, before) = self.settings.beams, self.log_AK.shape
        self.length += 1
        every = (self.log_AK.flatten()[:, None] + values_RC).view(sentences, -1)
        log_AC, places_AC = every.topk(min(beams * (1 + len(self.ends)), every.shape[1]), dim=1)
        tokens_AC = ids_RC.view(sentences, -1).gather(1, places_AC)
        parents_AC = places_AC // values_RC.shape[1]
        ended_AC = torch.isin(tokens_AC, self.ends)
        self._finish(log_AC, parents_AC, ended_AC)
        # The likeliest that go on, in their order. Where too few do (a tiny vocabulary), ended ones fill up, as impossible.
        going_AK = ended_AC.long().argsort(dim=1, stable=True)[:, :beams]
        log_AK = log_AC.masked_fill(ended_AC, -torch.inf).gather(1, going_AK)
        parents_AK, tokens_AK = parents_AC.gather(1, going_AK), tokens_AC.gather(1, going_AK)
        longer = self.written_AKT.gather(1, parents_AK[:, :, None].expand(-1, -1, self.length - 1))
        written_AKT = torch.cat((longer, tokens_AK[:, :, None]), dim=2)
        going = [number for number, best in enumerate(log_AK[:, 0].tolist()) if not self._done(number, best, written_AKT)]
        rows_AK = parents_AK + before * torch.arange(sentences, device=parents_AK.device)[:, None]
        same = len(going) == sentences and log_AK.shape[1] == before
        if len(going) < sentences:
            chosen = torch.tensor(going, dtype=torch.long, device=rows_AK.device)
            rows_AK, log_AK, written_AKT = rows_AK[chosen], log_AK[chosen], written_AKT[chosen]
            self.sentences = [self.sentences[number] for number in going]
        self.log_AK, self.written_AKT = log_AK, written_AKT
        return rows_AK.flatten(), same

    def repeating(self) -> Tensor | None:
        """The tokens (R, P) that would make a row repeat itself, -1 for none; None where nothing can be repeated yet."""
        n, written_RT = self.settings.unrepeated, self.written_AKT.flatten(0, 1)
        if not n or written_RT.shape[1] < n:
            return None
        stretches_RPN = written_RT.unfold(1, n, 1)
        same_RP = (stretches_RPN[..., :-1] == written_RT[:, None, written_RT.shape[1] - n + 1 :]).all(-1)
        return stretches_RPN[..., -1].masked_fill(~same_RP, -1)

    def results(self) -> list[list[Hypothesis]]:
        return [kept.hypotheses[: self.best] for kept in self.kept]

    def _finish(self, log_AC: Tensor, parents_AC: Tensor, ended_AC: Tensor) -> None:
        """Keep what ended among the likeliest `beams`."""
        found = (ended_AC & log_AC.isfinite())[:, : self.settings.beams].nonzero().tolist()
        if not found:
            return
        penalty = self.settings.penalty(self.length)
        for number, rank in found:
            log_probability = float(log_AC[number, rank])
            tokens = self.written_AKT[number, int(parents_AC[number, rank])].tolist()
            self.kept[self.sentences[number]].add(Hypothesis(tokens, log_probability / penalty, log_probability, True))

    def _done(self, number: int, best: float, written_AKT: Tensor) -> bool:
        """Whether a sentence, whose likeliest unfinished hypothesis has the log-probability `best`, is done."""
        kept, limit = self.kept[self.sentences[number]], self.limits[self.sentences[number]]
        if self.length >= limit or best == -math.inf:
            if not kept.hypotheses:
                kept.add(Hypothesis(written_AKT[number, 0].tolist(), best / self.settings.penalty(self.length), best, False))
            return True
        if self.settings.stopping == "usual":
            return best / self.settings.penalty(self.length) <= kept.score(self.settings.beams)
        # A log-probability only falls, and is divided by lp of a length between the next and the limit: lp is monotonic.
        return max(best / self.settings.penalty(length) for length in (self.length + 1, limit)) <= kept.score(self.best)
