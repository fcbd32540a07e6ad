"""How a model reads and writes pairs in two languages: its own marks and tags, or those of the open translator that it began as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.reading import Reading, Written
from ..contracts.task import IGNORE
from ..contracts.tokenizer import Tokenizer
from ..model.beam import BeamSettings
from ..model.transformer import Transformer
from ..store.files import read_json
from .documents import translate_document
from .languages import find_tag, name_of
from .opening import is_open
from .seq2seq import ToWrite, encode_pair, write_texts

Kind = Literal["own", "marian", "m2m", "mbart", "bart", "t5", "decoder"]
_OPEN: Mapping[str, Kind] = {"marian": "marian", "m2m_100": "m2m", "mbart": "mbart", "bart": "bart", "t5": "t5", "mt5": "t5"}
"""model_type of an encoder-decoder's config.json → the form of its pairs."""
SLACK = 32
"""Tokens that a translation may have beyond twice those of its source. # assumed: no pair of the benchmarks comes near"""
MOST_CHARACTERS = 64
"""More characters for each token of the context than any ordinary text has."""


class TranslateRequest(Config):
    """One text, or several."""

    input: str | list[str]
    source: str | None = None
    """The language of the input; may be left out where the model knows one that it translates into `target`."""
    target: str | None = None
    """The language to write; may be left out where the model writes one."""
    beams: int | None = Field(None, ge=1, le=32)
    """In place of the model's own number."""
    document: bool = False
    """Translate sentence by sentence and keep what is between: lines, lists, tables, code, placeholders."""
    format: Literal["plain", "markdown", "html", "subtitles"] = "plain"
    """Of a document."""
    glossary: dict[str, str] = {}
    """Of a document: term → its translation."""
    numbers: bool = False
    """Of a document: numbers must not change."""

    @model_validator(mode="after")
    def _is_text(self) -> TranslateRequest:
        texts = [self.input] if isinstance(self.input, str) else self.input
        try:
            "".join([*texts, *self.glossary, *self.glossary.values()]).encode()
        except UnicodeEncodeError:
            raise ValueError("the request holds half of a surrogate pair, which is no character; remove it") from None
        return self


def own_tag(language: str) -> str:
    """The token that asks for a language: Johnson et al. 2017, https://arxiv.org/abs/1611.04558, section 3."""
    return f"<2{language}>"


