"""The baseline of extractive question answering: the words that stand nearest to the question's words.

A sliding window over the text, as in Richardson et al. 2013 (MCTest, https://aclanthology.org/D13-1020, algorithm 1), where each word
counts the more, the rarer it is in the text. There it chooses among given answers; here among all spans as long as answers usually are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from ..contracts.text import WORD
from .squad import is_unspaced

_REACH = 8
"""Words on either side of a span that count for it, the less the farther they are. # assumed"""


def usual_lengths(answers: Iterable[tuple[str, str]]) -> dict[bool, int]:
    """The median of the answers' lengths in words, for texts that put spaces between words (False) and that do not (True).

    Args:
        answers: answers, each with the text that it stands in.
    """
    lengths: dict[bool, list[int]] = {}
    for answer, context in answers:
        lengths.setdefault(is_unspaced(context), []).append(len(WORD.findall(answer)))
    return {unspaced: max(1, int(np.median(found))) for unspaced, found in lengths.items()}


def nearest_words(question: str, context: str, lengths: Mapping[bool, int]) -> str:
    """The span of the usual length that has the most of the question's words around it, and the fewest in it; empty in a text of no words.

    Args:
        lengths: of answers, from `usual_lengths`.
    """
    places = list(WORD.finditer(context))
    if not places:
        return ""
    words = [place.group().lower() for place in places]
    counts, asked = Counter(words), {word.lower() for word in WORD.findall(question)}
    weights = np.array([np.log1p(1 / counts[word]) if word in asked else 0.0 for word in words])
    length = min(lengths.get(is_unspaced(context), 2), len(words))
    # Around a span of one word; that of several has the mean of its words'.
    near = 1 / np.r_[np.arange(_REACH, 0, -1) + 1.0, np.inf, np.arange(1, _REACH + 1) + 1.0]
    around = np.convolve(weights, near)[_REACH : _REACH + len(words)] - 2 * weights
    first = int(np.convolve(around, np.ones(length), "valid").argmax())
    return context[places[first].start() : places[first + length - 1].end()]
