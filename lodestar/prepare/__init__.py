"""Step 1: sources → cleaning → examples → splits → tokens → batches; the data card."""

from .loader import PackedLoader, PaddedLoader, PairedLoader, Sequential, make_loader
from .shards import Examples, Split, open_split
from .sources import find_sources
from .step import fingerprint_inputs, prepare
from .tokenizer import special_tokenizer, train_character_tokenizer, train_tokenizer

__all__ = [
    "Examples",
    "PackedLoader",
    "PaddedLoader",
    "PairedLoader",
    "Sequential",
    "Split",
    "find_sources",
    "fingerprint_inputs",
    "make_loader",
    "open_split",
    "prepare",
    "special_tokenizer",
    "train_character_tokenizer",
    "train_tokenizer",
]
