"""Training a tokenizer: byte-level BPE, whose round trip is the identity on any string, and single characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..contracts.progress import track
from ..contracts.randomness import generator
from ..contracts.tokenizer import SPECIAL_TOKENS, Tokenizer

BYTES = 256
SMALLEST_VOCABULARY = BYTES + len(SPECIAL_TOKENS)

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
SPLIT_PATTERN = "|".join((
    r"'(?i:[sdmt]|ll|ve|re)",  # English contractions
    rf"[{_UNSPACED}]+",  # a run of Chinese or Japanese, apart from the punctuation around it
    rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}&&[^{_UNSPACED}]]+",  # a word, with the space (or one sign) before it
    r"\p{N}{1,2}",  # digits by twos: few tokens for all numbers
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # signs
    r"\s*[\r\n]+",  # line ends, with the blanks before them
    r"\s+(?!\S)",  # indentation, less the last blank, which goes with the word
    r"\s+",
))  # fmt: skip
"""Where merges may not cross: after GPT-4's pattern (tiktoken, cl100k_base), with Chinese and Japanese runs kept apart from other
letters, and numbers in twos rather than threes, which suits vocabularies of some ten thousand."""

SAMPLE_BYTES = 100_000_000
"""Text that the merges are learnt from, at most."""
SAMPLE_DISTINCT_BYTES = 4_000_000
"""Bytes of distinct words in it, at most: the trainer holds some 100 bytes for each. # measured: 2.6 MB of Chinese, 250 MB"""


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, special_tokens: Sequence[str] = (), *, single_characters: bool = False
) -> Tokenizer:
    """Learn a byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2, Radford et al. 2019) from `texts`.

    The same texts give the same tokenizer, byte for byte. It has fewer tokens than `vocabulary` where the texts hold no more pairs.

    Args:
        vocabulary: tokens at most, the special ones (ids 0 and 1) and the 256 bytes included; at least 258.
        special_tokens: more special ones, with the ids from 2 on; they come on top of `vocabulary`.
        single_characters: keep each character of Chinese and Japanese apart from the next one, as `Task.single_characters` says.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    if vocabulary < SMALLEST_VOCABULARY:
        raise ValueError(f"a byte-level vocabulary has at least {SMALLEST_VOCABULARY} tokens, not {vocabulary}")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(f"[{_UNSPACED}]|{SPLIT_PATTERN}" if single_characters else SPLIT_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary + len(special_tokens), special_tokens=[*SPECIAL_TOKENS, *special_tokens], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(backend)


def special_tokenizer(special_tokens: Sequence[str] = ()) -> Tokenizer:
    """Of a task without text: the special tokens, and no others."""
    import tokenizers
    from tokenizers import models

    names = [*SPECIAL_TOKENS, *special_tokens]
    backend = tokenizers.Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token=SPECIAL_TOKENS[0]))
    backend.add_special_tokens(names)
    return Tokenizer(backend)


UNKNOWN = "<|unknown|>"
"""Stands for a character that a character tokenizer has never seen; its id is 2."""


def train_character_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token a character of `texts`, in code point order from id 3 on. Any other character is lost as `UNKNOWN`.

    For benchmarks and lessons on a small alphabet; it is not the identity on every string, as the byte-level one is.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    seen: set[str] = set()
    for text in texts:
        seen.update(text)
    names = [*SPECIAL_TOKENS, UNKNOWN, *sorted(seen)]
    backend = tokenizers.Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"(?m:.)"), "isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([*SPECIAL_TOKENS, UNKNOWN])
    return Tokenizer(backend)


_WORD = re.compile(r"\w+")


class TokenizerSample:
    """Texts for the trainer: the examples in a random order drawn from the seed, until either of two bounds is reached.

    The order makes every beginning of it an even sample of the whole; the bound on distinct words bounds the trainer's memory.

    Args:
        texts: those of an example.
    """

    def __init__(self, texts: Callable[[Any], Iterable[str]], examples: Sequence[Any], seed: int) -> None:
        self._texts, self._examples, self._seed = texts, examples, seed
        self.bytes = 0
        """Bytes of text that were given out."""
        self.records = 0
        """Examples that were given out."""

    def __iter__(self) -> Iterator[str]:
        order = generator(self._seed, "tokenizer").permutation(len(self._examples))
        words: set[str] = set()
        distinct = 0
        for place in track(order, "tokenizer", "record"):
            for text in self._texts(self._examples[int(place)]):
                new = set(_WORD.findall(text)) - words
                words |= new
                distinct += sum(len(word.encode()) for word in new)
                self.bytes += len(text.encode())
                yield text
            self.records += 1
            if self.bytes >= SAMPLE_BYTES or distinct >= SAMPLE_DISTINCT_BYTES:
                return


class AheadTokenizer(Tokenizer):
    """A tokenizer that has encoded some texts ahead, in one batch on all cores, and answers for them from memory.

    A task encodes one example at a time; this makes that as fast as the batch, with the same ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._read_ahead = None if tokenizer.source_vocabulary_size is None else AheadTokenizer(tokenizer.source)
        super().__init__(tokenizer.backend, tokenizer.special_ids, self._read_ahead)
        self._ahead: dict[str, list[int]] = {}
        self._offsets: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}

    def prepare(self, texts: Sequence[str], read: Sequence[str] = ()) -> None:
        """Encode `texts` now, and forget the ones before; and `read`, where the texts that are read have a tokenizer of their own."""
        if self._read_ahead is not None:
            self._read_ahead.prepare(read)
        distinct = list(dict.fromkeys(texts))
        self._ahead = dict(zip(distinct, self.encode_batch(distinct), strict=True))
        self._offsets = {}

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        found = None if special else self._ahead.get(text)
        return super().encode(text, special=special) if found is None else list(found)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        if text not in self._offsets:
            self._offsets[text] = super().encode_with_offsets(text)
        return self._offsets[text]
