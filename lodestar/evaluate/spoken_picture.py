"""One sentence as it was recorded and as a model says it: spectrograms, and under each which symbol is said when.

Axes: M mel bands, F frames, S symbols.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..contracts.findings import Findings
from ..contracts.language import Language, Words
from ..contracts.score import Columns
from .confusion import svg, text

WIDTH, HEIGHT, LEFT = 860, 150, 16
RANGE_DB = 60.0
"""What is so far below the loudest is black."""
PALETTE = np.array([(11, 16, 38), (49, 46, 129), (147, 51, 120), (232, 121, 74), (252, 223, 154)], np.float64)
FAINT, LINE = "#6b7280", "#d6dae1"


@dataclass(frozen=True)
class Shown:
    """What is drawn of a sentence."""

    text: str
    symbols: Sequence[str]
    recorded: np.ndarray
    """The logarithm of the recording's mel power spectrogram (M, F) …"""
    recorded_durations: np.ndarray
    """… and how many of its frames say each symbol (S,)."""
    made: np.ndarray
    made_durations: np.ndarray


def findings(columns: Columns, shown: Shown | None) -> Findings:
    """What the report says of an evaluation: what could not be measured, what was understood, and one sentence as a picture."""
    count, left_out = f"{len(columns['mcd']):,}", int(np.isnan(columns["mcd"]).sum())
    said = []
    if left_out:
        said.append(
            Words(
                f"{left_out:,} of {count} records are silent, too long, or cannot be said by the model; they are not measured.",
                f"{count} 条记录中有 {left_out:,} 条无声、过长，或模型念不出来；这些没有计入。",
            )
        )
    if "word_errors" in columns:
        right = int((columns["word_errors"] == 0).sum())
        said.append(
            Words(
                f"{right:,} of {count} sentences are understood by the recogniser without an error.",
                f"{count} 句中有 {right:,} 句被识别器一字不差地听懂。",
            )
        )
    if shown is None:
        return Findings(sentences=said)
    title = Words("A sentence as it was recorded and as the model says it", "同一句话的录音与模型所说")
    return Findings(pictures={"spoken": draw_spoken(shown)}, titles={"spoken": title}, sentences=said)


def draw_spoken(shown: Shown) -> Words:
    """The picture as SVG, in each language."""
    return Words(*(_draw(shown, language) for language in ("en", "zh")))


def _draw(shown: Shown, language: Language) -> str:
    scale = (WIDTH - 2 * LEFT) / max(shown.recorded.shape[1], shown.made.shape[1])
    rows = (
        (Words("recorded, and aligned", "录音与对齐"), shown.recorded, shown.recorded_durations),
        (Words("as the model says it", "模型所说"), shown.made, shown.made_durations),
    )
    parts = [text(LEFT, 22, shown.text, size=14)]
    y = 46.0
    for words, mel, durations in rows:
        parts.append(text(LEFT, y, words.in_language(language), color=FAINT))
        width = scale * mel.shape[1]
        parts.append(
            f'<image x="{LEFT}" y="{y + 8:.0f}" width="{width:.1f}" height="{HEIGHT}" preserveAspectRatio="none" href="{_png(mel)}"/>'
        )
        parts += _marks(shown.symbols, durations, scale, y + 8 + HEIGHT)
        y += HEIGHT + 58
    title = Words("A sentence as it was recorded and as the model says it", "同一句话的录音与模型所说").in_language(language)
    return svg(WIDTH, y - 20, parts, title)


def _marks(symbols: Sequence[str], durations: np.ndarray, scale: float, y: float) -> list[str]:
    """Each symbol under its frames, and lines between them."""
    ends = LEFT + scale * np.cumsum(durations)
    starts = np.concatenate(([float(LEFT)], ends[:-1]))
    parts = [f'<line x1="{x:.1f}" y1="{y:.0f}" x2="{x:.1f}" y2="{y + 18:.0f}" stroke="{LINE}"/>' for x in (LEFT, *ends)]
    for symbol, start, end in zip(symbols, starts, ends, strict=True):
        if symbol.strip(" _"):
            parts.append(text((start + end) / 2, y + 14, symbol, size=11, anchor="middle"))
    return parts


def _png(log_mel_MF: np.ndarray) -> str:
    """The spectrogram as a picture's `data:` URL, low frequencies below."""
    from PIL import Image

    decibels = 10 / np.log(10) * (log_mel_MF - log_mel_MF.max())
    shade = np.clip(1 + decibels / RANGE_DB, 0, 1)[::-1] * (len(PALETTE) - 1)
    floor = np.minimum(shade.astype(int), len(PALETTE) - 2)
    share = (shade - floor)[..., None]
    pixels = ((1 - share) * PALETTE[floor] + share * PALETTE[floor + 1]).round().astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
