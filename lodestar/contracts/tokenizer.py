"""Text ↔ token ids: a thin noun over the `tokenizers` library, in the open tokenizer.json format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
"""Ends a document; generation stops at it."""
PAD = "<|pad|>"
"""Fills padded rows; never attended to and never predicted."""
SPECIAL_TOKENS = (END_OF_TEXT, PAD)
"""Ids 0 and 1 of every tokenizer that Lodestar trains; later tasks append theirs."""


class Tokenizer:
    """Encodes any string and decodes back to exactly it.

    Special tokens in the text are treated as plain text, so that data cannot end its own document.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        self.backend.encode_special_tokens = True

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read tokenizer.json (the file, or the folder that holds it)."""
        import tokenizers

        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            return cls(tokenizers.Tokenizer.from_str(file.read_text("utf-8")))
        except FileNotFoundError:
            raise UserError("no tokenizer here", where=file, fix="run `lodestar prepare` first") from None
        except UnicodeDecodeError:
            raise UserError("the tokenizer is damaged", where=file, fix="run `lodestar prepare` again") from None
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception for anything it cannot read
            raise UserError(f"the tokenizer is damaged ({error})", where=file, fix="run `lodestar prepare` again") from None

    def to_json(self) -> str:
        """The content of tokenizer.json."""
        return str(self.backend.to_str(pretty=False))

    @property
    def vocabulary_size(self) -> int:
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def special(self, token: str) -> int:
        """The id of a special token."""
        found = self.backend.token_to_id(token)
        if found is None:
            raise UserError(f"the tokenizer has no token {token!r}", fix="prepare the data again with this version")
        return int(found)

    @cached_property
    def end_of_text(self) -> int:
        return self.special(END_OF_TEXT)

    @cached_property
    def pad(self) -> int:
        return self.special(PAD)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, no special tokens added."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode`, on all cores."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out; bytes that are no UTF-8 (a cut character) become U+FFFD."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))
