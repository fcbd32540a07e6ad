"""The reliability diagram: how often the model is right, by how sure it was. DeGroot and Fienberg 1983; as drawn by Guo et al. 2017."""

from __future__ import annotations

import numpy as np

from ..contracts.language import Language, Words
from .calibration import BINS, Bin, calibration_error, reliability
from .confusion import FAINT, INK, RIGHT, WRONG, svg, text

SIDE, LEFT, TOP, STRIP = 320, 56, 24, 56
"""Pixels: the diagram's side, what stands to its left and above it, and the strip below that says how many answers a bin holds."""


def draw_reliability(confidence: np.ndarray, right: np.ndarray) -> Words:
    """The diagram as an SVG, in both languages.

    Args:
        confidence: of each answer (n,).
        right: whether it is right (n,).
    """
    bins = reliability(confidence, right)
    errors = [calibration_error(confidence, right, equal_mass=equal_mass) for equal_mass in (False, True)]
    return Words(*(_draw(bins, errors, len(confidence), language) for language in ("en", "zh")))


def _draw(bins: list[Bin], errors: list[float], count: int, language: Language) -> str:
    bottom, most = TOP + SIDE, max(each.count for each in bins)
    parts = [
        f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="#f6f7f9"/>',
        f'<line x1="{LEFT}" y1="{bottom}" x2="{LEFT + SIDE}" y2="{TOP}" stroke="{FAINT}" stroke-dasharray="4 3"/>',
    ]
    for each in bins:
        if not each.count:
            continue
        x, width = LEFT + SIDE * each.low, SIDE * (each.high - each.low) - 1
        accuracy, expected = bottom - SIDE * each.accuracy, bottom - SIDE * each.confidence
        parts += [
            f'<rect x="{x:.1f}" y="{accuracy:.1f}" width="{width:.1f}" height="{SIDE * each.accuracy:.1f}" fill="rgba({RIGHT},0.75)"/>',
            # The gap between what was promised and what was kept.
            f'<rect x="{x:.1f}" y="{min(accuracy, expected):.1f}" width="{width:.1f}" height="{abs(accuracy - expected):.1f}" '
            f'fill="rgba({WRONG},0.35)"/>',
            f'<rect x="{x:.1f}" y="{bottom + 30}" width="{width:.1f}" height="{STRIP * each.count / most:.1f}" fill="rgba({RIGHT},0.35)"/>',
        ]
    for share in (0, 0.5, 1):
        parts += [
            text(LEFT + SIDE * share, bottom + 16, f"{share:g}", size=11, anchor="middle", color=FAINT),
            text(LEFT - 6, bottom - SIDE * share + 4, f"{share:g}", size=11, anchor="end", color=FAINT),
        ]
    words = {
        "title": Words("How often it is right, by how sure it is", "自信程度与实际正确率"),
        "x": Words(f"confidence; below, how many of {count:,} answers", f"置信度；下方为 {count:,} 个回答的分布"),
        "y": Words("share of right answers", "正确率"),
        "ece": Words(
            f"ECE {errors[0]:.3f} over {BINS} bins of equal width, {errors[1]:.3f} over {BINS} of equal mass",
            f"ECE：{BINS} 个等宽分箱 {errors[0]:.3f}，{BINS} 个等量分箱 {errors[1]:.3f}",
        ),
    }
    told = {name: each.in_language(language) for name, each in words.items()}
    parts += [
        text(LEFT, 16, told["ece"], size=11, color=INK),
        text(18, TOP + SIDE / 2, told["y"], color=FAINT, turned=True, anchor="middle"),
        text(LEFT + SIDE / 2, bottom + 30 + STRIP + 18, told["x"], color=FAINT, anchor="middle"),
    ]
    return svg(LEFT + SIDE + 110, bottom + STRIP + 60, parts, told["title"])
