"""Conversations from the records that people have: told apart by their fields, and brought to one form.

| form | fields |
|---|---|
| OpenAI | `messages` of `role`, `content`, `tool_calls`; `tools` |
| ShareGPT | `conversations` of `from`, `value`; `system`, `tools` |
| Alpaca | `instruction`, `input`, `output`; `system`, `history` |
| prompt and completion | `prompt`, `completion` (or `response`) |
| judged replies (KTO) | any of these, and `label` (or `kto_tag`): true where the last reply is wanted, false where it is not |
| preference pairs | `prompt`, `chosen`, `rejected`, each a text or messages; the prompt may stand in both instead |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..contracts.errors import UserError
from ..contracts.messages import read_messages, read_tools, text_of

KNOWN = (
    "messages (role, content), conversations (from, value), instruction/input/output, prompt/completion, or prompt/chosen/rejected"
)  # fmt: skip


def recognise(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A record → `messages`, and where it has them `tools`; of a preference pair `rejected`: the messages in place of the last ones; of a
    judged reply `desirable`: whether it is wanted.

    Raises:
        UserError: no form is recognised, or a message is not in its form; the sentence names the message.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if "chosen" in given and "rejected" in given:
        return _pair(given)
    if "messages" in given:
        found: dict[str, Any] = {"messages": read_messages(given["messages"], "messages")}
    elif "conversations" in given:
        found = {"messages": [*_system(given), *read_messages(given["conversations"], "conversations")]}
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
    tools = read_tools(given.get("tools"))
    return found | ({"tools": tools} if tools else {}) | _judgement(given, found["messages"])


def _judgement(fields: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """A `label` that is not true or false is something else: a topic, say."""
    label = next((fields[name] for name in ("label", "kto_tag") if isinstance(fields.get(name), bool)), None)
    if label is None:
        return {}
    if messages[-1]["role"] != "assistant":
        raise UserError("the label judges the last message, and that is not the assistant's", fix="end with its reply, or remove the label")
    return {"desirable": label}


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
    if len(chosen) != len(rejected):
        raise UserError(
            f"after the prompt, chosen has {len(chosen)} messages and rejected {len(rejected)}", fix="compare one reply with another"
        )  # fmt: skip
    tools = read_tools(fields.get("tools"))
    return {"messages": prompt + chosen, "rejected": rejected} | ({"tools": tools} if tools else {})


def _alpaca(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = _system(fields)
    for number, turn in enumerate(fields.get("history") or (), 1):
        if not (isinstance(turn, list | tuple) and len(turn) == 2):
            raise UserError(f"turn {number} of history is no pair", fix="write [question, answer]")
        roles = zip(("user", "assistant"), turn, strict=True)
        messages += [{"role": role, "content": text_of(text, f"turn {number} of history")} for role, text in roles]
    asked = "\n\n".join(text_of(fields[name], name) for name in ("instruction", "input") if fields.get(name))
    return [*messages, {"role": "user", "content": asked}, {"role": "assistant", "content": text_of(fields["output"], "output")}]


def _system(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "system", "content": text_of(fields["system"], "system")}] if fields.get("system") else []


def _turns(value: Any, role: str, field: str) -> list[dict[str, Any]]:
    """A text of one role, or messages."""
    return [{"role": role, "content": value}] if isinstance(value, str) else read_messages(value, field)
