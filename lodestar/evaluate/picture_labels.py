"""The metrics of labels for pictures: those of labels, said of pictures, and the right one among the first five."""

from __future__ import annotations

from dataclasses import replace

from ..contracts.language import Words
from .calibration import CALIBRATION_ERROR, CALIBRATION_ERROR_EQUAL_MASS
from .metrics import ACCURACY, F1, LOG_LOSS, PRECISION, RECALL, TOP_5

PICTURES = Words("pictures", "张图片")
"""What is labelled, as sentences about labels take it."""
PICTURE_METRICS = (
    replace(ACCURACY, words=Words("The share of pictures that get the right label.", "标签判断正确的图片比例。")),
    replace(
        PRECISION,
        words=Words(
            "Of the pictures given a label, the share that show it; mean over labels.", "被判为某标签的图片中判断正确的比例；各标签取平均。"
        ),
    ),
    replace(
        RECALL,
        words=Words(
            "Of the pictures that show a label, the share that get it; mean over labels.", "属于某标签的图片中被找出的比例；各标签取平均。"
        ),
    ),
    F1,
    TOP_5,
    LOG_LOSS,
    CALIBRATION_ERROR,
    CALIBRATION_ERROR_EQUAL_MASS,
)  # fmt: skip
