"""What a person wants to see of a detector beyond its scores: what it finds, misses and invents, by label and over the pictures.

Axes: n pictures, L labels, N detections of a picture, M objects of a picture.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from typing import Literal, NamedTuple

import numpy as np

from ..contracts.findings import Findings, Mistake
from ..contracts.language import Words
from ..contracts.score import Columns, Metric
from .bootstrap import scores
from .confusion import RIGHT, draw_counts, svg, text
from .detection import Boxed, average_precisions, box_iou

MOST_MISTAKES = 12
SHOWN_LABELS = 20
"""Labels that a sentence is said of: those with the most objects."""
RESAMPLES, CONFIDENCE = 500, 0.95
"""Of the intervals of each label's precision."""
COLOURS = {"right": f"rgb({RIGHT})", "missed": "rgb(214,137,0)", "wrong": "rgb(190,30,45)"}
LEGEND = Words(
    "In the pictures below, blue boxes are found, dashed yellow ones missed, and thick red ones false; "
    "“−2 +1” says two missed and one false.",
    "下面的图片中，蓝框为找到的，黄色虚线框为漏掉的，红色粗框为误报的；“−2 +1”表示漏掉两个、误报一个。",
)


class Mark(NamedTuple):
    """A box to be drawn."""

    kind: Literal["right", "missed", "wrong"]
    label: str
    edges: np.ndarray
    """Left, top, right, bottom in pixels of the picture (4,)."""
    score: float | None = None


def detection_findings(
    columns: Columns,
    names: Sequence[str],
    labels: Sequence[str],
    threshold: float,
    truth: Sequence[Boxed],
    picture: Callable[[int], tuple[str, int, int]],
) -> Findings:
    """The findings over what is shown: detections from the threshold on, at an IoU of 0.5.

    Args:
        names: of the pictures.
        truth: what is in them.
        picture: the record's place → it, small, as a `data:` URL, and the width and height that boxes are in.
    """
    counts = counts_by_label(columns, threshold)
    order = np.argsort(-columns["objects"].sum(0), kind="stable")
    said = [_sentence(columns, counts, int(label), labels) for label in order[:SHOWN_LABELS] if columns["objects"][:, label].any()]
    title = Words("What is found, missed and falsely seen, by label", "各标签找到、漏掉与误报的数目")
    bars = draw_counts(counts, labels, (Words("found", "找到"), Words("missed", "漏掉"), Words("false", "误报")), title)
    mistakes = worst_pictures(columns, names, labels, threshold, truth, picture)
    return Findings({"labels": bars}, {"labels": title}, [*said, *([LEGEND] if mistakes else [])], mistakes)


def counts_by_label(columns: Columns, threshold: float) -> np.ndarray:
    """How many objects of each label are found, how many missed, and how many detections are false, (L, 3)."""
    right, wrong = _shown(columns, threshold)
    found, false = (np.bincount(columns["label"][each], minlength=columns["objects"].shape[1]) for each in (right, wrong))
    return np.stack([found, columns["objects"].sum(0) - found, false], 1)


def worst_pictures(
    columns: Columns, names: Sequence[str], labels: Sequence[str], threshold: float, truth: Sequence[Boxed],
    picture: Callable[[int], tuple[str, int, int]],
) -> list[Mistake]:  # fmt: skip
    """The pictures with the most objects missed and boxes false, with all of them drawn."""
    right, wrong = _shown(columns, threshold)
    errors = columns["objects"].sum(1) - right.sum(1) + wrong.sum(1)
    found = []
    for row in np.argsort(-errors, kind="stable")[:MOST_MISTAKES].tolist():
        if errors[row]:
            marks = _marks(columns, row, right[row], wrong[row], truth[row], labels)
            expected = " · ".join(f"{labels[one]} {count}" for one, count in enumerate(columns["objects"][row].tolist()) if count) or "–"
            found.append(Mistake(text=names[row], expected=expected, answered=_changes(marks, labels), picture=draw(picture(row), marks)))
    return found


