"""Which source words an output word was written from, by cross-attention.

Heads count alike, and the layer is the last but one: of a translation model's layers the one whose mean over heads comes closest to the
alignments that people draw (Garg et al. 2019, https://arxiv.org/abs/1909.02074, section 4.1). Cross-attention was trained to translate, not
to align: a word may be written from what its neighbours' states know of it.

Axes: B batch, H heads, U output tokens, S source tokens, N output words, M source words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .attention import AttentionMaps
from .words import Word, to_words


def alignment(maps: AttentionMaps, written: int, output: Sequence[Word], source: Sequence[Word], *, layer: int | None = None) -> Tensor:
    """How much of each output word was written from each source word, (N, M); a row sums to one.

    Args:
        maps: of one reading, with cross-attention.
        written: the first token of the output among what the decoder read; the weights are those of the states that wrote it.
        output: words of the output alone, counted from its first token.
        layer: from 0; the last but one where None (the only one, where there is one).
    """
    layers = maps.cross
    chosen = layers[max(0, len(layers) - 2) if layer is None else layer]
    weights_US = chosen[0].double().mean(0).cpu()[written - 1 :]
    return to_words(weights_US, output, source)


def links(weights_NM: Tensor) -> list[tuple[int, int]]:
    """The one source word that each output word leans on most, as pairs (output, source)."""
    return list(enumerate(weights_NM.argmax(-1).tolist())) if torch.numel(weights_NM) else []
