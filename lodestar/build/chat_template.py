"""Conversations as a model reads them: a family's chat template rendered to tokens, and which of them are the assistant's.

One code path for training and serving, equal token for token to `transformers.apply_chat_template` (tests/build/test_chat_template.py),
but that a special token written in a message is plain text here: who writes `<|im_end|>` in a chat does not end his turn with it.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import jinja2
import tokenizers
from jinja2.exceptions import SecurityError, TemplateSyntaxError

from ..contracts.errors import UserError
from ..contracts.task import IGNORE
from ..contracts.tokenizer import END_OF_TEXT, Tokenizer, half_pairs_told
from ..store.files import read_json
from .template_sandbox import TooMuchWorkError, compiled, render

Message = Mapping[str, Any]
"""`role` and `content`, as OpenAI's API has them; `tool_calls` with arguments as an object. Of a content in parts, those that are no text
are files."""

TURN, END_OF_TURN = "<|im_start|>", "<|im_end|>"
DEFAULT_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>tools\\n' }}
{%- for tool in tools %}
{{- tool | tojson + '\\n' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}
{{- message.content or '' }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>' + {'name': call.function.name, 'arguments': call.function.arguments} | tojson + '</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>' }}
{%- endgeneration %}
{{- '\\n' }}
{%- else %}
{{- (message.content or '') + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""
"""Ours, for the tokenizers that Lodestar trains: ChatML's marks (https://github.com/openai/openai-python, chatml.md of 2023)."""

# Noncharacters, which Unicode keeps for a program's own use: two stand around special tokens that a message holds as text, one for a file.
_TEXT_BEGIN, _TEXT_END, _FILE = "\ufdd0", "\ufdd1", "\ufdd2"
FILE = -1
"""In the place of an id: here stands a file of the conversation, as many of the model's positions as it takes."""
_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens."""

    ids: list[int]
    assistant: list[bool]
    """For each token, whether the assistant wrote it (the end of its turn included)."""
    files: list[bool] = field(default_factory=list)
    """For each token, whether it is a position of a file (see `with_files`)."""

    def with_files(self, positions: Sequence[int], pad: int) -> Rendered:
        """The same with each `FILE` as its positions.

        Args:
            positions: of the files in their order, of which there are as many as the conversation has.
            pad: the id that stands in them; nothing reads it.
        """
        left = iter(positions)
        counts = [next(left) if one == FILE else 1 for one in self.ids]
        return Rendered(
            [pad if one == FILE else one for one, count in zip(self.ids, counts, strict=True) for _ in range(count)],
            [own for own, count in zip(self.assistant, counts, strict=True) for _ in range(count)],
            [one == FILE for one, count in zip(self.ids, counts, strict=True) for _ in range(count)],
        )

    @property
    def targets(self) -> list[int]:
        """For each token, the one that is to be predicted from it; `IGNORE` where that is not the assistant's, or there is none."""
        return [*(token if own else IGNORE for token, own in zip(self.ids[1:], self.assistant[1:], strict=True)), IGNORE]


def prompted(ids: list[int], positions: Sequence[int], pad: int) -> Rendered:
    """A prompt, of which the assistant wrote nothing that is to be learnt, with its files; see `Rendered.with_files`."""
    return Rendered(ids, [False] * len(ids)).with_files(positions, pad)


