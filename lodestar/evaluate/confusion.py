"""What a classifier takes for what: the confusion matrix as a picture, and its largest entries in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from unicodedata import east_asian_width

import numpy as np

from ..contracts.findings import Mistake
from ..contracts.language import Language, Words
from ..contracts.score import Columns

SHOWN_LABELS = 50
"""More labels than these make cells too small to see: those that are confused most are drawn then."""
PAIRS, MISTAKES = 10, 20
INK, FAINT, RIGHT, WRONG = "#222222", "#777777", "43,90,158", "200,80,30"
_FONT = "font-family:system-ui,'Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif"


def confusion_matrix(columns: Columns, labels: int) -> np.ndarray:
    """How many records of each label (rows) were given each label (columns), (C, C)."""
    return np.bincount(columns["label"] * labels + columns["predicted"], minlength=labels * labels).reshape(labels, labels)


TEXTS = Words("texts", "条文本")


def most_confused(matrix: np.ndarray, labels: Sequence[str], most: int = PAIRS, *, things: Words = TEXTS) -> list[Words]:
    """The pairs that are confused most often, each as a sentence.

    Args:
        things: what is labelled; in Chinese with its measure word.
    """
    wrong = matrix * (1 - np.eye(len(matrix), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    found = []
    for true, given in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count, total = int(wrong[true, given]), int(matrix[true].sum())
        if count:
            found.append(
                Words(
                    f"{count:,} of {total:,} {things.en} of “{labels[true]}” were taken for “{labels[given]}”.",
                    f"“{labels[true]}”的 {total:,} {things.zh}中有 {count:,} {things.zh[0]}被判为“{labels[given]}”。",
                )
            )
    return found


def worst_mistakes(
    columns: Columns, texts: Sequence[str], labels: Sequence[str], most: int = MISTAKES, *, picture: Callable[[int], str] | None = None
) -> list[Mistake]:
    """The wrong answers that the model was surest of.

    Args:
        picture: the record's place → it, small, as a `data:` URL, where it is one.
    """
    confidence, wrong = columns["confidence"], np.flatnonzero(columns["label"] != columns["predicted"])
    return [
        Mistake(
            text=texts[row], expected=labels[int(columns["label"][row])], answered=labels[int(columns["predicted"][row])],
            confidence=float(confidence[row]), picture="" if picture is None else picture(int(row)),
        )
        for row in wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    ]  # fmt: skip


def worst_sets(columns: Columns, texts: Sequence[str], labels: Sequence[str], most: int = MISTAKES) -> list[Mistake]:
    """Where records may have several labels: those with the most wrong decisions; of equal ones the least likely."""
    errors = (columns["truth"] != columns["chosen"]).sum(1)
    order = np.lexsort((columns["log_probability"], -errors))

    def named(row: np.ndarray) -> str:
        return ", ".join(label for label, is_true in zip(labels, row, strict=True) if is_true) or "–"

    return [
        Mistake(text=texts[row], expected=named(columns["truth"][row]), answered=named(columns["chosen"][row]))
        for row in order[:most]
        if errors[row]
    ]


def draw_confusion(matrix: np.ndarray, labels: Sequence[str]) -> Words:
    """The matrix as an SVG, in both languages: a row a label, shaded by the share of its records; right answers blue, wrong ones orange."""
    chosen = np.arange(len(labels))
    if len(labels) > SHOWN_LABELS:
        wrong = matrix * (1 - np.eye(len(matrix), dtype=int))
        chosen = np.sort(np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:SHOWN_LABELS])
    shown, names = matrix[np.ix_(chosen, chosen)], [labels[int(index)] for index in chosen]
    totals = matrix[chosen].sum(1)
    return Words(*(_matrix(shown, totals, names, len(labels), language) for language in ("en", "zh")))


def draw_labels(columns: Columns, labels: Sequence[str]) -> Words:
    """Where records may have several labels: a bar for each label, of what was rightly given, missed, and wrongly given."""
    truth, given = columns["truth"] > 0, columns["chosen"] > 0
    counts = np.stack([(truth & given).sum(0), (truth & ~given).sum(0), (~truth & given).sum(0)], 1)
    kinds = (Words("rightly given", "正确给出"), Words("missed", "漏掉"), Words("wrongly given", "误给"))
    return draw_counts(counts, labels, kinds, Words("What each label gets right, misses and is wrongly given", "各标签的正确、漏掉与误给"))


def draw_counts(counts: np.ndarray, labels: Sequence[str], kinds: tuple[Words, Words, Words], title: Words) -> Words:
    """A bar for each label as an SVG, in both languages; the labels with the most mistakes first.

    Args:
        counts: of each label what is right, what is missed and what is wrong (L, 3).
        kinds: what these are called.
    """
    order = np.argsort(-counts[:, 1:].sum(1), kind="stable")[:SHOWN_LABELS]
    names = [labels[int(index)] for index in order]
    return Words(*(_bars(counts[order], names, kinds, title, language) for language in ("en", "zh")))


def short(text: str, columns: int) -> str:
    """The text within so many columns, a Chinese character being two; what is cut off is an ellipsis."""
    widths = np.cumsum([2 if east_asian_width(sign) in "WF" else 1 for sign in text])
    if not len(widths) or widths[-1] <= columns:
        return text
    return text[: int((widths <= columns - 1).sum())] + "…"


def width_of(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    """A picture that stands by itself; `title` is read out where it cannot be seen."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="img" style="{_FONT}"><title>{escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def text(x: float, y: float, words: str, *, size: float = 12, anchor: str = "start", color: str = INK, turned: bool = False) -> str:
    """A line of text; `turned` stands on its end, read from below."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" text-anchor="{anchor}" fill="{color}"{turn}>{escape(words)}</text>'


def _matrix(shown: np.ndarray, totals: np.ndarray, names: Sequence[str], labels: int, language: Language) -> str:
    count = len(names)
    cell = min(64.0, max(15.0, 620 / count))
    size = min(13.0, max(9.0, 0.55 * cell))
    named = [short(name, 22) for name in names]
    left = 34 + 0.62 * size * max(map(width_of, named))
    top = 48 + 0.62 * size * max(map(width_of, named))
    parts = [
        text(left, 18, Words("given", "判为").in_language(language), color=FAINT),
        text(14, top + cell * count / 2, Words("is", "实为").in_language(language), color=FAINT, turned=True, anchor="middle"),
    ]
    if labels > count:
        more = Words(f"the {count} of {labels} labels that are confused most", f"{labels} 个标签中最易混淆的 {count} 个")
        parts.append(text(left + 60, 18, more.in_language(language), color=FAINT))
    for place, name in enumerate(named):
        middle = cell * (place + 0.5) + size * 0.35
        parts.append(text(left - 6, top + middle, name, size=size, anchor="end"))
        parts.append(text(left + middle, top - 6, name, size=size, turned=True))
    for row in range(count):
        for column in range(count):
            value = int(shown[row, column])
            share = value / totals[row] if totals[row] else 0.0
            color = RIGHT if row == column else WRONG
            # The square root, so that a few in a hundred can be seen.
            fill = f"rgba({color},{share**0.5:.3f})" if value else "#f6f7f9"
            x, y = left + cell * column, top + cell * row
            hover = f"<title>{escape(f'{names[row]} → {names[column]}: {value:,} ({share:.1%})')}</title>"
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" fill="{fill}">{hover}</rect>')
            if value and 0.62 * size * len(f"{value:,}") < cell:
                ink = "#ffffff" if share > 0.4 else INK
                parts.append(text(x + (cell - 1) / 2, y + cell / 2 + size * 0.35, f"{value:,}", size=size, anchor="middle", color=ink))
    title = Words("Which label is taken for which", "标签混淆矩阵").in_language(language)
    return svg(left + cell * count + 14, top + cell * count + 14, parts, title)


def _bars(counts: np.ndarray, names: Sequence[str], kinds: Sequence[Words], title: Words, language: Language) -> str:
    named = [short(name, 26) for name in names]
    left, row, width = 24 + 7.2 * max(map(width_of, named)), 24, 420
    scale = width / max(1, counts.sum(1).max())
    colors = (f"rgb({RIGHT})", f"rgba({RIGHT},0.3)", f"rgb({WRONG})")
    parts, x = [], left
    for words, color in zip(kinds, colors, strict=True):
        name = words.in_language(language)
        parts += [f'<rect x="{x:.0f}" y="10" width="12" height="12" fill="{color}"/>', text(x + 18, 20, name, color=FAINT)]
        x += 40 + 7 * width_of(name)
    for place, (name, values) in enumerate(zip(named, counts, strict=True)):
        y = 36 + row * place
        parts.append(text(left - 8, y + 14, name, anchor="end"))
        x = left
        for value, color in zip(values, colors, strict=True):
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{row - 6}" fill="{color}"/>')
            x += value * scale
        parts.append(text(x + 6, y + 14, " · ".join(f"{value:,}" for value in values), size=11, color=FAINT))
    return svg(max(left + width, x) + 110, 44 + row * len(named), parts, title.in_language(language))
