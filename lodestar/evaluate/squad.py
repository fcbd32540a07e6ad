"""Exact match and F1 of answers that are spans of a text, by the rules of the field's own scripts.

The SQuAD form (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, and 2018, https://arxiv.org/abs/1806.03822) compares words: lower
case, without punctuation and English articles. Chinese and Japanese, which put no spaces between words, have the form of CMRC 2018 (Cui et
al. 2019, https://arxiv.org/abs/1810.07366): characters, without punctuation, and an F1 over the longest run that both have in common.

An answer is right as far as it is like the nearest of those that people gave. Where they gave none, only none is right.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# As CMRC 2018's script lists them, which leaves 〈〉, … and ASCII's commas and full stops to the tokenizer of words.
_SIGNS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_HAN = re.compile(r"[\u4e00-\u9fa5]")
# What the Penn Treebank's tokenizer, which that script calls, takes apart from words: signs (full stops at the end alone, commas and colons
# but before digits) and the endings of contractions. measured: on 11,241 answers of CMRC 2018 and XQuAD it differs from nltk's in the
# spelling of quotation marks, and in 3 others.
_APART = re.compile(r"""\.(?=[\])}>"' ]*$)|\.{2,}|[,:](?!\d)|[;@#$%&?!\[\](){}<>"–—]|n't\b|(?<=[^' ])'(?:s|m|d|ll|re|ve)?(?![^\W_])""")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")

Scores = tuple[float, float]
"""Exact match (0 or 1) and F1."""


def answer_scores(prediction: str, answers: Sequence[str], context: str) -> Scores:
    """The scores of an answer in the form for the language of the text that it stands in.

    Args:
        prediction: empty where none was given.
        answers: what people gave; none where the text has no answer.
        context: the text.
    """
    return (cmrc_scores if is_unspaced(context) else squad_scores)(prediction, answers)


def is_unspaced(text: str) -> bool:
    """Whether a text is in Chinese or Japanese: at least a third of its letters are, since each of theirs is worth several of others."""
    return 3 * len(_UNSPACED.findall(text)) >= max(len(_LETTER.findall(text)), 1)


def squad_scores(prediction: str, answers: Sequence[str]) -> Scores:
    """SQuAD 2.0's, which on questions with an answer are SQuAD 1.1's."""
    normal = [words for answer in answers if (words := normalised(answer))] or [""]
    found = normalised(prediction)
    return float(found in normal), max(_word_f1(found.split(), words.split()) for words in normal)


def normalised(answer: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def _word_f1(found: Sequence[str], expected: Sequence[str]) -> float:
    if not found or not expected:
        return float(found == expected)
    return _f1((Counter(found) & Counter(expected)).total(), len(found), len(expected))


def cmrc_scores(prediction: str, answers: Sequence[str]) -> Scores:
    """CMRC 2018's; of a question without an answer, SQuAD 2.0's."""
    if not answers:
        return float(not prediction), float(not prediction)
    found, exact = segments(prediction), _without_signs(prediction)
    expected = [segments(answer) for answer in answers]
    f1 = max(_f1(_longest_run(found, one), len(found), len(one)) for one in expected)
    return float(exact in map(_without_signs, answers)), f1


def segments(text: str) -> list[str]:
    """Each Chinese character, and each word of another script between them; without `_SIGNS`, which do not part words."""
    found: list[str] = []
    rest = ""
    for character in _without_signs(text):
        if _HAN.match(character):
            found += [*_words(rest), character]
            rest = ""
        else:
            rest += character
    return found + _words(rest)


def _words(text: str) -> list[str]:
    return _APART.sub(r" \g<0> ", text).split()


def _without_signs(text: str) -> str:
    return "".join(character for character in text.lower().strip() if character not in _SIGNS)


def _longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest run of segments that stands in both: their longest common substring."""
    longest, ending = 0, [0] * (len(other) + 1)
    for segment in one:
        ending = [0, *(before + 1 if segment == match else 0 for before, match in zip(ending, other, strict=False))]
        longest = max(longest, *ending)
    return longest


def _f1(common: int, found: int, expected: int) -> float:
    return 2 * common / (found + expected) if common else 0.0


def best_threshold(margins: np.ndarray, answered: np.ndarray, refused: np.ndarray) -> float:
    """The threshold on `margins`, above which no answer is given, of the highest sum of scores; the highest of those that are as good.

    Args:
        margins: how much likelier than the best answer none is, for each question (n,), at least one.
        answered: the score of the best answer (n,).
        refused: the score of none (n,).

    Returns:
        A number halfway between two margins, or one beyond the least or the greatest of them.
    """
    order = np.argsort(margins, kind="stable")
    sorted_margins = margins[order]
    # With the first k in this order answered, and the others not.
    totals = np.r_[0.0, answered[order].cumsum()] + np.r_[refused[order][::-1].cumsum()[::-1], 0.0]
    totals[1:-1][sorted_margins[1:] == sorted_margins[:-1]] = -np.inf
    # Sums in another order may differ in their last digits.
    count = int(np.flatnonzero(totals >= totals.max() - 1e-9)[-1])
    bounds = np.r_[sorted_margins[0] - 2, sorted_margins, sorted_margins[-1] + 2]
    return float(bounds[count : count + 2].mean())


def exact_match(columns: Columns) -> float:
    return float(columns["exact"].mean())


def answer_f1(columns: Columns) -> float:
    return float(columns["f1"].mean())


def no_answer_accuracy(columns: Columns) -> float:
    """Of the questions without an answer, the share that got none; NaN where all have one."""
    without = columns["answerable"] == 0
    return float((columns["answered"][without] == 0).mean()) if without.any() else math.nan


EXACT_MATCH = Metric(
    "exact_match",
    Words("The share of questions whose answer is the very words that a person gave.", "答案与人工答案完全一致的问题比例。"),
    "", "higher", exact_match,
)  # fmt: skip
ANSWER_F1 = Metric(
    "answer_f1",
    Words(
        "How much of the answers and of people's is the same words; mean over questions.",
        "答案与人工答案在用词上的重合程度；各问题取平均。",
    ),
    "", "higher", answer_f1,
)  # fmt: skip
NO_ANSWER_ACCURACY = Metric(
    "no_answer_accuracy",
    Words(
        "Of the questions that the text does not answer, the share that got no answer.",
        "文中没有答案的问题里，被正确判为无答案的比例。",
    ),
    "", "higher", no_answer_accuracy,
)  # fmt: skip
