"""The items whose vectors point most in the direction of a state: one product over the whole catalogue, and its largest numbers.

A catalogue too large for the processor's cache is read from memory for each answer, so its vectors are first gone over as codes of 8
bits, a quarter of the bytes; what comes out on top is scored again as it is. Measured beside indexes that do not look at every item:
decisions/0007-top-items.md.

Axes: I items, W model width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..model import native
from .quantize import SMALLEST_GROUP, coded

CODED_FROM = 100_000
"""Items from which on codes are gone over first. # measured: bench/top_items 2026-12"""
LOOKED_AT_AGAIN = 4
"""So many times the items asked for, at least `CANDIDATES`, are scored again as they are."""
CANDIDATES = 64


class TopItems:
    """The vectors of a catalogue (I, W), float32, and where there are many, their codes."""

    def __init__(self, vectors_IW: Tensor) -> None:
        self.vectors_IW = vectors_IW
        count, width = vectors_IW.shape
        on_cpu = vectors_IW.device.type == "cpu"
        use_codes = on_cpu and native.library() is not None and count >= CODED_FROM and width >= SMALLEST_GROUP and width % 2 == 0
        self._codes = coded(vectors_IW, None, "int8", width) if use_codes else None

    def scores(self, state_W: Tensor) -> Tensor:
        """The dot product with every item, (I,)."""
        product = native.linear(state_W[None].contiguous(), self.vectors_IW, None) if state_W.device.type == "cpu" else None
        return state_W @ self.vectors_IW.mT if product is None else product[0]

    def best(self, state_W: Tensor, count: int, without: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """The dot products and the items of the largest ones, the largest first (≤ count,).

        Args:
            state_W: float32.
            without: items that are left out.
        """
        banned = torch.tensor(sorted(set(without)), dtype=torch.long, device=state_W.device)
        most = min(count, len(self.vectors_IW) - len(banned))
        if self._codes is None:
            return _largest(self.scores(state_W), most, banned)
        again = min(max(LOOKED_AT_AGAIN * most, CANDIDATES), len(self.vectors_IW) - len(banned))
        with torch.no_grad():
            _, candidates = _largest(self._codes(state_W[None])[0], again, banned)
        candidates = candidates.sort().values  # of equal scores, the earlier item is the first, as without codes
        values, places = (self.vectors_IW[candidates] @ state_W).sort(descending=True, stable=True)
        return values[:most], candidates[places[:most]]


def _largest(scores_I: Tensor, count: int, banned: Tensor) -> tuple[Tensor, Tensor]:
    if count <= 0:
        return scores_I[:0], torch.empty(0, dtype=torch.long, device=scores_I.device)
    with torch.no_grad():
        found = native.best(scores_I[None].contiguous(), count, banned)
    if found is not None:
        items = found[1][0]
        return scores_I[items], items
    scores_I = scores_I.clone()
    scores_I[banned] = -torch.inf
    values, items = scores_I.topk(count)
    return values, items
