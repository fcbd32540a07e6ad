"""What a person wants to see of a classifier beyond its scores: what it takes for what, how far it can be believed, its worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.score import Columns
from .calibration import decisions
from .confusion import TEXTS, confusion_matrix, draw_confusion, draw_labels, most_confused, worst_mistakes, worst_sets
from .reliability import draw_reliability


def label_findings(
    columns: Columns,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    things: Words = TEXTS,
    picture: Callable[[int], str] | None = None,
) -> Findings:
    """The findings of one label a text, or where the columns are of several labels, of those.

    Args:
        texts: what was labelled, in words: of a picture its name.
        things, picture: as `most_confused` and `worst_mistakes` take them.
    """
    found = decisions(columns)
    assert found is not None, "a classifier's columns hold confidences"
    titles = {
        "reliability": Words("How often it is right, by how sure it is", "自信程度与实际正确率"),
        "labels": Words("What each label gets right, misses and is wrongly given", "各标签的正确、漏掉与误给"),
        "confusion": Words("Which label is taken for which", "哪个标签被判成了哪个"),
    }
    pictures = {"reliability": draw_reliability(*found)}
    if "truth" in columns:
        pictures = {"labels": draw_labels(columns, labels), **pictures}
        sentences, mistakes = list[Words](), worst_sets(columns, texts, labels)
    else:
        matrix = confusion_matrix(columns, len(labels))
        pictures = {"confusion": draw_confusion(matrix, labels), **pictures}
        sentences, mistakes = most_confused(matrix, labels, things=things), worst_mistakes(columns, texts, labels, picture=picture)
    return Findings(pictures, {name: titles[name] for name in pictures}, sentences, mistakes)
