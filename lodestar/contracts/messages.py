"""The messages of a conversation in the form of OpenAI's API: `role`, `content` and, where a function is to be called, `tool_calls`.

Here the arguments of a call are an object, as chat templates take them; the API sends them as its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .errors import UserError, unknown

ROLES = ("system", "user", "assistant", "tool")
_ROLES = {
    "developer": "system", "human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "function": "tool", "observation": "tool", "tool_response": "tool",
}  # fmt: skip
"""Other names of the four roles."""
FILE_PARTS = ("image_url", "input_audio")
"""OpenAI's parts of a content that are files."""
_CALLS = ("function_call", "tool_call")
"""ShareGPT's name for an assistant that calls a tool; the value is the call as JSON."""


def read_messages(value: Any, field: str, files: Collection[str] = ()) -> list[dict[str, Any]]:
    """Messages as people write them (also ShareGPT's `from` and `value`, content in parts, arguments as JSON), in the one form.

    Args:
        field: what they are called where one of them is at fault.
        files: the types of parts that are kept as they are, where a content has any: it is then a list of these and of texts.

    Raises:
        UserError: one of them is no message; the sentence says which.
    """
    if isinstance(value, str):
        value = _json(value, field)
    if not isinstance(value, Sequence) or not value:
        raise UserError(f"{field!r} holds no messages", fix='write [{"role": "user", "content": "…"}, …]')
    return [read_message(message, f"message {number} of {field}", files) for number, message in enumerate(value, 1)]


def read_message(message: Any, place: str, files: Collection[str] = ()) -> dict[str, Any]:
    """One message in OpenAI's form, its arguments as objects."""
    if not isinstance(message, Mapping):
        raise UserError(f"{place} is {type(message).__name__}, not an object", fix='write {"role": "user", "content": "…"}')
    named = next(((role, text) for role, text in (("role", "content"), ("from", "value")) if role in message), None)
    if named is None:
        raise UserError(f"{place} has no role; its fields are {', '.join(map(str, message)) or 'none'}", fix="name the field role, or from")
    role, content = str(message[named[0]]).lower(), message.get(named[1])
    if role in _CALLS:
        return {"role": "assistant", "content": "", "tool_calls": read_calls(_json(content, place), place)}
    role = _ROLES.get(role, role)
    if role not in ROLES:
        raise unknown("role", role, (*ROLES, *_ROLES), where=place)
    made: dict[str, Any] = {"role": role, "content": _content(content, place, files)}
    if message.get("tool_calls"):
        made["tool_calls"] = read_calls(message["tool_calls"], place)
    for name in ("name", "tool_call_id", "reasoning_content"):
        if isinstance(message.get(name), str):
            made[name] = message[name]
    return made


def text_of(content: Any, place: str) -> str:
    """A content as text: a string, nothing, or OpenAI's parts, of which only text can be read; raises `UserError` for any other."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else part for part in content]
        other = next((part for part in parts if not isinstance(part, str)), None)
        if other is None:
            return "".join(map(str, parts))
        kind = other.get("type") if isinstance(other, Mapping) else type(other).__name__
        raise UserError(f"{place} holds a part of type {kind!r}, and only text can be learnt", fix="remove the part, or the record")
    raise UserError(f"the content of {place} is {type(content).__name__}, not a text", fix="write a string")


def _content(content: Any, place: str, files: Collection[str]) -> str | list[dict[str, Any]]:
    """A content as text; or in parts, where some of these are files."""
    if not isinstance(content, Sequence) or not any(_type_of(part) in files for part in content):
        return text_of(content, place)
    return [dict(part) if _type_of(part) in files else {"type": "text", "text": text_of([part], place)} for part in content]


def _type_of(part: Any) -> str | None:
    return str(part.get("type")) if isinstance(part, Mapping) else None


def read_calls(value: Any, place: str) -> list[dict[str, Any]]:
    """One or several calls, in the one form."""
    calls = value if isinstance(value, list) else [value]
    return [_call(call, place) for call in calls]


def _call(call: Any, place: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UserError(f"a tool call in {place} has no name", fix='write {"function": {"name": "…", "arguments": {…}}}')
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json(arguments, f"the arguments of {function['name']!r} in {place}")
    if not isinstance(arguments, Mapping):
        raise UserError(f"the arguments of {function['name']!r} in {place} are no object", fix='write {"name": value}')
    made: dict[str, Any] = {"type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}
    return {"id": call["id"], **made} if isinstance(call.get("id"), str) else made


def read_tools(value: Any) -> list[dict[str, Any]]:
    """The functions that may be called, as a list or its JSON, each as `{"type": "function", "function": …}`."""
    if not value:
        return []
    tools = _json(value, "tools") if isinstance(value, str) else value
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise UserError("'tools' is no list of objects", fix="write the tools as OpenAI's API takes them")
    return [dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)} for tool in tools]


def _json(text: Any, place: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{place} is no JSON: {text[:40]!r}", fix="correct it") from None


def last_answer(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
    """A conversation up to the assistant's last message, and what that says (its calls as JSON, where it says nothing)."""
    last = max(number for number, message in enumerate(messages) if message["role"] == "assistant")
    said = messages[last]
    return list(messages[:last]), str(said.get("content") or json.dumps(said.get("tool_calls", []), ensure_ascii=False))
