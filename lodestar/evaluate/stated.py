"""Labels that another model gave in words, as what a classifier of ours would have said."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..contracts.text import UNSPACED

_UNSPACED = re.compile(f"[{UNSPACED}]")
SURE = 6.0
"""The logit of a label that was named: words carry no probability, and one of 1 would make a single slip infinitely bad."""


def stated_logits(answers: Sequence[str], labels: Sequence[str], truth: np.ndarray) -> np.ndarray:
    """Logits (n, C) of answers in words.

    Args:
        truth: indices (n,) where each text has one label: an answer that names none of them, or several, is wrong, whatever is right;
            or (n, C) of 0 and 1 where it may have several.
    """
    named = np.array([[_names(answer, label) for label in labels] for answer in answers], dtype=bool).reshape(len(answers), len(labels))
    if truth.ndim == 2:
        return np.where(named, SURE, -SURE)
    # `positive` is named where the longer `very positive` is; the longest one is what was meant.
    lengths = np.array([len(label) for label in labels])
    longest = named & (lengths == np.where(named, lengths, 0).max(axis=1, keepdims=True))
    clear = longest.sum(axis=1) == 1
    chosen = np.where(clear, longest.argmax(axis=1), (truth + 1) % len(labels))
    return np.where(np.arange(len(labels)) == chosen[:, None], SURE, 0.0)


def _names(answer: str, label: str) -> bool:
    """Whether an answer has the label in it, as words of its own; Chinese and Japanese put nothing between words."""
    before, after = ("" if _UNSPACED.match(edge) else limit for edge, limit in ((label[:1], r"(?<![^\W_])"), (label[-1:], r"(?![^\W_])")))
    return re.search(before + re.escape(label.casefold()) + after, answer.casefold()) is not None
