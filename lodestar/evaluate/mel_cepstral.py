"""Mel-cepstral distortion: how far two spectrograms of one sentence are apart, whatever their timing and loudness.

Kubichek 1993, "Mel-cepstral distance measure for objective speech quality assessment". Each frame of one is compared with a frame of the
other along the path that makes the sum least (dynamic time warping: Sakoe and Chiba 1978). The cepstra are those of mel bands
(mel-frequency cepstral coefficients), which is customary where there is no vocoder with cepstra of its own; figures of other spectrograms
are not comparable with these.

Axes: M mel bands, F and G frames, D coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric

COEFFICIENTS = 13
"""From the first on: the one before them is the loudness."""


def cepstra(log_mel_MF: np.ndarray) -> np.ndarray:
    """The logarithm of a mel power spectrogram (M, F) → coefficients c (F, D) of log amplitude = c₀ + Σ c_d cos(πd(m + ½)/M)."""
    bands = len(log_mel_MF)
    places = np.pi * (np.arange(bands) + 0.5) / bands
    basis_DM = 2 / bands * np.cos(np.arange(1, COEFFICIENTS + 1)[:, None] * places)
    return (basis_DM @ (log_mel_MF.astype(np.float64) / 2)).T


def distances(a_FD: np.ndarray, b_GD: np.ndarray) -> np.ndarray:
    """Of each two frames (F, G), in decibels: 10 / ln 10 · √(2 Σ (a_d - b_d)²)."""
    squares = (a_FD**2).sum(1)[:, None] + (b_GD**2).sum(1) - 2 * a_FD @ b_GD.T
    return 10 / math.log(10) * np.sqrt(2 * np.maximum(squares, 0.0))


def warped_mean(costs_FG: np.ndarray) -> float:
    """The mean cost along the cheapest path from the first two frames to the last two, by steps of one in either or both."""
    rows, columns = costs_FG.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(2, rows + columns + 1):  # all places of a diagonal at once
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        total[i, j] = costs_FG[i - 1, j - 1] + np.minimum(np.minimum(total[i - 1, j - 1], total[i - 1, j]), total[i, j - 1])
    i, j, steps = rows, columns, 0
    while i > 0 or j > 0:
        steps += 1
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda place: total[place] if min(place) >= 0 else np.inf)
    return float(total[rows, columns] / steps)


def mel_cepstral_distortion(a_MF: np.ndarray, b_MG: np.ndarray) -> float:
    """In decibels, of the logarithms of two mel power spectrograms."""
    return warped_mean(distances(cepstra(a_MF), cepstra(b_MG)))


class Saying(NamedTuple):
    """One sentence, said by a machine and recorded, as logarithms of mel power spectrograms."""

    made: np.ndarray
    """(M, F), as a model makes it."""
    heard: np.ndarray
    """(M, F), of the sound that was made of that."""
    wanted: np.ndarray
    """(M, G), of the recording."""


def columns(sayings: Sequence[Saying | None]) -> dict[str, np.ndarray]:
    """What the metrics compute from, a row a record; NaN where there is nothing to compare."""
    table = np.full((len(sayings), 3), np.nan)
    for row, saying in enumerate(sayings):
        if saying is not None:
            made, heard, wanted = saying
            length_error = abs(made.shape[1] - wanted.shape[1]) / wanted.shape[1]
            table[row] = mel_cepstral_distortion(made, wanted), mel_cepstral_distortion(heard, wanted), length_error
    return {name: table[:, place] for place, name in enumerate(("mcd", "heard_mcd", "length_error"))}


@dataclass
class MeanSounds:
    """The simplest synthesiser: each symbol is the mean of the frames that say it, where every symbol of a recording is as long as the
    others; and it lasts for its mean number of frames.
    """

    sums: dict[str, np.ndarray] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)

    def learn(self, symbols: Sequence[str], log_mel_MF: np.ndarray) -> None:
        """Take in one recording."""
        edges = np.linspace(0, log_mel_MF.shape[1], len(symbols) + 1).round().astype(int)
        for symbol, begin, end in zip(symbols, edges[:-1], edges[1:], strict=True):
            self.sums[symbol] = self.sums.get(symbol, np.zeros(len(log_mel_MF))) + log_mel_MF[:, begin:end].sum(1)
            self.frames[symbol] = self.frames.get(symbol, 0) + int(end - begin)
            self.times[symbol] = self.times.get(symbol, 0) + 1

    def say(self, symbols: Sequence[str]) -> np.ndarray:
        """The spectrogram (M, F) of a text; what was never heard is left out."""
        parts = [
            np.repeat(self.sums[symbol][:, None] / self.frames[symbol], max(round(self.frames[symbol] / self.times[symbol]), 1), 1)
            for symbol in symbols
            if self.frames.get(symbol)
        ]
        return np.concatenate(parts, 1)


def _mean(column: str, columns: Columns) -> float:
    """The mean over the rows that could be measured."""
    measured = columns[column][~np.isnan(columns[column])]
    return float(measured.mean()) if len(measured) else math.nan


MCD = Metric(
    "mcd",
    Words(
        "Mel-cepstral distortion: how far the spectrogram that the model makes is from that of the recording, timing and loudness aside.",
        "梅尔倒谱失真：模型生成的频谱与录音频谱之间的距离，不计时间与响度的差异。",
    ),
    "dB",
    "lower",
    partial(_mean, "mcd"),
)
HEARD_MCD = Metric(
    "heard_mcd",
    Words(
        "The same of the sound that is heard, after the vocoder.",
        "同上，但比较经过声码器后实际听到的声音。",
    ),
    "dB",
    "lower",
    partial(_mean, "heard_mcd"),
)
LENGTH_ERROR = Metric(
    "length_error",
    Words(
        "By what share what is said is longer or shorter than the recording.",
        "所说内容的时长与录音相差的比例。",
    ),
    "",
    "lower",
    partial(_mean, "length_error"),
)