@dataclass(frozen=True)
class ChatFormat:
    """How one model reads conversations: its template, and the special tokens that the template names."""

    template: str = DEFAULT_TEMPLATE
    special_tokens: Mapping[str, str] = field(default_factory=lambda: {"eos_token": END_OF_TEXT})

    @classmethod
    def load(cls, folder: Path, *, make: bool = False) -> Self:
        """The chat format of a model's folder.

        Args:
            make: give a model that has no template ours, its turns ended by its own end of text: it is to become a chat model.

        Raises:
            UserError: it has no template, or one that cannot be used.
        """
        own = _fields(folder / "task.json").get("state", {}).get("format")
        if own is not None:
            return cls.from_json(own)
        config = _fields(folder / "tokenizer_config.json")
        template = _find_template(folder, config)
        extra = _fields(folder / "special_tokens_map.json")
        special = {name: text for name in _NAMES if (text := _token_text(config.get(name, extra.get(name)))) is not None}
        if template is None and make and "eos_token" in special:
            template = DEFAULT_TEMPLATE.replace(TURN, "### ").replace(END_OF_TURN, special["eos_token"])
        if template is None:
            raise UserError(
                "the model has no chat template, so it is no chat model", where=folder,
                fix="take its instruction-tuned sibling, or fine-tune it with the task chat",
            )  # fmt: skip
        found = cls(template, special)
        found.check(folder)
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(value["template"], dict(value["special_tokens"]))

    def to_json(self) -> dict[str, Any]:
        return {"template": self.template, "special_tokens": dict(self.special_tokens)}

    def check(self, where: str | Path | None = None) -> None:
        """Render a first word and its answer; raises `UserError` where the template cannot."""
        try:
            self.text([{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}])
        except UserError as error:
            raise UserError(error.what, where=where, fix=error.fix) from None

    def text(
        self, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] | None = None, add_generation_prompt: bool = False
    ) -> str:
        """The conversation as text; raises `UserError` where the template refuses it, is none, or misbehaves."""
        return self._render(messages, tools, add_generation_prompt)[0]

    def prompt(self, tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """What the model reads before it answers, `FILE` for each file."""
        marked = [_marked_message(message, _special_pattern(tokenizer.backend)) for message in messages]
        text = self.text(marked, tools=_marked(tools, _special_pattern(tokenizer.backend)), add_generation_prompt=True)
        return _encode(tokenizer.backend, text)[0]

    def encode(self, tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> Rendered:
        """A whole conversation, for training and measuring.

        Raises:
            UserError: the template refuses it, or it cannot be told which part is the assistant's.
        """
        pattern = _special_pattern(tokenizer.backend)
        marked, marked_tools = [_marked_message(message, pattern) for message in messages], _marked(tools, pattern)
        text, spans = self._render(marked, marked_tools, False)
        if not spans:
            spans = self._spans_by_prefix(text, marked, marked_tools, pattern)
        spans = [_without_tail(text, begin, end, pattern) for begin, end in spans]
        ids, offsets = _encode(tokenizer.backend, text)
        assistant = [False] * len(ids)
        for begin, end in spans:
            first, behind = (
                _boundary(tokenizer.backend, text, ids, offsets, place, after) for place, after in ((begin, False), (end, True))
            )
            assistant[first:behind] = [True] * (behind - first)
        return Rendered(ids, assistant)

    def stop_ids(self, tokenizer: Tokenizer) -> list[int]:
        """The tokens that end an answer: the tokenizer's, and the one that the template puts after an answer."""
        text = self.text([{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}])
        tail = text[text.rfind("!") + 1 :].lstrip()
        after = [token for token in _special_texts(tokenizer.backend) if tail.startswith(token)]
        return sorted({*tokenizer.stop_ids, *(tokenizer.special(token) for token in after)})

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None, add_generation_prompt: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        # What is null counts as left out, as in transformers: templates ask whether a field is there.
        plain = [{name: value for name, value in message.items() if value is not None} for message in messages]
        variables = {
            **self.special_tokens, "messages": plain, "tools": tools or None, "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }  # fmt: skip
        try:
            return render(compiled(self.template), variables)
        except TemplateSyntaxError as error:
            raise UserError(f"the chat template is no Jinja (line {error.lineno}: {error.message})", fix=_MEND) from None
        except SecurityError as error:
            raise UserError(f"the chat template reaches outside its sandbox ({error})", fix="do not use this model") from None
        except (TooMuchWorkError, RecursionError, MemoryError):
            raise UserError("the chat template does not end, or makes text without bound", fix="do not use this model") from None
        except jinja2.TemplateError as error:
            raise UserError(
                f"the chat template refuses the conversation: {error}", fix="give the messages in the form that it asks for"
            ) from None
        except Exception as error:  # noqa: BLE001 - a template is a program of somebody else's, and can raise whatever Python can
            raise UserError(f"the chat template fails ({type(error).__name__}: {error})", fix=_MEND) from None

    def _spans_by_prefix(
        self, text: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None, special: re.Pattern[str]
    ) -> list[tuple[int, int]]:
        """Where each answer begins and ends, by rendering the conversation up to it and up to its end."""
        spans: list[tuple[int, int]] = []
        cursor = 0
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render(messages[:number], tools, True)[0] if number else ""
            until = self._render(messages[: number + 1], tools, False)[0]
            content = str(message.get("content") or "").strip()
            begin = len(before) if text.startswith(before) else text.find(content, cursor) if content else -1
            end = len(until) if text.startswith(until) and len(until) > begin else _end_by_content(text, until, content, begin, special)
            if not cursor <= begin < end:
                raise UserError(
                    f"the chat template rewrites message {number + 1}, so it cannot be told which tokens are the assistant's",
                    fix="put {% generation %} around the assistant's part of the template",
                )  # fmt: skip
            spans.append((begin, end))
            cursor = end
        return spans


_MEND = "mend the template, or take the model from its authors again"


def _end_by_content(text: str, until: str, content: str, begin: int, special: re.Pattern[str]) -> int:
    """The end of an answer that the template shows differently when more follows: its content, and what is there of the turn's end."""
    place = text.find(content, begin) if begin >= 0 else -1
    if place < 0:
        return -1
    end = place + len(content)
    tail = until[until.rfind(content) + len(content) :] if content else until[begin:]
    mark = special.match(tail, len(tail) - len(tail.lstrip()))
    if mark is not None:
        return end + mark.end() if text.startswith(tail[: mark.end()], end) else -1
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(tail, text[end:], strict=False))
    return end + sum(1 for _ in alike)


def _without_tail(text: str, begin: int, end: int, special: re.Pattern[str]) -> tuple[int, int]:
    """A span without what stands behind the token that ends the turn: the model stops there."""
    tail = re.search(rf"({special.pattern})(?:\s|{special.pattern})*\Z", text[begin:end])
    return (begin, begin + tail.end(1)) if tail is not None else (begin, end)


# From text to tokens


@functools.lru_cache(maxsize=8)
def _special_texts(backend: tokenizers.Tokenizer) -> tuple[str, ...]:
    """The special tokens, the longest first, so that one that begins another is not taken for it."""
    return tuple(sorted((token.content for token in backend.get_added_tokens_decoder().values() if token.special), key=len, reverse=True))


@functools.lru_cache(maxsize=8)
def _special_pattern(backend: tokenizers.Tokenizer) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, _special_texts(backend))) or "(?!)")


