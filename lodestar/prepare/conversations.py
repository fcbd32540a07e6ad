"""Conversations from the records that people have: told apart by their fields, and brought to one form.

| form | fields |
|---|---|
| OpenAI | `messages` of `role`, `content`, `tool_calls`; `tools` |
| ShareGPT | `conversations` of `from`, `value`; `system`, `tools` |
| Alpaca | `instruction`, `input`, `output`; `system`, `history` |
| prompt and completion | `prompt`, `completion` (or `response`) |
| preference pairs | `prompt`, `chosen`, `rejected`, each a text or messages; the prompt may stand in both instead |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..contracts.errors import UserError, unknown

ROLES = ("system", "user", "assistant", "tool")
_ROLES = {
    "developer": "system", "human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "function": "tool", "observation": "tool", "tool_response": "tool",
}  # fmt: skip
"""Other names of the four roles."""
_CALLS = ("function_call", "tool_call")
"""ShareGPT's name for an assistant that calls a tool; the value is the call as JSON."""
KNOWN = (
    "messages (role, content), conversations (from, value), instruction/input/output, prompt/completion, or prompt/chosen/rejected"
)  # fmt: skip


def recognise(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A record → `messages`, and where it has them `tools` and, of a preference pair, `rejected`: the messages in place of the last ones.

    Raises:
        UserError: no form is recognised, or a message is not in its form; the sentence names the message.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if "chosen" in given and "rejected" in given:
        return _pair(given)
    if "messages" in given:
        found: dict[str, Any] = {"messages": _messages(given["messages"], "messages")}
    elif "conversations" in given:
        found = {"messages": [*_system(given), *_messages(given["conversations"], "conversations")]}
    elif "instruction" in given and "output" in given:
        found = {"messages": _alpaca(given)}
    elif "prompt" in given and (answer := next((name for name in ("completion", "response") if name in given), None)):
        found = {"messages": [*_system(given), *_turns(given["prompt"], "user", "prompt"), *_turns(given[answer], "assistant", answer)]}
    else:
        raise UserError(
            f"no conversation is recognised in the fields {', '.join(map(str, fields)) or '(none)'}",
            fix=f"give {KNOWN}; or name the column that holds the messages: data.columns: {{messages: COLUMN}}",
        )  # fmt: skip
    if not any(message["role"] == "assistant" for message in found["messages"]):
        raise UserError("the conversation has no message of the assistant, so there is nothing to learn from", fix="add its answer")
    tools = _tools(given.get("tools"))
    return found | ({"tools": tools} if tools else {})


def _pair(fields: Mapping[str, Any]) -> dict[str, Any]:
    chosen, rejected = (_turns(fields[name], "assistant", name) for name in ("chosen", "rejected"))
    prompt = [*_system(fields), *_turns(fields["prompt"], "user", "prompt")] if "prompt" in fields else []
    if not prompt:
        # Both hold the whole conversation; what they share is the prompt.
        shared = 0
        while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
            shared += 1
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    if not prompt:
        raise UserError("the pair has no prompt: chosen and rejected share no first message", fix="add a field 'prompt'")
    if not chosen or not rejected or chosen == rejected:
        raise UserError("chosen and rejected are the same", fix="remove the record, or correct one of them")
    tools = _tools(fields.get("tools"))
    return {"messages": prompt + chosen, "rejected": rejected} | ({"tools": tools} if tools else {})


def _alpaca(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = _system(fields)
    for number, turn in enumerate(fields.get("history") or (), 1):
        if not (isinstance(turn, list | tuple) and len(turn) == 2):
            raise UserError(f"turn {number} of history is no pair", fix="write [question, answer]")
        roles = zip(("user", "assistant"), turn, strict=True)
        messages += [{"role": role, "content": _text(text, f"turn {number} of history")} for role, text in roles]
    asked = "\n\n".join(_text(fields[name], name) for name in ("instruction", "input") if fields.get(name))
    return [*messages, {"role": "user", "content": asked}, {"role": "assistant", "content": _text(fields["output"], "output")}]


def _system(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "system", "content": _text(fields["system"], "system")}] if fields.get("system") else []


def _turns(value: Any, role: str, field: str) -> list[dict[str, Any]]:
    """A text of one role, or messages."""
    return [{"role": role, "content": value}] if isinstance(value, str) else _messages(value, field)


def _messages(value: Any, field: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        value = _json(value, field)
    if not isinstance(value, Sequence) or not value:
        raise UserError(f"{field!r} holds no messages", fix='write [{"role": "user", "content": "…"}, …]')
    return [_message(message, f"message {number} of {field}") for number, message in enumerate(value, 1)]


def _message(message: Any, place: str) -> dict[str, Any]:
    """One message in OpenAI's form, its arguments as objects."""
    if not isinstance(message, Mapping):
        raise UserError(f"{place} is {type(message).__name__}, not an object", fix='write {"role": "user", "content": "…"}')
    named = next(((role, text) for role, text in (("role", "content"), ("from", "value")) if role in message), None)
    if named is None:
        raise UserError(f"{place} has no role; its fields are {', '.join(map(str, message)) or 'none'}", fix="name the field role, or from")
    role, content = str(message[named[0]]).lower(), message.get(named[1])
    if role in _CALLS:
        return {"role": "assistant", "content": "", "tool_calls": _calls(_json(content, place), place)}
    role = _ROLES.get(role, role)
    if role not in ROLES:
        raise unknown("role", role, (*ROLES, *_ROLES), where=place)
    made: dict[str, Any] = {"role": role, "content": _text(content, place)}
    if message.get("tool_calls"):
        made["tool_calls"] = _calls(message["tool_calls"], place)
    for name in ("name", "tool_call_id"):
        if isinstance(message.get(name), str):
            made[name] = message[name]
    return made


def _text(content: Any, place: str) -> str:
    """A content as text: a string, nothing, or OpenAI's parts, of which only text can be read."""
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


def _calls(value: Any, place: str) -> list[dict[str, Any]]:
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


def _tools(value: Any) -> list[dict[str, Any]]:
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
