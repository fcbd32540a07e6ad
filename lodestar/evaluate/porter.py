"""Porter's stemmer of English words (Porter 1980, https://tartarus.org/martin/PorterStemmer), as the ROUGE scorers use it.

With the extensions of NLTK (its default mode), since Google's rouge-score stems with it: equal stems, equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

_IRREGULAR = {
    "skies": "sky", "sky": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning", "inning": "inning",
    "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning", "howe": "howe", "proceed": "proceed",
    "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip

Rules = Sequence[tuple[str, str]]
"""Suffix → what takes its place, the first that matches; so a suffix stands before those that end it."""


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The stem of an English word in small letters."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _past(_plural(word))
    if word.endswith("y") and len(word) > 2 and _consonants(word)[-2]:
        word = word[:-1] + "i"
    word = _replace(_derived(word), _STEP3, lambda stem: _measure(stem) > 0)
    word = _replace(word, _STEP4, lambda stem: _measure(stem) > 1, ion=True)
    return _tidied(word)


def _consonants(word: str) -> list[bool]:
    """Which letters are consonants: a y is one at the beginning and behind a vowel."""
    flags: list[bool] = []
    for letter in word:
        flags.append((not flags or not flags[-1]) if letter == "y" else letter not in "aeiou")
    return flags


def _measure(word: str) -> int:
    """m of [C](VC)^m[V]."""
    flags = _consonants(word)
    return sum(not before and after for before, after in pairwise(flags))


def _ends_short(word: str) -> bool:
    """*o: ends consonant, vowel, consonant, the last no w, x or y; or, of two letters, vowel, consonant."""
    flags = _consonants(word)
    if len(word) == 2:
        return not flags[0] and flags[1]
    return flags[-3:] == [True, False, True] and word[-1] not in "wxy"


def _replace(word: str, rules: Rules, holds: Callable[[str], bool], *, ion: bool = False) -> str:
    """The first suffix that matches gives way where the condition holds of what is before it; no other is looked at.

    Args:
        ion: -ion goes behind an s or a t alone.
    """
    for suffix, replacement in rules:
        if word.endswith(suffix):
            before = word[: len(word) - len(suffix)]
            fits = holds(before) and (not ion or suffix != "ion" or before[-1] in "st")
            return before + replacement if fits else word
    return word


def _plural(word: str) -> str:
    """Step 1a."""
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    return _replace(word, (("sses", "ss"), ("ss", "ss"), ("s", "")), lambda _: True)


def _past(word: str) -> str:
    """Step 1b."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        before = word[: len(word) - len(suffix)]
        if word.endswith(suffix) and not all(_consonants(before)):
            break
    else:
        return word
    if before.endswith(("at", "bl", "iz")):
        return before + "e"
    if len(before) > 1 and before[-1] == before[-2] and _consonants(before)[-1]:
        return before if before[-1] in "lsz" else before[:-1]
    return before + "e" if _measure(before) == 1 and _ends_short(before) else before


def _derived(word: str) -> str:
    """Step 2."""
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _derived(word[:-2])
    # -logi counts the letters up to its l.
    if word.endswith("logi") and not word.endswith(tuple(suffix for suffix, _ in _STEP2)):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replace(word, _STEP2, lambda stem: _measure(stem) > 0)


def _tidied(word: str) -> str:
    """Step 5."""
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _ends_short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


_STEP2: Rules = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"), ("alli", "al"),
    ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"), ("ator", "ate"), ("alism", "al"),
    ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"),
)  # fmt: skip
_STEP3: Rules = (("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""))
_SUFFIXES = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize",
)  # fmt: skip
_STEP4: Rules = tuple((suffix, "") for suffix in _SUFFIXES)
