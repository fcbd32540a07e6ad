"""The items whose vectors point most in the direction of a state: one product over the whole catalogue, and its largest numbers.

A catalogue too large for the processor's cache is read from memory for each answer, so it is first gone over in codes of 8 bits, a
quarter of the bytes; what comes out on top is scored again as it is. Measured beside indexes that do not look at every item:
decisions/0007-top-items.md.

Axes: I items, W model width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..model import native

CODED_FROM = 100_000
"""Items from which on codes are gone over first."""
AGAIN, AGAIN_AT_LEAST = 8, 128
"""So many times the items asked for, and at least so many, are scored again. # measured: bench/top_items 2026-12, recall 1 of a million"""
_LARGEST_CODE = 127


class TopItems:
    """The vectors of a catalogue (I, W), float32, and where there are many, their codes."""

    def __init__(self, vectors_IW: Tensor) -> None:
        self.vectors_IW = vectors_IW
        self._codes: tuple[Tensor, Tensor] | None = None
        if vectors_IW.device.type == "cpu" and len(vectors_IW) >= CODED_FROM:
            scales_I1 = vectors_IW.abs().amax(1, keepdim=True).clamp(min=1e-12) / _LARGEST_CODE
            self._codes = (vectors_IW / scales_I1).round_().to(torch.int8), scales_I1[:, 0]

    @property
    def memory_bytes(self) -> int:
        """What vectors and codes take."""
        return sum(tensor.nbytes for tensor in (self.vectors_IW, *(self._codes or ())))

    def scores(self, state_W: Tensor) -> Tensor:
        """The dot product with every item, (I,)."""
        return self.vectors_IW @ state_W

    def best(self, state_W: Tensor, count: int, without: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """The dot products and the items of the largest ones, the largest first, of equal ones the earlier item (≤ count,).

        Args:
            state_W: float32.
            without: items that are left out.
        """
        banned = torch.tensor(sorted(set(without)), dtype=torch.long, device=state_W.device)
        left = len(self.vectors_IW) - len(banned)
        if self._codes is None:
            return _largest(self.scores(state_W), min(count, left), banned)
        _, candidates = _largest(self._rough_scores(state_W), min(max(AGAIN * count, AGAIN_AT_LEAST), left), banned)
        candidates = candidates.sort().values
        values, places = (self.vectors_IW[candidates] @ state_W).sort(descending=True, stable=True)
        return values[:count], candidates[places[:count]]

    def _rough_scores(self, state_W: Tensor) -> Tensor:
        """The dot products of the codes, by a factor that all items share (I,)."""
        assert self._codes is not None
        codes_IW, scales_I = self._codes
        coded_W = (state_W * (_LARGEST_CODE / state_W.abs().max().clamp(min=1e-12))).round().to(torch.int8)
        # What torchao multiplies by, too: whole numbers, summed in 32 bits.
        return torch._int_mm(codes_IW, coded_W[:, None])[:, 0].float().mul_(scales_I)


def _largest(scores_I: Tensor, count: int, banned: Tensor) -> tuple[Tensor, Tensor]:
    if count <= 0:
        return scores_I[:0], torch.empty(0, dtype=torch.long, device=scores_I.device)
    with torch.no_grad():
        found = native.best(scores_I[None].contiguous(), count, banned)
    if found is not None:
        items = found[1][0]
        return scores_I[items], items
    values, items = scores_I.index_fill(0, banned, -torch.inf).topk(count)
    return values, items
