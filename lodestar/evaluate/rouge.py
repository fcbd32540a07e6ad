"""ROUGE (Lin 2004, https://aclanthology.org/W04-1013), and what else is counted in a summary: how much it copies, and how much it repeats.

The scores are those of Google's rouge-score, the usual implementation, without its dependencies. It reads nothing but a to z and digits,
so that a Chinese text has no words at all; a text mostly of other letters is therefore counted by characters where it is written without
spaces, and by whole words elsewhere. Which of the two was counted is said wherever a score is shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple

from ..contracts.text import WORD
from .porter import stem

Form = Literal["words", "characters"]
"""Stemmed words of a to z and digits, as rouge-score counts them; or characters of Chinese and Japanese, and whole words of any letters."""

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_STEMMED = 3
"""Words of more letters are stemmed."""


def form_of(text: str) -> Form:
    """`characters` of a text most of whose letters are other than a to z."""
    letters = [sign for sign in text if sign.isalpha()]
    return "characters" if 2 * sum(not sign.isascii() for sign in letters) > len(letters) else "words"


def words(text: str, form: Form = "words", *, stemmed: bool = True) -> list[str]:
    """What ROUGE counts in a text."""
    if form == "characters":
        return WORD.findall(text.lower())
    found = _ASCII_WORD.findall(text.lower())
    return [stem(word) if len(word) > _STEMMED else word for word in found] if stemmed else found


class Overlap(NamedTuple):
    """What a summary and its reference share, from 0 to 1."""

    precision: float
    recall: float
    f1: float


class Rouge(NamedTuple):
    """The four usual scores."""

    rouge1: Overlap
    """Words."""
    rouge2: Overlap
    """Pairs of words."""
    rouge_l: Overlap
    """The longest common subsequence of the whole texts."""
    rouge_lsum: Overlap
    """Of each sentence with all of the other text's; sentences are told apart by line ends."""


def rouge(references: Sequence[str], written: str, form: Form = "words", *, stemmed: bool = True) -> Rouge:
    """The scores of a text: of several references, for each score the one that gives the highest F1.

    Args:
        references: at least one; sentences on lines of their own, for ROUGE-Lsum.
        written: likewise.
    """
    found = [_rouge(reference, written, form, stemmed) for reference in references]
    return Rouge(*(max(scores, key=lambda score: score.f1) for scores in zip(*found, strict=True)))


def _rouge(reference: str, written: str, form: Form, stemmed: bool) -> Rouge:
    wanted, given = (
        [words(sentence, form, stemmed=stemmed) for sentence in text.split("\n") if sentence] for text in (reference, written)
    )  # fmt: skip
    # A line end is no part of a word, so that all words of the lines are the words of the text.
    all_wanted, all_given = list(chain(*wanted)), list(chain(*given))
    common = lcs_length(all_wanted, all_given)
    return Rouge(
        _ngram_overlap(all_wanted, all_given, 1),
        _ngram_overlap(all_wanted, all_given, 2),
        _overlap(common, len(all_wanted), len(all_given)),
        _overlap(_union_hits(wanted, given), len(all_wanted), len(all_given)),
    )


def _overlap(hits: int, wanted: int, given: int) -> Overlap:
    precision, recall = hits / max(given, 1), hits / max(wanted, 1)
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0)


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def _ngram_overlap(wanted: Sequence[str], given: Sequence[str], n: int) -> Overlap:
    a, b = _ngrams(wanted, n), _ngrams(given, n)
    return _overlap((a & b).total(), a.total(), b.total())


def lcs_length(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence, with a row of its table in the bits of one number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(a)) - 1
    row = everything
    for word in b:
        matching = row & places.get(word, 0)
        row = ((row + matching) | (row - matching)) & everything
    return len(a) - row.bit_count()


def _union_hits(wanted: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> int:
    """Words of the reference's sentences that are in a longest common subsequence with any sentence of the other, none counted more often
    than it stands in either text.
    """
    left_wanted, left_given = (Counter(word for sentence in text for word in sentence) for text in (wanted, given))
    hits = 0
    for sentence in wanted:
        union = sorted(set[int]().union(*(_lcs_places(sentence, other) for other in given)))
        for word in (sentence[place] for place in union):
            if left_given[word] > 0 and left_wanted[word] > 0:
                hits += 1
                left_given[word] -= 1
                left_wanted[word] -= 1
    return hits


def _lcs_places(reference: Sequence[str], other: Sequence[str]) -> list[int]:
    """Where in the reference the words of one longest common subsequence stand; of several, the one that rouge-score finds."""
    table = [[0] * (len(other) + 1)]
    for word in reference:
        above, row = table[-1], [0]
        for column, against in enumerate(other):
            row.append(above[column] + 1 if word == against else max(above[column + 1], row[column]))
        table.append(row)
    found: list[int] = []
    i, j = len(reference), len(other)
    while i and j:
        if reference[i - 1] == other[j - 1]:
            found.append(i - 1)
            i, j = i - 1, j - 1
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return found


# How a summary was made


class Copied(NamedTuple):
    """How much of a summary stands in its document (Grusky et al. 2018, https://aclanthology.org/N18-1065)."""

    coverage: float
    """The share of its words that are in a stretch of the document: from 0 to 1, which is all copied."""
    density: float
    """The mean length, over its words, of the stretch that a word is in: high where long stretches are copied."""


def copied(document: str, written: str, form: Form = "words") -> Copied:
    """The stretches are found from left to right, the longest first, as in the paper's algorithm; words are not stemmed."""
    read, summary = words(document, form, stemmed=False), words(written, form, stemmed=False)
    places: dict[str, list[int]] = {}
    for place, word in enumerate(read):
        places.setdefault(word, []).append(place)
    lengths: list[int] = []
    begin = 0
    while begin < len(summary):
        longest = 0
        for place in places.get(summary[begin], ()):
            length = 1
            while begin + length < len(summary) and place + length < len(read) and summary[begin + length] == read[place + length]:
                length += 1
            longest = max(longest, length)
        lengths.append(longest)
        begin += max(longest, 1)
    count = max(len(summary), 1)
    return Copied(sum(lengths) / count, sum(length * length for length in lengths) / count)


def repeated(written: str, form: Form = "words", n: int = 3) -> float:
    """The share of a text's n-grams that stood in it before (Welleck et al. 2020, https://arxiv.org/abs/1908.04319, seq-rep-n)."""
    found = _ngrams(words(written, form, stemmed=False), n)
    return 1 - len(found) / found.total() if found else 0.0