@functools.lru_cache(maxsize=8)
def _reading_specials(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same tokenizer, but one that takes special tokens in a text for what they are."""
    copy = tokenizers.Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = False
    return copy


def _marked_message(message: Message, special: re.Pattern[str]) -> dict[str, Any]:
    """A message with its special tokens marked as text, and its files by the sign for one."""
    marked: dict[str, Any] = _marked(message, special)
    if isinstance(marked.get("content"), list):
        marked["content"] = "".join(part["text"] if part["type"] == "text" else _FILE for part in marked["content"])
    return marked


def _marked(value: Any, special: re.Pattern[str]) -> Any:
    """A JSON value with its special tokens marked as text."""
    if isinstance(value, str):
        clean = _OWN.sub("", value)
        return special.sub(lambda found: f"{_TEXT_BEGIN}{found.group()}{_TEXT_END}", clean)
    if isinstance(value, Mapping):
        return {name: _marked(inner, special) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [_marked(inner, special) for inner in value]
    return value


_OWN = re.compile(f"[{_TEXT_BEGIN}{_TEXT_END}{_FILE}]")
_PIECE = re.compile(f"({_OWN.pattern}?)([^{_OWN.pattern[1:-1]}]*)")


def _encode(backend: tokenizers.Tokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The ids of a rendered text, and the characters (begin, end) of each."""
    with half_pairs_told([text]):
        if _OWN.search(text) is None:
            encoding = _reading_specials(backend).encode(text, add_special_tokens=False)
            return list(encoding.ids), list(encoding.offsets)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        place = 0
        for mark, piece in _PIECE.findall(text):
            if mark == _FILE:
                ids.append(FILE)
                offsets.append((place, place + 1))
            place += len(mark)
            for part in _parts_as_text(backend, piece) if mark == _TEXT_BEGIN else [piece]:
                reader = backend if mark == _TEXT_BEGIN else _reading_specials(backend)
                encoding = reader.encode(part, add_special_tokens=False)
                ids += encoding.ids
                offsets += [(begin + place, end + place) for begin, end in encoding.offsets]
                place += len(part)
        return ids, offsets


def _parts_as_text(backend: tokenizers.Tokenizer, special: str) -> list[str]:
    """A special token's text in parts that the tokenizer does not put together to that very token: as a whole, else its characters."""
    return list(special) if backend.token_to_id(special) in backend.encode(special, add_special_tokens=False).ids else [special]


def _boundary(
    backend: tokenizers.Tokenizer, text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], place: int, after: bool
) -> int:
    """The first token that is not of `text[:place]`.

    Where the text before is the same tokens by itself, those are they. Where a token reaches across, its characters decide: it is the
    assistant's if one of them is, as in transformers.

    Args:
        after: whether `place` is the end of an answer rather than its beginning.
    """
    before = _encode(backend, text[:place])[0]
    if list(ids[: len(before)]) == before:
        return len(before)
    if after:
        return sum(begin < place for begin, _ in offsets)
    return sum(end <= place for _, end in offsets)


# From a checkpoint's files


def _fields(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.is_file() else {}
    if not isinstance(value, dict):
        raise UserError("the file is damaged: it holds no fields", where=path, fix="restore it")
    return value


def _find_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """chat_template.jinja, chat_template.json, or the field of tokenizer_config.json; of several by name, `default`."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text("utf-8")
        except UnicodeDecodeError:
            raise UserError("the file is damaged: not UTF-8", where=file, fix="restore it") from None
    found = _fields(folder / "chat_template.json").get("chat_template", config.get("chat_template"))
    if isinstance(found, list):
        found = {str(item.get("name")): item.get("template") for item in found if isinstance(item, dict)}
    if isinstance(found, dict):
        found = found.get("default")
    if found is not None and not isinstance(found, str):
        raise UserError("chat_template is no text", where=folder / "tokenizer_config.json", fix="restore the file")
    return found


def has_template(folder: Path) -> bool:
    """Whether an open checkpoint's folder brings a chat template."""
    return _find_template(folder, _fields(folder / "tokenizer_config.json")) is not None


def _token_text(value: Any) -> str | None:
    """A token's text; some files have it as an object with its properties."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
