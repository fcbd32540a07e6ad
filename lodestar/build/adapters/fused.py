"""One adapter over a fused layer of theirs ↔ one each for ours.

Axes: I input width, O output width (of all of ours together: F), R rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...model.adapted import Adapter, row_norms
from ...model.frozen import Base, weight_of

Parts = Mapping[str, Tensor]
"""The tensors of an adapter: `down` (R, I), `up` (O, R), and for DoRA `magnitude` (O,)."""


def joined(bases: Sequence[Base], adapters: Sequence[Adapter | None]) -> Parts:
    """One adapter, of the scale of the first, that does what those of several layers do, of which some may have none.

    Where all share one `down`, it is theirs, too; else the several stand one above the other, and the `up` along the diagonal.
    """
    present = [adapter for adapter in adapters if adapter is not None]
    first = present[0]
    if len(present) == len(bases) and all(torch.equal(adapter.down, first.down) for adapter in present):
        parts = {"down": first.down, "up": torch.cat([_up(adapter, first.scale) for adapter in present])}
    else:
        blocks = [
            first.up.new_zeros(base.out_features, 0) if adapter is None else _up(adapter, first.scale)
            for base, adapter in zip(bases, adapters, strict=True)
        ]
        parts = {"down": torch.cat([adapter.down for adapter in present]), "up": torch.block_diag(*blocks)}
    if first.magnitude is not None:
        # What has no adapter keeps the lengths that it has.
        lengths = [
            row_norms(weight_of(base).float()) if adapter is None or adapter.magnitude is None else adapter.magnitude
            for base, adapter in zip(bases, adapters, strict=True)
        ]
        parts["magnitude"] = torch.cat(lengths)
    return {part: tensor.detach() for part, tensor in parts.items()}


def _up(adapter: Adapter, scale: float) -> Tensor:
    """`up` as it would be with another scale."""
    return adapter.up if adapter.scale == scale else adapter.up * (adapter.scale / scale)


def split(parts: Parts, heights: Sequence[int]) -> list[Parts]:
    """The inverse, for layers of these output widths: each takes its own rows."""
    rows = {part: tensor.split(list(heights)) for part, tensor in parts.items() if part != "down"}
    return [{"down": parts["down"], **{part: pieces[number] for part, pieces in rows.items()}} for number in range(len(heights))]
