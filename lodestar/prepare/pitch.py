"""How high a voice speaks, frame by frame, and how a recording is made ready for a synthesiser to learn from.

Axes: N samples, F frames, W samples of a window, L lags.
"""

from __future__ import annotations

import numpy as np

from .sound import stream_sound

LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
"""Where a voice's pitch is looked for: a low man's to a child's."""
UNVOICED = 0.25
"""A frame whose difference function has no dip below this has no pitch. De Cheveigné and Kawahara take 0.1 where they are strict; speech
that creaks has dips up to 0.3. # assumed"""
LOUDNESS = 0.1
"""Root mean square of what is said, where full scale is 1: -20 dB."""
QUIET_DB = -40.0
"""What is so far below the loudest moment is taken for silence before and behind the words. # assumed"""
MARGIN_SECONDS = 0.05
SILENCE = 1e-3
"""A recording whose highest sample is below this (-60 dB of full scale) says nothing."""


def pitch_of(samples: np.ndarray, rate: int, hop: int) -> np.ndarray:
    """The fundamental frequency in hertz around each multiple of `hop` (F,), float32; 0 where there is none. F = ⌈N / hop⌉.

    YIN, steps 1 to 5 (de Cheveigné and Kawahara 2002, https://doi.org/10.1121/1.1458024): the lag at which the cumulative mean normalised
    difference has its first dip below a threshold, between samples by a parabola; then the median of each three frames.
    """
    longest, shortest = round(rate / LOWEST_HZ), max(round(rate / HIGHEST_HZ), 2)
    window = longest
    frames = -(-len(samples) // hop)
    padded = np.pad(samples.astype(np.float64), (window, 2 * window + hop))
    starts = np.arange(frames) * hop  # of the window's first half, so that two periods lie around the frame's middle
    stretches_FS = padded[starts[:, None] + np.arange(2 * window)]
    normalised_FL = _normalised_difference(stretches_FS, window, longest)
    lags = _first_dips(normalised_FL, shortest)
    found = lags > 0
    pitch = np.zeros(frames)
    pitch[found] = rate / _between(normalised_FL[found], lags[found])
    return _median_of_three(pitch).astype(np.float32)


def _normalised_difference(stretches_FS: np.ndarray, window: int, longest: int) -> np.ndarray:
    """d'(lag) for lags 0 … longest (F, L), equation 8: the difference function over its mean at all smaller lags."""
    size = 1 << (3 * window).bit_length()
    head = np.fft.rfft(stretches_FS[:, :window], size)
    products = np.fft.irfft(np.conj(head) * np.fft.rfft(stretches_FS, size), size)[:, : longest + 1]
    powers = np.concatenate((np.zeros((len(stretches_FS), 1)), np.cumsum(stretches_FS**2, 1)), 1)
    places = np.arange(longest + 1)
    energies = powers[:, np.minimum(places + window, 2 * window)] - powers[:, places]
    difference = np.maximum(energies[:, :1] + energies - 2 * products, 0.0)
    means = np.cumsum(difference[:, 1:], 1) / places[1:]
    normalised = np.ones_like(difference)
    normalised[:, 1:] = difference[:, 1:] / np.maximum(means, 1e-12)
    return normalised


def _first_dips(normalised_FL: np.ndarray, shortest: int) -> np.ndarray:
    """For each frame the lag of the first local minimum below the threshold; 0 where there is none."""
    inner = normalised_FL[:, shortest:-1]
    dips = (inner < UNVOICED) & (inner <= normalised_FL[:, shortest + 1 :]) & (inner < normalised_FL[:, shortest - 1 : -2])
    return np.where(dips.any(1), dips.argmax(1) + shortest, 0)


def _between(normalised_FL: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Where the parabola through a minimum and its two neighbours is lowest."""
    rows = np.arange(len(lags))
    before, at, after = (normalised_FL[rows, lags + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    return lags + np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)


def _median_of_three(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, 1, mode="edge") if len(values) else np.zeros(2)
    return np.median(np.stack((padded[:-2], padded[1:-1], padded[2:])), 0)


def spoken_part(samples: np.ndarray, rate: int) -> np.ndarray:
    """What is said in a recording, at one loudness, without the silence before and behind it, float32 (N,); nothing of a silent one."""
    if not len(samples) or float(np.abs(samples).max()) < SILENCE:
        return np.zeros(0, np.float32)
    step = max(rate // 100, 1)
    frames = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
    powers = (frames.astype(np.float64) ** 2).mean(1)
    loud = np.flatnonzero(powers > powers.max() * 10 ** (QUIET_DB / 10))
    margin = round(MARGIN_SECONDS * rate)
    cut = samples[max(loud[0] * step - margin, 0) : (loud[-1] + 1) * step + margin]
    scale = LOUDNESS / np.sqrt(powers[loud].mean())
    return (cut * min(scale, 0.99 / float(np.abs(cut).max()))).astype(np.float32)


def heard(content: bytes, rate: int, hop: int, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The spoken part of a recording's file (N,), and the pitch of each of its frames in hertz (F,).

    Args:
        most: samples that are learnt from at once: of a recording with four times as many, about that much alone is read.

    Raises:
        UserError: it is no recording that can be read.
    """
    pieces: list[np.ndarray] = []
    for piece in stream_sound(content, rate):
        pieces.append(piece)
        if most is not None and sum(map(len, pieces)) > 4 * most:
            break
    samples = spoken_part(np.concatenate(pieces), rate)
    return samples, pitch_of(samples, rate, hop)
