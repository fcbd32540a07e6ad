"""Summaries: what a model reads and writes, and how documents are summarised that it cannot read at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field
from torch import nn

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.reading import Reading, Written
from ..contracts.task import IGNORE
from ..contracts.tokenizer import Tokenizer
from ..model.beam import BeamSettings
from ..model.transformer import Transformer
from ..store.files import read_json
from .layouts.passage import unspaced
from .opening import is_open, open_config
from .sentences import windows
from .seq2seq import ToWrite, encode_pair, write_texts

SEPARATOR = "\n\nTL;DR: "
"""Between a document and its summary, for a decoder (Radford et al. 2019, section 3.6)."""
LEAST_ROOM = 16
"""Tokens of a document that a model must be able to read at once: of fewer, no sentence is left."""


class SummarizeRequest(Config):
    """A document to summarise, or several."""

    input: str | list[str]
    """Of any length: what the model cannot read at once it reads in windows."""
    max_tokens: int | None = Field(None, ge=1)
    """At most so many tokens a summary; those of the task's option `summary_tokens` where absent."""
    beams: int | None = Field(None, ge=1, le=16)
    """Summaries that are tried beside each other; those of the task's option `beams` where absent."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """Above 1 favours longer summaries, below 1 shorter ones; of no effect on one beam."""


@dataclass(frozen=True)
class SummaryForm:
    """How a document and its summary become tokens, for one model."""

    decoder: bool = False
    """One stack that reads the document, `SEPARATOR` and the summary in a row; else an encoder and a decoder."""
    special: bool = False
    """Whether an open model's tokenizer puts its own marks around what is read and written."""
    start: int | None = None
    """What the decoder of an open encoder-decoder begins with; the mark that opens a text where None."""
    prefix: str = ""
    """Before every document (T5's `summarize: `)."""

    @classmethod
    def adopted(cls, folder: Path) -> Self:
        """As the open model in a folder was trained; as ours of one of Lodestar's.

        Raises:
            UserError: it is neither a decoder nor an encoder-decoder.
        """
        architecture = open_config(folder).architecture
        if architecture == "encoder":
            raise UserError("the model is an encoder, which writes nothing", where=folder, fix="name a decoder or an encoder-decoder")
        if architecture == "decoder" or not is_open(folder):
            return cls(decoder=architecture == "decoder")
        fields = read_json(folder / "config.json")
        start = fields.get("decoder_start_token_id")
        return cls(special=True, start=start if isinstance(start, int) else fields.get("pad_token_id"))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        return cls(**fields)

    def with_prefix(self, prefix: str) -> Self:
        return replace(self, prefix=prefix)

    def end(self, tokenizer: Tokenizer) -> int:
        """What ends a summary."""
        around = tokenizer.encode("", special=True) if self.special else []
        return around[-1] if around else tokenizer.end_of_text

    def read(self, document: str, tokenizer: Tokenizer) -> list[int]:
        """All that the model reads: the encoder's source, or the decoder's prompt."""
        ids = tokenizer.encode(self.prefix + document, special=self.special)
        if self.decoder:
            return [tokenizer.opening, *ids, *tokenizer.encode(SEPARATOR)]
        return ids if self.special else [*ids, tokenizer.end_of_text]

    def begin(self, tokenizer: Tokenizer) -> list[int]:
        """What the decoder of an encoder-decoder begins with."""
        return [tokenizer.opening if self.start is None else self.start]

    def written(self, summary: str, tokenizer: Tokenizer) -> list[int]:
        """A summary as it is to be written, without its end."""
        ids = tokenizer.encode(summary, special=self.special)
        return ids[:-1] if ids and self.special and ids[-1] == self.end(tokenizer) else ids

    def encode(self, document: str, summary: str, tokenizer: Tokenizer, context: int | None = None) -> dict[str, list[int] | int]:
        """A pair to learn from: of an encoder-decoder `source`, `tokens` and `targets`; of a decoder the last two.

        Args:
            context: tokens that the model sees at once. A document that is longer loses its end, and `lost` says how many tokens.
        """
        target, end, read = self.written(summary, tokenizer), self.end(tokenizer), self.read(document, tokenizer)
        behind = len(tokenizer.encode(SEPARATOR)) if self.decoder else 1
        room = None if context is None else context - (len(target) if self.decoder else 0)
        lost = 0 if room is None or room < LEAST_ROOM + behind else max(len(read) - room, 0)
        if lost:
            read = [*read[: len(read) - behind - lost], *read[len(read) - behind :]]
        found: dict[str, list[int] | int] = {"lost": lost} if lost else {}
        if not self.decoder:
            return found | encode_pair(read, target, start=self.begin(tokenizer), end=end)
        return found | {"tokens": [*read, *target], "targets": [*[IGNORE] * (len(read) - 1), *target, end]}

    def room(self, model: Transformer, max_tokens: int) -> int:
        """Tokens that may be read at once, where a summary may have so many.

        Raises:
            UserError: too few are left.
        """
        config = model.config
        reads = config.source_context or config.context
        room = config.context - max_tokens if self.decoder else reads
        if max_tokens >= config.context or room < LEAST_ROOM:
            most = config.context - (LEAST_ROOM if self.decoder else 1)
            raise UserError(
                f"the context has {config.context} tokens, which leaves no room for a summary of {max_tokens}",
                where="request.max_tokens", fix=f"ask for {most} or fewer",
            )  # fmt: skip
        return room