@dataclass(frozen=True)
class PairForm:
    """The tokens around the two texts of a pair.

    own: the source begins with the tag of the target's language, where the model writes several. marian, bart: the same without tags.
    m2m (and NLLB, mBART-50): each side begins with its language's tag. mbart: the source ends with its tag, the target begins with its.
    t5: the source begins with words that name the task. decoder: one sequence, in which the languages' names stand before their texts.
    """

    kind: Kind = "own"
    start: tuple[int, ...] = ()
    """What the decoder is given first, before a tag; the mark that ends a text, where empty."""

    @classmethod
    def of_base(cls, folder: Path) -> Self:
        """The form of a base: that of an open checkpoint's family, or of a translator of ours.

        Raises:
            UserError: it is of a family that has no form here.
        """
        if not is_open(folder):
            state = read_json(folder / "task.json").get("state", {})
            return cls.from_json(state["form"]) if "form" in state else cls("decoder")
        fields = read_json(folder / "config.json")
        kind = _OPEN.get(fields.get("model_type", ""), "decoder")
        if kind == "decoder":
            if fields.get("is_encoder_decoder"):
                what = f"translation knows no form of the family {fields.get('model_type')!r}"
                raise UserError(what, where="model.base", fix=f"name one of {', '.join(sorted(_OPEN))}, or a decoder")
            return cls("decoder")
        named = folder / "tokenizer_config.json"
        if kind == "mbart" and named.is_file() and "MBart50" in str(read_json(named).get("tokenizer_class", "")):
            kind = "m2m"
        # mBART's decoder begins with the tag itself.
        first = fields.get("decoder_start_token_id")
        return cls(kind, () if kind == "mbart" or first is None else (int(first),))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(value["kind"], tuple(value["start"]))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "start": list(self.start)}

    @property
    def names_languages(self) -> bool:
        """Whether a pair cannot be written without the names of its languages."""
        return self.kind in ("m2m", "mbart", "t5", "decoder")

    def pair(self, source: str, target: str, languages: tuple[str, str], tokenizer: Tokenizer, *, tagged: bool) -> dict[str, list[int]]:
        """What is learnt of a pair: the fields of a paired example, or of a decoder's sequence.

        Args:
            tagged: whether the model writes several languages.
        """
        asked = self.ask(source, languages, tokenizer, tagged=tagged)
        written, end = self.written(target, tokenizer), tokenizer.end_of_text
        if self.kind == "decoder":
            return {
                "tokens": [*asked.start, *written, end],
                "targets": [*[IGNORE] * (len(asked.start) - 1), *written, end, IGNORE],
            }
        return encode_pair(asked.source, written, start=asked.start, end=end)

    def written(self, target: str, tokenizer: Tokenizer) -> list[int]:
        """A translation as it is to be written, without its end."""
        return tokenizer.encode(f" {target}" if self.kind == "decoder" else target)

    def ask(self, source: str, languages: tuple[str, str], tokenizer: Tokenizer, *, tagged: bool) -> ToWrite:
        """What the model is given to translate a text, and how many tokens it may write."""
        end, (read, write) = tokenizer.end_of_text, languages
        if self.kind == "decoder":
            prompt = [tokenizer.opening, *tokenizer.encode(f"{name_of(read)}: {source}\n{name_of(write)}:")]
            return ToWrite((), prompt, 2 * len(prompt) + SLACK)
        start = list(self.start) or [end]
        if self.kind == "t5":
            source = f"translate {name_of(read)} to {name_of(write)}: {source}"
        reader = tokenizer.source
        ids = [*reader.encode(source), reader.end_of_text]
        if self.kind == "own" and tagged:
            ids.insert(0, reader.special(own_tag(write)))
        elif self.kind == "m2m":
            ids.insert(0, _tag(reader, read))
            start.append(_tag(tokenizer, write))
        elif self.kind == "mbart":
            ids.append(_tag(reader, read))
            start = [_tag(tokenizer, write)]
        elif self.kind == "bart" and tokenizer.begin is not None:
            ids.insert(0, tokenizer.begin)
            start.append(tokenizer.begin)
        return ToWrite(ids, start, 2 * len(ids) + SLACK)

    def read_text(self, tokens: Sequence[int], tokenizer: Tokenizer) -> str:
        """The text of a hypothesis."""
        text = tokenizer.decode(tokens)
        return text[1:] if self.kind == "decoder" and text.startswith(" ") else text

    def banned(self, tokenizer: Tokenizer) -> list[int]:
        """Special tokens that no translation holds: all but the ends."""
        added = tokenizer.backend.get_added_tokens_decoder()
        return [one for one, token in added.items() if token.special and one not in tokenizer.stop_ids]

    def check(self, languages: Iterable[str], tokenizer: Tokenizer) -> None:
        """Refuse a language that the base has no tag for."""
        if self.kind in ("m2m", "mbart"):
            for language in languages:
                _tag(tokenizer, language)


def _tag(tokenizer: Tokenizer, language: str) -> int:
    vocabulary = {token.content: one for one, token in tokenizer.backend.get_added_tokens_decoder().items()}
    found = find_tag(language, vocabulary)
    if found is None:
        some = ", ".join(sorted(vocabulary)[:12])
        raise UserError(f"the base has no tag for the language {language!r}", where="model.base", fix=f"its special tokens are {some}, …")
    return vocabulary[found]


@dataclass(frozen=True)
class Translated:
    """One translation."""

    text: str
    truncated: bool = False
    """Whether the model was stopped before it had ended a part of it."""


