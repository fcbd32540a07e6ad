"""Translation word by word: a dictionary learnt from pairs of sentences, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

ROUNDS = 5
"""Of expectation and maximisation. # assumed: the likelihood rises little afterwards"""


class WordDictionary:
    """IBM model 1: each word of a target is written by one of the source's, or by none; Brown et al. 1993, section 4.1.

    Args:
        split: a text → its words.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], split: Callable[[str], list[str]]) -> None:
        self._split = split
        self._sources: dict[str, int] = {"": 0}
        targets: dict[str, int] = {}
        reads, writes, owners, words = [], [], [], 0
        for source, target in pairs:
            read = [0, *(self._sources.setdefault(word, len(self._sources)) for word in split(source))]
            write = [targets.setdefault(word, len(targets)) for word in split(target)]
            reads.append(np.tile(read, len(write)))
            writes.append(np.repeat(write, len(read)))
            owners.append(np.repeat(np.arange(words, words + len(write)), len(read)))
            words += len(write)
        read_N, write_N, owner_N = (np.concatenate(parts) if parts else np.zeros(0, np.int64) for parts in (reads, writes, owners))
        keys, entry_N = np.unique(read_N * max(len(targets), 1) + write_N, return_inverse=True)
        source_E, target_E = keys // max(len(targets), 1), keys % max(len(targets), 1)
        table_E = np.ones(len(keys))
        for _ in range(ROUNDS):
            share_N = table_E[entry_N]
            share_N = share_N / np.bincount(owner_N, share_N, words)[owner_N]
            counts_E = np.bincount(entry_N, share_N, len(keys))
            table_E = counts_E / np.bincount(source_E, counts_E, len(self._sources))[source_E]
        # Of each source word its likeliest target; lexsort puts the likeliest last.
        order = np.lexsort((table_E, source_E))
        last = np.flatnonzero(np.diff(source_E[order], append=-1))
        names = list(targets)
        self._best = {int(source_E[one]): names[int(target_E[one])] for one in order[last]}

    def translate(self, text: str) -> list[str]:
        """The likeliest word for each of a text; a word that was never seen stands as it is."""
        return [self._best.get(self._sources.get(word, -1), word) for word in self._split(text)]


def translate_all(
    train: Sequence[tuple[str, str, int]],
    texts: Sequence[tuple[str, int]],
    split: Callable[[str], list[str]],
    join: Callable[[Iterable[str]], str],
) -> list[str]:
    """Each text by the dictionary of its direction.

    Args:
        train: source, target, direction.
        texts: source, direction.
    """
    wanted = {direction for _, direction in texts}
    made = {one: WordDictionary([(s, t) for s, t, direction in train if direction == one], split) for one in sorted(wanted)}
    return [join(made[direction].translate(text)) for text, direction in texts]