@dataclass
class Summary:
    """A document's summary, and what it took."""

    text: str
    windows: int = 1
    """Parts that the document was read in."""
    finished: bool = True
    """Whether the model ended it; else it was cut at the tokens asked for."""
    read_tokens: int = 0
    written_tokens: int = 0


@dataclass
class _Work:
    """A document on its way: what is left to be summarised, and what it was made of so far."""

    rest: str
    summary: Summary
    done: bool = False


def summarize(
    model: nn.Module,
    tokenizer: Tokenizer,
    form: SummaryForm,
    documents: Sequence[str],
    *,
    max_tokens: int,
    settings: BeamSettings,
    label: str = "",
) -> list[Summary]:
    """Each document's summary; nothing of it is left unread.

    A document that is longer than what the model reads at once is split at sentences into windows, as few as hold it. Each is
    summarised; the summaries, one behind the other, are the document's where they are no longer than what was asked for, and are summarised
    again where they are (Wu et al. 2021, https://arxiv.org/abs/2109.10862). All windows of all documents are decoded together.

    Raises:
        UserError: the model has no room for a summary of `max_tokens`.
    """
    assert isinstance(model, Transformer)
    room = form.room(model, max_tokens)
    works = [_Work(document, Summary("", 0)) for document in documents]
    while going := [work for work in works if not work.done]:
        _round(model, tokenizer, form, going, max_tokens, room, settings, label)
    return [work.summary for work in works]


def _round(
    model: Transformer, tokenizer: Tokenizer, form: SummaryForm, works: Sequence[_Work], max_tokens: int, room: int,
    settings: BeamSettings, label: str,
) -> None:  # fmt: skip
    """Summarise what is left of each document once."""
    parts = [_parts(work.rest, form, tokenizer, room) for work in works]
    # A part's summary is at most a quarter as long as the part may be, so that few rounds follow.
    limits = [max_tokens if len(own) == 1 else max(1, min(max_tokens, room // 4)) for own in parts]
    begin = [] if form.decoder else form.begin(tokenizer)
    wanted = [
        ToWrite([] if form.decoder else read, read if form.decoder else begin, limit + (not form.decoder))
        for own, limit in zip(parts, limits, strict=True) for read in own
    ]  # fmt: skip
    end = form.end(tokenizer)
    written = iter(write_texts(model, wanted, settings, ends=[end], pad=tokenizer.pad, label=label))
    for work, own in zip(works, parts, strict=True):
        found = [next(written)[0] for _ in own]
        texts = [tokenizer.decode(one.tokens).strip() for one in found]
        summary = work.summary
        summary.text, summary.finished = _joined(texts), all(one.finished for one in found)
        summary.windows = summary.windows or len(own)
        summary.read_tokens += sum(map(len, own))
        summary.written_tokens += sum(len(one.tokens) for one in found)
        length = len(tokenizer.encode(summary.text))
        work.done = len(own) == 1 or length <= max_tokens or length >= len(tokenizer.encode(work.rest))
        work.rest = summary.text


def _parts(document: str, form: SummaryForm, tokenizer: Tokenizer, room: int) -> list[list[int]]:
    """A document as the windows that the model reads, each as tokens."""
    spans = windows(document, lambda part: len(form.read(part.strip(), tokenizer)) <= room)
    texts = [document[start:end].strip() for start, end in spans]
    return [form.read(text, tokenizer) for text in texts if text] or [form.read("", tokenizer)]


def _joined(texts: Sequence[str]) -> str:
    """Texts behind one another, with a space between them where their script has spaces."""
    joined = ""
    for text in texts:
        joined += ("" if not joined or not text or unspaced(joined[-1]) else " ") + text
    return joined


def read_summary(
    model: nn.Module, tokenizer: Tokenizer, form: SummaryForm, document: str, output: str | None, *, max_tokens: int, settings: BeamSettings
) -> Reading:  # fmt: skip
    """A document that a model summarised, for its summary to be explained.

    Args:
        output: the summary to be explained; the model's own where None.

    Raises:
        UserError: the document is longer than what the model reads at once, or empty, or the output is.
    """
    assert isinstance(model, Transformer)
    room, read = form.room(model, max_tokens), form.read(document.strip(), tokenizer)
    if not document.strip() or len(read) > room:
        what = f"the document has {len(read)} tokens, and the model reads {room} at once" if document.strip() else "the input has no text"
        raise UserError(what, where="request", fix="explain a part of it" if document.strip() else "send a document")
    if output is None:
        output = summarize(model, tokenizer, form, [document], max_tokens=max_tokens, settings=settings)[0].text
    written = form.written(output, tokenizer)
    if not written:
        raise UserError("the output to explain is empty", where="output", fix="give a text")
    if form.decoder:
        return Reading([*read, *written], Written(len(read)), output)
    begin = form.begin(tokenizer)
    return Reading([*begin, *written], Written(len(begin)), output, source=read)
