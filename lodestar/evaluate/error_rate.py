"""Word and character error rate: the edits that make what was heard of what was said, over what was said.

What is written otherwise but said alike counts for nothing: case, punctuation, full-width letters, blanks between Chinese characters.
Numbers stand as they are written ("20" is not "twenty"), but for the comma of thousands; so do traditional and simplified characters.
A word of Chinese or Japanese is a character, as such text has no blanks: its word error rate is its character error rate, and of mixed
text it is what is called the mixed error rate.

The columns are `word_errors`, `words`, `character_errors` and `characters` of each recording: a rate is a sum over a sum, as in jiwer.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric
from ..contracts.text import UNSPACED

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_KEPT = re.compile(r"(?<=\w)['.:%-](?=\w)|(?<=\d)%")
"""Marks within a word, which belong to it: don't, 3.5, 10:30."""
_APOSTROPHES = str.maketrans("’‘ʼ", "'''")
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


def normalize(text: str) -> str:
    """What is said: NFKC (full-width becomes half-width), lower case, no punctuation, single blanks, none beside Chinese or Japanese.

    An apostrophe, a hyphen, a point or a colon within a word stays.
    """
    text = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    text = _THOUSANDS.sub("", text)
    kept = {match.start() for match in _KEPT.finditer(text)}
    spoken = "".join(
        character if place in kept or unicodedata.category(character)[0] in "LMN" else " " for place, character in enumerate(text)
    )
    return _joined(_WORD.findall(spoken))


def _joined(words: Sequence[str]) -> str:
    """Words with a blank between two that are not both of a script without."""
    made = words[0] if words else ""
    for word in words[1:]:
        made += word if _unspaced(made[-1]) and _unspaced(word[0]) else f" {word}"
    return made


def _unspaced(character: str) -> bool:
    return re.match(f"[{UNSPACED}]", character) is not None


def words_of(normalized: str) -> list[str]:
    """The words of a normalised text; of Chinese and Japanese the characters."""
    return _WORD.findall(normalized)


def characters_of(normalized: str) -> list[str]:
    """Its characters, blanks between words included, as in jiwer."""
    return list(normalized)


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements that make b of a (Levenshtein 1966)."""
    if len(a) < len(b):
        a, b = b, a
    known: dict[str, int] = {}
    codes_a, codes_b = (np.array([known.setdefault(one, len(known)) for one in side], np.int64) for side in (a, b))
    places = np.arange(len(b) + 1)
    row = places.copy()
    for one in codes_a:
        # From above or across; then from the left, which is a running minimum once the steps along the row are taken out.
        come = np.minimum(row + 1, np.concatenate(([row[0] + 1], row[:-1] + (codes_b != one))))
        row = np.minimum.accumulate(come - places) + places
    return int(row[-1])


def columns(heard: Sequence[str], said: Sequence[str]) -> dict[str, np.ndarray]:
    """What the metrics compute from, a row a recording."""
    rows = []
    for hypothesis, reference in zip(heard, said, strict=True):
        found, wanted = normalize(hypothesis), normalize(reference)
        words, characters = words_of(wanted), characters_of(wanted)
        rows.append((edit_distance(words_of(found), words), len(words), edit_distance(characters_of(found), characters), len(characters)))
    table = np.array(rows, np.int64).reshape(-1, 4)
    return {name: table[:, place] for place, name in enumerate(("word_errors", "words", "character_errors", "characters"))}


def word_error_rate(columns: Columns) -> float:
    """Errors over the words that were said; more than 1 where more was heard than said, NaN where nothing was."""
    return _rate(columns["word_errors"], columns["words"])


def character_error_rate(columns: Columns) -> float:
    """As that, of characters."""
    return _rate(columns["character_errors"], columns["characters"])


def _rate(errors: np.ndarray, said: np.ndarray) -> float:
    return float(errors.sum() / said.sum()) if said.sum() else math.nan


WER = Metric(
    "wer",
    Words(
        "How many words are wrong, missing or too many, over the words that were said (Chinese: characters).",
        "识别错误、遗漏和多出的词数与实际所说词数之比（中文按字计）。",
    ),
    "",
    "lower",
    word_error_rate,
)
CER = Metric(
    "cer",
    Words(
        "The same of characters: fairer to Chinese, and to words that are nearly right.",
        "同上，但按字符计：对中文以及只错一两个字母的词更公平。",
    ),
    "",
    "lower",
    character_error_rate,
)