def _shown(columns: Columns, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Which detections (n, N) from the threshold on are right, and which wrong, at an IoU of 0.5."""
    shown = (columns["label"] >= 0) & (columns["score"] >= threshold)
    right = shown & columns["right"][..., 0]
    return right, shown & ~right & ~columns["ignored"][..., 0]


def _sentence(columns: Columns, counts: np.ndarray, label: int, labels: Sequence[str]) -> Words:
    precision = Metric("ap", Words("", ""), "", "higher", lambda part: float(average_precisions(part, slice(0, 1))[label, 0]))
    (score,) = scores([precision], columns, resamples=RESAMPLES, confidence=CONFIDENCE, seed=0)
    found, missed, false = counts[label].tolist()
    figures = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
    return Words(
        f"{labels[label]}: average precision {figures}; {found:,} of {found + missed:,} found, {false:,} false.",
        f"{labels[label]}：平均精度 {figures}；{found + missed:,} 个中找到 {found:,} 个，误报 {false:,} 个。",
    )


def _marks(columns: Columns, row: int, right: np.ndarray, wrong: np.ndarray, truth: Boxed, labels: Sequence[str]) -> list[Mark]:
    """Every box of a picture: of detections those that are shown, of objects those that none of them is of."""
    boxes, names, score = (columns[name][row] for name in ("box", "label", "score"))
    free = truth.scores == 0
    for one in np.flatnonzero(right)[np.argsort(-score[right], kind="stable")]:
        offered = np.where(free & (truth.labels == names[one]), box_iou(boxes[one][None], truth.boxes, truth.scores > 0)[0], -1.0)
        free[offered.argmax()] = False
    kinds: tuple[tuple[Literal["right", "wrong"], np.ndarray], ...] = (("right", right), ("wrong", wrong))
    found = [Mark(kind, labels[names[one]], boxes[one], float(score[one])) for kind, chosen in kinds for one in np.flatnonzero(chosen)]
    return found + [Mark("missed", labels[truth.labels[one]], truth.boxes[one]) for one in np.flatnonzero(free)]


def _changes(marks: Sequence[Mark], labels: Sequence[str]) -> str:
    """`RBC −2 +1`: for each label, what is missed and what is false."""
    parts = []
    for label in labels:
        missed, false = (sum(mark.kind == kind and mark.label == label for mark in marks) for kind in ("missed", "wrong"))
        if missed or false:
            parts.append(" ".join([label, *([f"−{missed}"] if missed else []), *([f"+{false}"] if false else [])]))
    return " · ".join(parts)


def draw(picture: tuple[str, int, int], marks: Sequence[Mark]) -> str:
    """A picture with boxes over it, as a `data:` URL of an SVG.

    Args:
        picture: it as a `data:` URL, and the width and height that the boxes are in.
    """
    url, width, height = picture
    size = max(width, height) / 320  # what a line of one pixel is on the picture as it is shown
    parts = [f'<image href="{escape(url)}" width="{width}" height="{height}"/>']
    for kind, label, (left, top, right, bottom), score in marks:
        line = {"right": "", "missed": f' stroke-dasharray="{5 * size:.1f} {3 * size:.1f}"', "wrong": ""}[kind]
        thick = size * (3 if kind == "wrong" else 2)
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" fill="none" '
            f'stroke="{COLOURS[kind]}" stroke-width="{thick:.1f}"{line}/>'
        )
        said = label if score is None else f"{label} {score:.2f}"
        named = text(left + 2 * size, max(top - 2 * size, 9 * size), said, size=9 * size, color=COLOURS[kind])
        parts.append(f'<g paint-order="stroke" stroke="#fff" stroke-width="{2 * size:.1f}">{named}</g>')
    drawn = svg(width, height, parts, ", ".join(f"{mark.kind} {mark.label}" for mark in marks))
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
