"""Records of a small grammar, for the samples that templates bring: sentences in two languages whose slots are filled, the same for ever.

Sentences stand as text, a line of `English | Chinese` each, in blocks under a heading; `{bike}` is a slot.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..contracts.language import Language, Words
from ..contracts.randomness import generator

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
LANGUAGES: tuple[Language, ...] = ("en", "zh")
Slots = Mapping[str, Sequence[Words]]
"""A slot → what may fill it."""

SPLIT_FILES: Mapping[Split, str] = {split: f"data/{split}.jsonl" for split in SPLITS}
SPLIT_DATA: Mapping[str, Any] = {
    "sources": [SPLIT_FILES["train"]],
    "splits": {split: [SPLIT_FILES[split]] for split in ("validation", "test")},
}
"""venture.yaml: `data`, of a sample in these files."""
_DEALT: tuple[Split, ...] = ("train", "validation", "train", "test", "train")


def blocks(text: str) -> dict[str, list[Words]]:
    """Each block's heading, the line after `#`, with the lines under it."""
    found = {}
    for block in text.strip().split("\n\n"):
        heading, *lines = block.split("\n")
        found[heading.removeprefix("# ")] = [pair(line) for line in lines]
    return found


def pair(line: str) -> Words:
    """`English | Chinese`."""
    english, _, chinese = line.partition("|")
    return Words(english.strip(), chinese.strip())


def dealt(choices: Sequence[T], split: Split) -> list[T]:
    """Those of a list that go to a split: of every five three to train, and one each to validation and test."""
    return [choice for place, choice in enumerate(choices) if _DEALT[place % len(_DEALT)] == split]


def one(choices: Sequence[T], random: np.random.Generator) -> T:
    """Any of them."""
    return choices[int(random.integers(len(choices)))]


def slots_of(pattern: str) -> list[str]:
    """The names in braces, each once."""
    return list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(pattern) if name))


def fillings(names: Sequence[str], slots: Slots, count: int, random: np.random.Generator) -> list[dict[str, Words]]:
    """So many different ways to fill the slots of these names, drawn at random; all there are, where that is fewer."""
    sizes = [len(slots[name]) for name in names]
    chosen = random.permutation(math.prod(sizes))[:count]
    found = []
    for rest in chosen.tolist():
        values = {}
        for name, size in zip(names, sizes, strict=True):
            rest, place = divmod(rest, size)  # noqa: PLW2901 - the digits of a number whose places count differently
            values[name] = slots[name][place]
        found.append(values)
    return found


def filled(pattern: str, values: Mapping[str, Words], language: Language) -> str:
    """A sentence of a pattern, which begins with a capital."""
    sentence = pattern.format(**{name: words.in_language(language) for name, words in values.items()})
    return sentence[:1].upper() + sentence[1:]


def joined(language: Language, sentences: Iterable[str]) -> str:
    """Sentences one after the other, the empty ones left out."""
    return (" " if language == "en" else "").join(filter(None, sentences))


def said(
    patterns: Sequence[Words], slots: Slots, copies: Mapping[Split, int], random: np.random.Generator
) -> Iterator[tuple[Split, Language, str]]:
    """Patterns in both languages, each filled in several ways and, where a slot `opening` is known, begun by one.

    What judges is said in other words than what is learnt from: it is whole patterns that are held out, not fillings of one.
    """
    begun = ["opening"] if "opening" in slots else []
    for split in SPLITS:
        for pattern in dealt(patterns, split):
            for language in LANGUAGES:
                sentence = pattern.in_language(language)
                for values in fillings([*begun, *slots_of(sentence)], slots, copies[split], random):
                    opening = [values[name].in_language(language) for name in begun]
                    yield split, language, joined(language, [*opening, filled(sentence, values, language)])


def labelled(template: str, messages: str, fillers: str, copies: Mapping[Split, int]) -> dict[str, str]:
    """The files of a classifier's sample: each message under the heading that is its label, filled in several ways."""
    random, slots = generator(0, "template", template), blocks(fillers)
    records: dict[Split, list[dict[str, str]]] = {split: [] for split in SPLITS}
    for label, block in blocks(messages).items():
        for split, _, text in said(block, slots, copies, random):
            records[split].append({"text": text, "label": label})
    return written(records)


def written(records: Mapping[Split, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Each split's file → its lines of JSON."""
    return {SPLIT_FILES[split]: as_lines(records[split]) for split in SPLITS}


def as_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """Records as lines of JSON, each once."""
    return "".join(dict.fromkeys(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
