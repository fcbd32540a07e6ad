"""Text ↔ token ids: a thin noun over the `tokenizers` library, in the open tokenizer.json format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from .errors import UserError

if TYPE_CHECKING:
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
"""Ends a document; generation stops at it."""
PAD = "<|pad|>"
"""Fills padded rows; never attended to and never predicted."""
SPECIAL_TOKENS = (END_OF_TEXT, PAD)
"""Ids 0 and 1 of every tokenizer that Lodestar trains; later tasks append theirs."""


TOKENIZER, TOKENS, TOKEN_MAP, GENERATION, MODEL = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"
)  # fmt: skip
"""The file of the tokenizer, and those that name its special tokens: as text in the first two, as ids in the other two."""
SOURCE_TOKENIZER = "source_tokenizer.json"
"""Beside it, the tokenizer of the texts that are read, where they have a vocabulary of their own."""


@dataclass(frozen=True)
class SpecialIds:
    """Which ids an open model's files name for what; None where they name none."""

    end_of_text: int | None = None
    pad: int | None = None
    begin: int | None = None
    stops: tuple[int, ...] = ()
    """All that end an answer: a chat model often has one for the turn and one for the text."""


class PairMarks(NamedTuple):
    """The special tokens around two texts that are read together, as ids."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]


class Tokenizer:
    """Encodes any text and decodes it back; Lodestar's own, byte-level ones decode to exactly what they encoded.

    Special tokens in the text are treated as plain text, so that data cannot end its own document.

    Args:
        special_ids: of an open model; by the names above where None.
        source: of the texts that are read, where a model writes with another vocabulary than it reads.
    """

    def __init__(self, backend: tokenizers.Tokenizer, special_ids: SpecialIds | None = None, source: Tokenizer | None = None) -> None:
        self.backend, self.special_ids, self._source = backend, special_ids, source
        self.backend.encode_special_tokens = True
        # A tokenizer.json may bring a length to cut and fill texts to: nothing is cut in silence here.
        self.backend.no_truncation()
        self.backend.no_padding()

    @classmethod
    def load(cls, path: Path, *, fix: str = "run `lodestar prepare` again") -> Tokenizer:
        """Read tokenizer.json: the file, or the folder that holds it, perhaps with the files that name its special tokens, and with the
        tokenizer of the texts that are read.

        Args:
            fix: what the user is told to do where it is damaged.
        """
        file = path / TOKENIZER if path.is_dir() else path
        backend, apart = _read_backend(file, fix), file.with_name(SOURCE_TOKENIZER)
        source = None
        if file.name == TOKENIZER and apart.is_file():
            read = _read_backend(apart, fix)
            source = cls(read, read_special_ids(file.parent, read))
        return cls(backend, read_special_ids(file.parent, backend), source)

    def __reduce__(self) -> tuple[Any, ...]:
        # What the backend is told in __init__ is no part of its own state.
        return Tokenizer, (self.backend, self.special_ids, self._source)

    @property
    def source(self) -> Tokenizer:
        """The tokenizer of the texts that are read: this one, unless they have a vocabulary of their own."""
        return self if self._source is None else self._source

    @property
    def source_vocabulary_size(self) -> int | None:
        """The size of that vocabulary; None where there is one for all texts."""
        return None if self._source is None else self._source.vocabulary_size

    def with_special_ids(self, special_ids: SpecialIds) -> Tokenizer:
        """The same tokenizer, told which ids stand for what."""
        return Tokenizer(self.backend, special_ids, self._source)

    def files(self) -> dict[str, str]:
        """What `load` reads back, as the content of each file."""
        files = {TOKENIZER: self.to_json()}
        if self._source is not None:
            files[SOURCE_TOKENIZER] = self._source.to_json()
        ids = self.special_ids
        if ids is not None:
            names = {"eos_token": ids.end_of_text, "pad_token": ids.pad, "bos_token": ids.begin}
            tokens = {name: self.backend.id_to_token(one) for name, one in names.items() if one is not None}
            files[TOKENS] = json.dumps(tokens, ensure_ascii=False, indent=2) + "\n"
            if len(ids.stops) > 1:
                files[GENERATION] = json.dumps({"eos_token_id": list(ids.stops)}) + "\n"
        return files

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
        """What ends a text, and so stands between two."""
        given = self.special_ids.end_of_text if self.special_ids is not None else None
        return self.special(END_OF_TEXT) if given is None else given

    @cached_property
    def pad(self) -> int:
        """What fills padded rows; masks, not this id, say where a row ends, so that it may be that of another token."""
        given = self.special_ids.pad if self.special_ids is not None else None
        found = self.backend.token_to_id(PAD) if given is None else given
        return self.end_of_text if found is None else int(found)

    @property
    def begin(self) -> int | None:
        """What begins a text, where the model has such a token."""
        return self.special_ids.begin if self.special_ids is not None else None

    @property
    def opening(self) -> int:
        """What a model reads before a text: its own mark of a beginning, where it has one, else the end of the text before."""
        return self.end_of_text if self.begin is None else self.begin

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        return (self.special_ids.stops if self.special_ids is not None else ()) or (self.end_of_text,)

    @cached_property
    def pair_marks(self) -> PairMarks:
        """What stands before, between and after two texts that are read together: the tokenizer's own marks (BERT's `[CLS]` a `[SEP]` b
        `[SEP]`), or the end of text in each place where it has none there.
        """
        encoding = self.backend.encode("a", "b", add_special_tokens=True)
        places: tuple[list[int], list[int], list[int]] = ([], [], [])
        seen = 0
        for one, text in zip(encoding.ids, encoding.sequence_ids, strict=True):
            if text is None:
                places[seen].append(one)
            else:
                seen = text + 1
        return PairMarks(*(tuple(ids) or (self.end_of_text,) for ids in places))

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of `text`.

        Args:
            special: with the tokens that the tokenizer puts around a text (Llama's `<s>`, BERT's `[CLS]` and `[SEP]`).

        Raises:
            UserError: it holds half of a surrogate pair, which JSON and broken file names can bring; so do the two methods below.
        """
        with half_pairs_told([text]):
            encoding = self.backend.encode(text, add_special_tokens=special)
        return self._as_text(text, encoding.ids, encoding.special_tokens_mask)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode`, on all cores."""
        with half_pairs_told(texts):
            encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._as_text(text, encoding.ids, encoding.special_tokens_mask) for text, encoding in zip(texts, encodings, strict=True)]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of `text`, and for each of them the characters text[start:end] that it stands for.

        A token that is a part of a character (one byte of it, say) has the whole character.
        """
        with half_pairs_told([text]):
            encoding = self.backend.encode(text, add_special_tokens=False)
        if self._special_texts.keys().isdisjoint(encoding.ids):
            return encoding.ids, encoding.offsets
        found: list[int] = []
        offsets: list[tuple[int, int]] = []
        for ids, offset in zip(self._spelt(text, encoding.ids, encoding.special_tokens_mask), encoding.offsets, strict=True):
            found += ids
            offsets += [offset] * len(ids)
        return found, offsets

    def _as_text(self, text: str, ids: list[int], around: list[int]) -> list[int]:
        """The ids with each special token that stands in the text spelt out.

        Args:
            around: 1 where an id was put around the text.
        """
        if self._special_texts.keys().isdisjoint(ids):
            return ids
        return [one for spelt in self._spelt(text, ids, around) for one in spelt]

    def _spelt(self, text: str, ids: list[int], around: list[int]) -> Iterable[Sequence[int]]:
        """Each id, as one or, of a special token that stands in the text, as those that spell it: a Unigram model knows such tokens as
        pieces, too (T5's `</s>`).
        """
        names = {one: name for one, name in self._special_texts.items() if name in text}
        shown = (("" if added else names.get(one, ""), one) for one, added in zip(ids, around, strict=True))
        return ([token.id for character in name for token in self.backend.model.tokenize(character)] or [one] for name, one in shown)

    @cached_property
    def _special_texts(self) -> dict[int, str]:
        unknown = getattr(self.backend.model, "unk_token", None)
        added = self.backend.get_added_tokens_decoder().items()
        return {one: token.content for one, token in added if token.special and token.content != unknown}

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out; bytes that are no UTF-8 (a cut character) become U+FFFD."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))


def _read_backend(file: Path, fix: str) -> tokenizers.Tokenizer:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(file.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError("no tokenizer here", where=file, fix="run `lodestar prepare` first") from None
    except UnicodeDecodeError:
        raise UserError("the tokenizer is damaged", where=file, fix=fix) from None
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for anything it cannot read
        raise UserError(f"the tokenizer is damaged ({error})", where=file, fix=fix) from None


@contextmanager
def half_pairs_told(texts: Iterable[str]) -> Iterator[None]:
    """One sentence in the place of the library's TypeError about strings that are no Unicode.

    Raises:
        UserError: one of the texts that are encoded here holds half of a surrogate pair.
    """
    try:
        yield
    except TypeError:
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                what = f"the text holds U+{ord(text[error.start]):04X}, half of a surrogate pair, which is no character"
                raise UserError(what, fix="remove it") from None
        raise


def read_special_ids(folder: Path, backend: tokenizers.Tokenizer) -> SpecialIds | None:
    """What the files beside a tokenizer.json name; None where they name nothing.

    Raises:
        UserError: one of them is damaged.
    """
    found: dict[str, int] = {}
    for name in (TOKENS, TOKEN_MAP):
        for role, token in _fields(folder / name).items():
            text = token.get("content") if isinstance(token, Mapping) else token
            one = backend.token_to_id(text) if role in _ROLES and isinstance(text, str) else None
            if one is not None:
                found.setdefault(role, one)
    stops: list[int] = [found["eos_token"]] if "eos_token" in found else []
    for name in (GENERATION, MODEL):
        fields = _fields(folder / name)
        for role in _ROLES:
            given = fields.get(f"{role}_id")
            ids = [one for one in (given if isinstance(given, list) else [given]) if _is_id(one, backend)]
            if ids:
                found.setdefault(role, ids[0])
            # config.json repeats what generation_config.json says, or is older.
            if role == "eos_token" and not (name == MODEL and stops):
                stops += [one for one in ids if one not in stops]
    if not found:
        return None
    return SpecialIds(found.get("eos_token"), found.get("pad_token"), found.get("bos_token"), tuple(stops))


_ROLES = ("eos_token", "pad_token", "bos_token")


def _is_id(value: Any, backend: tokenizers.Tokenizer) -> TypeGuard[int]:
    return type(value) is int and backend.id_to_token(value) is not None


def _fields(file: Path) -> Mapping[str, Any]:
    try:
        fields = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error})", where=file, fix="restore the file") from None
    return fields if isinstance(fields, dict) else {}
