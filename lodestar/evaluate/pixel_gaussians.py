"""What a generator is held against: a Gaussian over the pixels of each label's pictures, in the space of their principal components.

It has every label's colours, and which pixels go together, and knows no shape.

Axes: n pictures, D numbers of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..contracts.randomness import generator

MOST = 500
"""Pictures of a label that are learnt from: the work grows by the square of them."""
FEWEST = 8
"""Of fewer pictures, the Gaussian of all labels together is taken."""


class PixelGaussians:
    """Learns from pictures (C, Y, X) of 0 to 255 with what each shows, and draws such."""

    def __init__(self, pictures: Iterable[np.ndarray], labels: Sequence[str]) -> None:
        of_label: dict[str, list[np.ndarray]] = {}
        everything: list[np.ndarray] = []
        for picture, label in zip(pictures, labels, strict=True):
            self.shape = picture.shape
            for group in (of_label.setdefault(label, []), everything):
                if len(group) < MOST:
                    group.append(picture.ravel())
        self._everything = _components(everything)
        self._of_label = {label: _components(group) for label, group in of_label.items() if len(group) >= FEWEST}

    def draw(self, label: str, seed: int, purpose: str) -> np.ndarray:
        """A picture (C, Y, X) uint8, the same for the same seed and purpose."""
        mean_D, axes_nD = self._of_label.get(label, self._everything)
        amounts_n = generator(seed, "pixel gaussians", purpose).standard_normal(len(axes_nD))
        return (mean_D + amounts_n @ axes_nD).round().clip(0, 255).astype(np.uint8).reshape(self.shape)


def _components(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,), and the principal axes, each as long as the deviation along it (n, D): their outer products sum to the covariance."""
    rows_nD = np.stack(pictures).astype(np.float64)
    mean_D = rows_nD.mean(0)
    # Normal amounts of the centred pictures themselves have the same covariance as of the axes, without a decomposition.
    return mean_D, (rows_nD - mean_D) / np.sqrt(max(len(rows_nD) - 1, 1))
