"""Each form of record that people have, brought to one; and what is told of a record in none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.task import Example
from lodestar.prepare.conversations import recognise
from lodestar.prepare.readers import Raw
from lodestar.prepare.records import Validator

USER, ANSWER = {"role": "user", "content": "Where is north?"}, {"role": "assistant", "content": "星在那里。"}
CALL = {"type": "function", "function": {"name": "tide", "arguments": {"at": "Lee"}}}
TOOL = {"type": "function", "function": {"name": "tide", "parameters": {}}}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"messages": [USER, ANSWER]}, [USER, ANSWER]),
        ({"messages": json.dumps([USER, ANSWER])}, [USER, ANSWER]),
        ({"messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]}, USER, ANSWER]},
         [{"role": "system", "content": "Be brief."}, USER, ANSWER]),
        ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"at": "Lee"}'}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"}]},
         [USER, {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", **CALL}]},
          {"role": "tool", "content": "3", "tool_call_id": "c1"}]),
        ({"conversations": [{"from": "human", "value": USER["content"]}, {"from": "gpt", "value": ANSWER["content"]}]}, [USER, ANSWER]),
        ({"system": "Be brief.", "conversations": [
            {"from": "human", "value": "?"}, {"from": "function_call", "value": '{"name": "tide", "arguments": {"at": "Lee"}}'},
            {"from": "observation", "value": "3"}, {"from": "gpt", "value": "Three."}]},
         [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"},
          {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "3"},
          {"role": "assistant", "content": "Three."}]),
        ({"instruction": "Translate.", "input": "north", "output": "北"},
         [{"role": "user", "content": "Translate.\n\nnorth"}, {"role": "assistant", "content": "北"}]),
        ({"instruction": "Say one.", "input": "", "output": "one", "history": [["a", "b"]], "system": "s"},
         [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
          {"role": "user", "content": "Say one."}, {"role": "assistant", "content": "one"}]),
        ({"prompt": USER["content"], "completion": ANSWER["content"]}, [USER, ANSWER]),
        ({"prompt": [USER], "response": [ANSWER]}, [USER, ANSWER]),
    ],
)  # fmt: skip
def test_a_record_is_told_by_its_fields(record: dict[str, Any], expected: list[Any]) -> None:
    assert recognise(record) == {"messages": expected}
    assert recognise(record | {"source": "x", "tools": None}) == {"messages": expected}


def test_tools_come_with_or_without_their_wrapping() -> None:
    for given in ([TOOL], [TOOL["function"]], json.dumps([TOOL])):
        assert recognise({"messages": [USER, ANSWER], "tools": given})["tools"] == [TOOL]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": USER["content"], "chosen": ANSWER["content"], "rejected": "No."},
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [{"role": "assistant", "content": "No."}]},
        {"chosen": [USER, ANSWER], "rejected": [USER, {"role": "assistant", "content": "No."}]},
    ],
)
def test_a_preference_pair_keeps_both_answers(record: dict[str, Any]) -> None:
    assert recognise(record) == {"messages": [USER, ANSWER], "rejected": [{"role": "assistant", "content": "No."}]}


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [USER, ANSWER], "label": False},
        {"prompt": USER["content"], "completion": ANSWER["content"], "label": False},
        {"instruction": USER["content"], "output": ANSWER["content"], "kto_tag": False},
        {"conversations": [{"from": "human", "value": USER["content"]}, {"from": "gpt", "value": ANSWER["content"]}], "label": False},
    ],
)
def test_a_judged_reply_keeps_its_judgement(record: dict[str, Any]) -> None:
    assert recognise(record) == {"messages": [USER, ANSWER], "desirable": False}
    assert recognise({**record, "label": "weather", "kto_tag": None}) == {"messages": [USER, ANSWER]}


def test_the_labelled_records_of_llama_factory(shared_data: Path) -> None:
    with gzip.open(shared_data / "chat" / "instruction-demos" / "kto_en_demo.json.gz") as file:
        records = json.load(file)
    found = [recognise(record) for record in records]
    assert [one["desirable"] for one in found] == [record["label"] for record in records]
    assert len({one["desirable"] for one in found}) == 2


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"messages": [ANSWER, USER], "label": True}, "the label judges the last message, and that is not the assistant's"),
        ({"question": "?", "answer": "!"}, "no conversation is recognised in the fields question, answer; give messages (role, content)"),
        ({}, "in the fields (none)"),
        ({"messages": [USER]}, "no message of the assistant"),
        ({"messages": []}, "'messages' holds no messages"),
        ({"messages": "hello"}, "messages is no JSON: 'hello'"),
        ({"messages": [USER, "hi"]}, "message 2 of messages is str, not an object"),
        ({"messages": [{"speaker": "a", "text": "b"}]}, "message 1 of messages has no role; its fields are speaker, text"),
        ({"messages": [{"role": "asistant", "content": "b"}]}, "message 1 of messages: unknown role 'asistant'; did you mean 'assistant'?"),
        ({"messages": [{"role": "user", "content": 5}, ANSWER]}, "the content of message 1 of messages is int, not a text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]}, "holds a part of type 'image_url'"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{oops"}}]}]},
         "the arguments of 'f' in message 1 of messages is no JSON: '{oops'"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "a tool call in message 1 of messages has no name"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": [1]}]}]}, "are no object"),
        ({"messages": [USER, ANSWER], "tools": "many"}, "tools is no JSON"),
        ({"messages": [USER, ANSWER], "tools": [1]}, "'tools' is no list of objects"),
        ({"chosen": "a", "rejected": "b"}, "the pair has no prompt"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected are the same"),
        ({"prompt": "a", "chosen": [ANSWER, USER, ANSWER], "rejected": "b"}, "after the prompt, chosen has 3 messages and rejected 1"),
        ({"instruction": "a", "output": "b", "history": ["x"]}, "turn 1 of history is no pair"),
    ],
)  # fmt: skip
def test_a_record_in_no_form_is_refused_in_one_sentence(record: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        recognise(record)
    assert sentence in str(refused.value)


class Talk(Example):
    messages: list[dict[str, Any]]

    @classmethod
    def of_record(cls, fields: Any) -> Any:
        return recognise(fields)


def test_an_examples_own_forms_are_read_and_refused_with_file_and_line(tmp_path: Path) -> None:
    assert Validator(Talk, {}).example(Raw({"prompt": "a", "completion": "b"}, "x.jsonl:1")).messages[1]["content"] == "b"
    assert Validator(Talk, {"messages": "dialogue"}).example(Raw({"dialogue": [USER, ANSWER]}, "x.jsonl:1")).messages == [USER, ANSWER]
    with pytest.raises(UserError) as refused:
        Validator(Talk, {}).example(Raw({"messages": [{"role": "usr"}]}, "x.jsonl:7"))
    assert str(refused.value) == "x.jsonl:7: message 1 of messages: unknown role 'usr'; did you mean 'user'?"
    with pytest.raises(UserError, match=r"x\.jsonl:7: no conversation is recognised in the fields a"):
        Validator(Talk, {}).example(Raw({"a": 1}, "x.jsonl:7"))
