"""Conversations about pictures and recordings, from the records that people have: told apart by their fields, and brought to one form.

| form | fields |
|---|---|
| LLaVA, ShareGPT | `image` (or `images`, `audio`, `audios`), `conversations` of `from`, `value` |
| OpenAI | the same with `messages` of `role`, `content` |
| plain | `image` or `audio`, `question`, `answer` |

In the texts, `<image>` or `<audio>` is where a file stands. Where none is written, the files stand before the first question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..contracts.errors import UserError
from ..contracts.messages import read_messages

IMAGE, AUDIO = "<image>", "<audio>"
_PLACEHOLDER = re.compile(f"({IMAGE}|{AUDIO})")
_FILES = {"images": ("image", IMAGE, "picture"), "audios": ("audio", AUDIO, "recording")}
"""The field of our form → its other name, its placeholder, and what a person calls such a file."""
KNOWN = "image (or audio), question, answer; or image and conversations (from, value) as LLaVA has them; or image and messages"


def recognise(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A record → `messages`, whose texts have a placeholder for each file, `images` and `audios`.

    Raises:
        UserError: no form is recognised, a message is not in its form, or there are not as many placeholders as files.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    field = next((name for name in ("messages", "conversations") if name in given), None)
    if field is not None:
        messages = read_messages(given[field], field)
    elif "question" in given and "answer" in given:
        messages = [{"role": role, "content": str(given[name])} for role, name in (("user", "question"), ("assistant", "answer"))]
    else:
        raise UserError(f"no exchange is recognised in the fields {', '.join(map(str, fields)) or '(none)'}", fix=f"give {KNOWN}")
    found: dict[str, Any] = {name: _listed(given.get(name, given.get(other))) for name, (other, _, _) in _FILES.items()}
    return found | {"messages": _placed(messages, {name: len(files) for name, files in found.items()}), "kind": str(given.get("kind", ""))}


def _listed(value: Any) -> list[Any]:
    """One file, several, or none."""
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _placed(messages: list[dict[str, Any]], counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The messages with a placeholder for each file."""
    first = next((number for number, message in enumerate(messages) if message["role"] == "user"), None)
    if first is None or messages[-1]["role"] != "assistant":
        raise UserError("the exchange does not end with an answer to a question", fix="begin with the user, and end with the assistant")
    for name, (_, sign, kind) in _FILES.items():
        written = sum(message["content"].count(sign) for message in messages if message["role"] == "user")
        if not written and counts[name]:
            before = sign * counts[name]
            messages[first] = {**messages[first], "content": f"{before}\n{messages[first]['content']}"}
        elif written != counts[name]:
            fix = f"write {sign} once for each, in the user's messages; or leave all of them out: the files then stand before the first"
            raise UserError(f"the exchange has {written} placeholders {sign} and {_count(counts[name], kind)}", fix=fix)
    for message in messages:
        if message["role"] == "user" and not _PLACEHOLDER.sub("", message["content"]).strip():
            raise UserError("the question is empty", fix="ask something about the file, or remove the record")
    return messages


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def parts(message: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """A user's content in OpenAI's parts, `{"type": "file"}` where a file stands; what is blank around a file is left out."""
    for piece in _PLACEHOLDER.split(message["content"]):
        if piece in (IMAGE, AUDIO):
            yield {"type": "file"}
        elif piece.strip():
            yield {"type": "text", "text": piece.strip()}


def with_parts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages as a chat template takes them: the user's in parts."""
    return [{**message, "content": list(parts(message))} if message["role"] == "user" else dict(message) for message in messages]


def without_files(text: str) -> str:
    """A content without its placeholders."""
    return " ".join(piece.strip() for piece in _PLACEHOLDER.split(text) if piece.strip() and piece not in (IMAGE, AUDIO))