class Translator:
    """A model that is asked for translations, and counts its tokens.

    Args:
        tagged: whether the model writes several languages.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, form: PairForm, settings: BeamSettings, *, tagged: bool) -> None:
        assert isinstance(model, Transformer)
        self._model, self._tokenizer, self._form, self._settings, self._tagged = model, tokenizer, form, settings, tagged
        self._banned = form.banned(tokenizer)
        self.tokens_read = self.tokens_written = 0

    def translate(self, texts: Sequence[tuple[str, tuple[str, str]]], label: str = "") -> list[Translated]:
        """Each text, given with its languages. One that is longer than the context is translated sentence by sentence.

        Args:
            label: of the progress bar; none where empty.
        """
        fitting = [place for place, (text, languages) in enumerate(texts) if self.fits(text, languages)]
        found = dict(zip(fitting, self._write([texts[place] for place in fitting], label), strict=True))
        return [found[place] if place in found else self.document(*texts[place]) for place in range(len(texts))]

    def document(
        self,
        text: str,
        languages: tuple[str, str],
        *,
        form: str = "plain",
        glossary: Mapping[str, str] | None = None,
        numbers: bool = False,
    ) -> Translated:
        """A text sentence by sentence, with what is between them as it was; see `documents.translate_document`."""
        truncated = False

        def translate(strings: list[str]) -> list[str]:
            nonlocal truncated
            written = self._write([(string, languages) for string in strings], "")
            truncated = truncated or any(one.truncated for one in written)
            return [one.text for one in written]

        fits = partial(self.fits, languages=languages)
        made = translate_document(text, translate, form=form, glossary=glossary, numbers=numbers, fits=fits)
        return Translated(made.text, truncated)

    def read(self, text: str, languages: tuple[str, str], output: str | None = None) -> Reading:
        """A text that the model translates at once, for the translation to be explained.

        Args:
            output: the translation to be explained; the model's own where None.

        Raises:
            UserError: the text is blank or too long to be read at once, or the output is.
        """
        if not text.strip():
            raise UserError("the input has no text", where="request", fix="send a sentence")
        if not self.fits(text, languages):
            raise UserError("the text is longer than what the model reads at once", where="request", fix="explain one sentence of it")
        if output is None:
            output = self._write([(text, languages)], "")[0].text
        asked, written = self._ask(text, languages), self._form.written(output, self._tokenizer)
        if not output.strip():
            raise UserError("the output to explain is empty", where="output", fix="give a translation")
        if len(asked.start) + len(written) > self._model.config.context:
            raise UserError("the output is longer than what the model writes", where="output", fix="explain one sentence of it")
        return Reading([*asked.start, *written], Written(len(asked.start)), output, source=asked.source)

    def fits(self, text: str, languages: tuple[str, str]) -> bool:
        """Whether the model can read the text, and write as many tokens."""
        # No tokenizer makes a token of more than some characters: what is far too long need not be encoded to know.
        config = self._model.config
        if len(text) > MOST_CHARACTERS * config.context:
            return False
        asked = self._ask(text, languages)
        read = len(asked.source) or len(asked.start)
        if asked.source and read > (config.source_context or config.context):
            return False
        return len(asked.start) + read <= config.context

    def _ask(self, text: str, languages: tuple[str, str]) -> ToWrite:
        return self._form.ask(text, languages, self._tokenizer, tagged=self._tagged)

    def _write(self, texts: Sequence[tuple[str, tuple[str, str]]], label: str) -> list[Translated]:
        """Texts that fit; a blank one is its own translation."""
        places = [place for place, (text, _) in enumerate(texts) if text.strip()]
        asked = [self._ask(*texts[place]) for place in places]
        context = self._model.config.context
        wanted = [one._replace(limit=min(one.limit, context - len(one.start))) for one in asked]
        hypotheses = write_texts(
            self._model, wanted, self._settings, ends=self._tokenizer.stop_ids, pad=self._tokenizer.pad, banned=self._banned, label=label
        )
        written = [Translated(text) for text, _ in texts]
        for place, one, (best, *_) in zip(places, wanted, hypotheses, strict=True):
            self.tokens_read += len(one.source) or len(one.start)
            self.tokens_written += len(best.tokens)
            written[place] = Translated(self._form.read_text(best.tokens, self._tokenizer), not best.finished)
        return written
