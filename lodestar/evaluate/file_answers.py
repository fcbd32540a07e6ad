"""How good answers about pictures and sounds are: exact match, overlap, and whether the model sees what is not there.

Exact match and F1 are those of extractive question answering (`squad`), where a Chinese answer is compared by characters. Of long answers,
which describe, ROUGE-L says how much is right. Questions whose answer is yes or no are judged as in POPE (Li et al. 2023,
https://arxiv.org/abs/2305.10355): the share that is right, and how often the model says yes of what is not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from ..contracts.findings import Findings
from ..contracts.language import Language, Words
from ..contracts.score import Columns, Metric
from .confusion import FAINT, INK, RIGHT, short, svg
from .metrics import asked_mean
from .rouge import form_of, rouge, words
from .squad import ANSWER_F1, EXACT_MATCH, answer_scores, normalised

YES, NO = frozenset({"yes", "是", "有", "对", "是的"}), frozenset({"no", "不是", "没有", "不", "否", "不对"})
LONG = 5
"""Words, or Chinese characters, from which on an answer is a description."""


def columns(references: Sequence[str], answers: Sequence[str]) -> dict[str, np.ndarray]:
    """What the metrics compute from, one row a question: `exact`, `f1`; `rouge_l`, -1 where the reference is short; `yes` and `said_yes`:
    1 yes, 0 no (or, of what was said, anything else), -1 where the reference is neither.
    """
    rows = []
    for reference, answer in zip(references, answers, strict=True):
        exact, f1 = answer_scores(answer, [reference], reference)
        form = form_of(reference)
        long = len(words(reference, form)) >= LONG
        yes = _polarity(reference)
        said = -1 if yes < 0 else int(_polarity(answer) == 1)
        rows.append((exact, f1, rouge([reference], answer, form).rouge_l.f1 if long else -1.0, yes, said))
    table = np.array(rows, np.float64).reshape(-1, 5).T
    numbers = dict(zip(("exact", "f1", "rouge_l", "yes", "said_yes"), table, strict=True))
    return numbers | {name: numbers[name].astype(np.int64) for name in ("yes", "said_yes")}


def _polarity(answer: str) -> int:
    plain = normalised(answer).strip("。！，")
    return 1 if plain in YES else 0 if plain in NO else -1


def yes_no_accuracy(columns: Columns) -> float:
    asked = columns["yes"] >= 0
    return float((columns["yes"] == columns["said_yes"])[asked].mean()) if asked.any() else math.nan


def false_yes(columns: Columns) -> float:
    """Of the questions that are rightly answered with no, the share that was answered with yes; NaN where there is none."""
    absent = columns["yes"] == 0
    return float(columns["said_yes"][absent].mean()) if absent.any() else math.nan


def yes_bias(columns: Columns) -> float:
    """How far the share of yes among the answers is from that among the right ones."""
    asked = columns["yes"] >= 0
    return abs(float(columns["said_yes"][asked].mean() - columns["yes"][asked].mean())) if asked.any() else math.nan


ROUGE_L = Metric(
    "rouge_l",
    Words(
        "Of descriptions, the longest sequence of words that they share with a person's (F1).", "描述与人写的描述共有的最长词序列（F1）。"
    ),
    "", "higher", lambda columns: asked_mean(columns["rouge_l"]),
)  # fmt: skip
YES_NO_ACCURACY = Metric(
    "yes_no_accuracy",
    Words("Of the questions that are answered with yes or no, the share that is right.", "是非问题中答对的比例。"),
    "", "higher", yes_no_accuracy,
)  # fmt: skip
FALSE_YES = Metric(
    "false_yes",
    Words(
        "Of what is not there or not so, the share that the model says yes to (hallucination).",
        "实际没有或不是的事，模型却答“是”或“有”的比例（幻觉）。",
    ),
    "", "lower", false_yes,
)  # fmt: skip
YES_BIAS = Metric(
    "yes_bias",
    Words("How much more, or less, often the model says yes than is right.", "模型答“是”的比例与应有比例之差。"),
    "", "lower", yes_bias,
)  # fmt: skip
METRICS = (EXACT_MATCH, ANSWER_F1, ROUGE_L, YES_NO_ACCURACY, FALSE_YES, YES_BIAS)


class KindScore(NamedTuple):
    """The exact match of the questions of one kind, with its interval."""

    kind: str
    value: float
    low: float
    high: float
    questions: int


def by_kind(columns: Columns, kinds: Sequence[str], *, resamples: int = 1000) -> list[KindScore]:
    """Exact match of each kind of question, in the order of their names; the interval holds 95%.

    Args:
        kinds: of each row.
    """
    from .bootstrap import scores  # SciPy, which a list of the tasks has no need of

    found, named = [], np.array(kinds)
    for kind in sorted(set(kinds)):
        rows = named == kind
        (score,) = scores([EXACT_MATCH], {"exact": columns["exact"][rows]}, resamples=resamples, confidence=0.95, seed=0)
        found.append(KindScore(kind, score.value, score.low, score.high, int(rows.sum())))
    return found


def kind_findings(columns: Columns, kinds: Sequence[str]) -> Findings:
    """The kinds of questions in words and as a picture, where the records name any."""
    told = [each for each in by_kind(columns, kinds) if each.kind]
    sentences = [
        Words(
            f"Questions of the kind “{each.kind}”: {each.value:.1%} are answered exactly "
            f"({each.low:.1%} – {each.high:.1%}; {each.questions:,}).",
            f"“{each.kind}”类问题：{each.value:.1%} 完全答对（{each.low:.1%} – {each.high:.1%}；共 {each.questions:,} 题）。",
        )
        for each in told
    ]
    title = Words("How many questions of each kind are answered exactly", "各类问题完全答对的比例")
    pictures = {"kinds": Words(*(_drawn(told, title.in_language(language)) for language in _LANGUAGES))} if told else {}
    return Findings(pictures, dict.fromkeys(pictures, title), sentences)


_LANGUAGES: tuple[Language, ...] = ("en", "zh")


def _drawn(told: Sequence[KindScore], title: str) -> str:
    """A bar for each kind, with the interval as a line over its end."""
    left, width, step, top = 150, 300, 26, 14
    parts = []
    for number, each in enumerate(told):
        y = top + step * number
        low, end, high = (left + width * share for share in (each.low, each.value, each.high))
        name, middle = escape(short(each.kind, 18)), y + 8
        parts += [
            f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end" font-size="13" fill="{INK}">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{end - left:.1f}" height="16" fill="rgba({RIGHT},0.55)"/>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{INK}"/>',
            f'<text x="{max(end, high) + 8:.1f}" y="{middle + 4}" font-size="12" fill="{FAINT}">{each.value:.1%}</text>',
        ]
    return svg(left + width + 70, top + step * len(told) + 6, parts, title)
