"""What to label next: of many texts without a label, the few that teach a classifier most.

The texts that the model is unsure of, but no two that are alike: each text has the gradient that its likeliest label would send through
the last layer, which is long where the model is unsure, and points where it is unsure; texts are drawn far from those drawn before, as
k-means++ draws its centres. This is BADGE, Ash et al. 2020, https://arxiv.org/abs/1906.03671.

Axes: n texts, C labels, W numbers in a text's vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contracts.randomness import generator


@dataclass(frozen=True)
class Pick:
    """A text that is to be labelled, and why."""

    index: int
    margin: float
    """The probability of its likeliest label, less that of the next; of several labels, twice the distance of the nearest to one half."""
    newness: float
    """How far its gradient is from those of the picks before it, relative to its length; 1 for the first, 0 for a repetition."""


def next_labels(probabilities: np.ndarray, vectors: np.ndarray, count: int, *, several: bool = False, seed: int = 0) -> list[Pick]:
    """Choose `count` texts (all, where there are fewer), the most telling first.

    Args:
        probabilities: (n, C), as the model gives them; with `several` those of each label by itself.
        vectors: (n, W), what the logits are made of.
        several: whether a text may have several labels.
        seed: decides the draws.
    """
    guess = probabilities >= 0.5 if several else probabilities == probabilities.max(1, keepdims=True)
    errors_nC = probabilities - guess
    margins = _margins(probabilities, several=several)
    # ‖a ⊗ x − b ⊗ y‖² = ‖a‖²‖x‖² + ‖b‖²‖y‖² − 2 (a·b)(x·y): the products themselves, (n, C·W), are never made.
    lengths = (errors_nC**2).sum(1) * (vectors**2).sum(1)
    distances, random = lengths.copy(), generator(seed, "next labels", len(vectors))
    picks: list[Pick] = []
    for number in range(min(count, len(vectors))):
        total = distances.sum()
        if number == 0:
            index = int(lengths.argmax())
        elif total > 0:
            index = int(random.choice(len(vectors), p=distances / total))
        else:  # nothing is left that differs: the unsure ones first
            left = np.setdiff1d(np.arange(len(vectors)), [pick.index for pick in picks])
            index = int(left[margins[left].argmin()])
        newness = float(np.sqrt(distances[index] / lengths[index])) if lengths[index] else 0.0
        picks.append(Pick(index, float(margins[index]), min(1.0, newness)))
        across = lengths + lengths[index] - 2 * (errors_nC @ errors_nC[index]) * (vectors @ vectors[index])
        distances = np.minimum(distances, np.maximum(across, 0.0))
        distances[index] = 0.0
    return picks


def _margins(probabilities: np.ndarray, *, several: bool) -> np.ndarray:
    if several:
        nearest: np.ndarray = 2 * np.abs(probabilities - 0.5).min(1)
        return nearest
    ordered = np.sort(probabilities, 1)
    margin: np.ndarray = ordered[:, -1] - ordered[:, -2]
    return margin
