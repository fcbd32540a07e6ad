"""The features that sets of pictures are compared by: how much there is of each kind of edge, of each scale, and what edges are made of.

A scattering transform (Bruna and Mallat 2013, https://arxiv.org/abs/1203.1513): wavelets, the modulus, wavelets again, the mean. It is a
convolutional network whose filters are written down in place of being learnt, so that everybody who has the formula has the same numbers,
with nothing to download. Why this one: decisions/0011.

Axes: n pictures, C channels, Y rows and X columns of pixels, F features.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

SCALES, DIRECTIONS = 3, 4
"""Wavelets of about 2, 5 and 10 pixels, in directions 45 degrees apart."""
LEAST_SIDE = 32
"""Smaller pictures are enlarged to it: the widest wavelet has to fit."""
FLOOR = 0.1
"""Of the brightness range: fainter detail counts for less and less, so that grain which nobody sees does not outweigh what a picture shows.
# measured: decisions/0011"""
SIGNATURE = f"scattering {SCALES} scales {DIRECTIONS} directions, 96 features, version 1"
FEATURES = 96
AT_ONCE = 32
OPPONENT = np.array([[1, 1, 1], [1.2247449, 0, -1.2247449], [0.7071068, -1.4142136, 0.7071068]]) / 3
"""Red, green and blue → brightness, red against blue, green against both: of equal weight, and nearly uncorrelated in natural pictures."""


def features(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Pictures (3, Y, X) of 0 to 255, all of one size → (n, 96) float64.

    12 are the mean colours of the four quarters. 36 are logarithms of how strong each wavelet answers, in each of the opponent colours.
    48 are the same of brightness once more: how strongly the answers of a wavelet vary at each larger scale, in each direction.
    """
    waiting = iter(pictures)
    parts = []
    while part := list(islice(waiting, AT_ONCE)):
        parts.append(np.concatenate(list(_features(_opponent(np.stack(part)))), axis=1))
    return np.concatenate(parts) if parts else np.empty((0, FEATURES))


def _features(colours_nCYX: np.ndarray) -> Iterator[np.ndarray]:
    from scipy.fft import fft2, ifft2

    height, width = colours_nCYX.shape[2:]
    half = colours_nCYX[:, :, : height // 2 * 2, : width // 2 * 2].reshape(len(colours_nCYX), 3, 2, height // 2, 2, width // 2)
    yield half.mean((3, 5)).reshape(len(colours_nCYX), -1)
    margin = _margin(height, width)
    padded = np.pad(colours_nCYX, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")
    filters = wavelets(*padded.shape[2:])
    inner = (..., slice(margin, margin + height), slice(margin, margin + width))
    transformed = fft2(padded.astype(np.float32))
    for scale, of_scale in enumerate(filters):
        for wavelet in of_scale:
            answer = np.abs(ifft2(transformed * wavelet))
            yield np.log(answer[inner].mean((-2, -1), dtype=np.float64) + FLOOR)
            brightness = fft2(answer[:, 0])
            for larger in (each for scale_filters in filters[scale + 1 :] for each in scale_filters):
                yield np.log(np.abs(ifft2(brightness * larger))[inner].mean((-2, -1), dtype=np.float64) + FLOOR)[:, None]


def _margin(height: int, width: int) -> int:
    """Pixels that are mirrored beyond each side, so that opposite sides do not meet in the transform."""
    return min(1 << SCALES + 1, height - 1, width - 1)


def _opponent(pictures_nCYX: np.ndarray) -> np.ndarray:
    """Opponent colours of 0 to 1 of pictures that are large enough."""
    values = np.einsum("oc,ncyx->noyx", OPPONENT, pictures_nCYX / 255)
    side = min(values.shape[2:])
    if side >= LEAST_SIDE:
        return values
    from scipy.ndimage import zoom

    times = LEAST_SIDE / side
    return zoom(values, (1, 1, times, times), order=1, mode="nearest", grid_mode=True)


@functools.cache
def wavelets(height: int, width: int) -> tuple[tuple[np.ndarray, ...], ...]:
    """Of each scale and direction, the Fourier transform (Y, X) of a Morlet wavelet: a wave under a bell, less what makes its mean 0.

    Bell of deviation 0.8·2ʲ, frequency ¾π/2ʲ at scale j (as Kymatio has them, https://arxiv.org/abs/1812.11214).
    """
    down = np.fft.fftfreq(height, 1 / height)[:, None]
    across = np.fft.fftfreq(width, 1 / width)[None]
    found = []
    for scale in range(SCALES):
        deviation, frequency = 0.8 * 2**scale, 0.75 * np.pi / 2**scale
        bell = np.exp(-(down**2 + across**2) / (2 * deviation**2))
        bell /= bell.sum()
        of_scale = []
        for direction in range(DIRECTIONS):
            angle = np.pi * direction / DIRECTIONS
            wave = bell * np.exp(1j * frequency * (across * np.cos(angle) + down * np.sin(angle)))
            of_scale.append(np.fft.fft2(wave - wave.sum() * bell).astype(np.complex64))
        found.append(tuple(of_scale))
    return tuple(found)
