"""What is known of items by their texts: the terms that they share, so that an item nobody has chosen yet stands near its kin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ..store.terms import terms

SHARED_BY, TERMS_AT_MOST = 2, 20_000
"""A term of one item alone says nothing of another; and no more than so many of them, the commonest."""


class ItemTerms(NamedTuple):
    """The terms that are kept, and which of them each item has."""

    terms: list[str]
    of_items: list[list[int]]
    """Places in `terms`, each once."""


def item_terms(texts: Sequence[str], *, shared_by: int = SHARED_BY, at_most: int = TERMS_AT_MOST) -> ItemTerms:
    """The terms of each text that at least `shared_by` texts have: words, and in Chinese, Japanese and Korean pairs of characters."""
    found = [list(dict.fromkeys(terms(text))) for text in texts]
    counts = Counter(term for each in found for term in each)
    # By count, and of equal ones in the order of the alphabet, so that the order of the items makes no difference.
    kept = sorted((term for term, count in counts.items() if count >= shared_by), key=lambda term: (-counts[term], term))[:at_most]
    places = {term: place for place, term in enumerate(kept)}
    return ItemTerms(kept, [[places[term] for term in each if term in places] for each in found])
