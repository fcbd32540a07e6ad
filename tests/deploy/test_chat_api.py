"""POST /v1/chat/completions over real sockets, through OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import openai
import pytest

from lodestar.build.chat import Reply, parse_calls
from lodestar.deploy.routes import ApiLimits
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service

http_post = partial(httpx.post, timeout=60)

NAME = "tiny-chat"
MESSAGES: Any = [{"role": "system", "content": "回答要短。"}, {"role": "user", "content": "Which way is north?"}]
TOOL: Any = {"type": "function", "function": {"name": "depth", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def url(chat: Service) -> Iterator[str]:
    with serving(chat, api_limits=ApiLimits(body_bytes=50_000)) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none is needed", max_retries=0) as opened:
        yield opened


def offline(chat: Service, **request: Any) -> dict[str, Any]:
    return chat.task.answer(chat.model, chat.tokenizer, {"messages": MESSAGES, **request})


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_tokens": 30},
        {"max_tokens": 60, "temperature": 1.0, "seed": 7},
        {"max_tokens": 200, "temperature": 0.8, "top_p": 0.9, "seed": 3, "stop": ["e", "。"]},
        {"max_tokens": 20, "tools": [TOOL]},
        {},
    ],
)
def test_the_served_answer_equals_the_offline_one(client: openai.OpenAI, chat: Service, parameters: dict[str, Any]) -> None:
    expected = offline(chat, **parameters)
    whole = client.chat.completions.create(model=NAME, messages=MESSAGES, **parameters)
    assert whole.usage is not None
    assert whole.choices[0].message.content == expected["message"]["content"]
    assert whole.choices[0].message.role == "assistant"
    assert whole.choices[0].finish_reason == expected["finish_reason"]
    assert {key: getattr(whole.usage, key) for key in expected["usage"]} == expected["usage"]

    streaming: Any = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model=NAME, messages=MESSAGES, **streaming, **parameters))
    told = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == expected["message"]["content"]
    assert told[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in told if choice.finish_reason] == [expected["finish_reason"]]
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def test_several_answers(client: openai.OpenAI, chat: Service) -> None:
    answer = client.chat.completions.create(model=NAME, messages=MESSAGES, n=3, max_completion_tokens=12, temperature=1.0, seed=5)
    assert answer.choices[0].message.content == offline(chat, max_tokens=12, temperature=1.0, seed=5)["message"]["content"]
    assert len({choice.message.content for choice in answer.choices}) == 3
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(
        model=NAME, messages=MESSAGES, n=3, max_completion_tokens=12, temperature=1.0, seed=5, stream=True
    ):  # fmt: skip
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == [choice.message.content for choice in answer.choices]


def test_what_a_client_sends_again_is_read(client: openai.OpenAI) -> None:
    """A whole exchange with a tool, as the client's own types write it."""
    call = {"id": "c1", "type": "function", "function": {"name": "depth", "arguments": '{"at": "Lee"}'}}
    messages: Any = [
        *MESSAGES, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "user", "content": [{"type": "text", "text": "So?"}]},
    ]  # fmt: skip
    answer = client.chat.completions.create(model=NAME, messages=messages, tools=[TOOL], tool_choice="auto", max_tokens=4)
    again = client.chat.completions.create(model=NAME, messages=[*messages, answer.choices[0].message], max_tokens=4)  # type: ignore[list-item]
    assert again.usage is not None
    assert answer.usage is not None
    assert again.usage.prompt_tokens != answer.usage.prompt_tokens
    without = client.chat.completions.create(model=NAME, messages=messages, tools=[TOOL], tool_choice="none", max_tokens=4)
    assert without.usage is not None
    assert without.usage.prompt_tokens < answer.usage.prompt_tokens


def test_an_answer_in_a_given_form_equals_the_offline_one(client: openai.OpenAI, chat: Service) -> None:
    schema = {"type": "object", "properties": {"way": {"enum": ["north", "南"]}}, "required": ["way"], "additionalProperties": False}
    form: Any = {"type": "json_schema", "json_schema": {"name": "way", "schema": schema, "strict": True}}
    told = client.chat.completions.create(model=NAME, messages=MESSAGES, response_format=form, seed=4, temperature=1, max_tokens=60)
    content = told.choices[0].message.content
    assert json.loads(str(content))["way"] in ("north", "南")
    assert content == offline(chat, response_format=form, seed=4, temperature=1.0, max_tokens=60)["message"]["content"]
    depth: Any = {"type": "function", "function": {"name": "depth", "parameters": schema}}
    called = client.chat.completions.create(
        model=NAME, messages=MESSAGES, tools=[depth], tool_choice="required", max_tokens=150, stream=True
    )
    deltas = [chunk.choices[0] for chunk in called]
    names = [call.function.name for choice in deltas for call in choice.delta.tool_calls or [] if call.function]
    assert names[0] == "depth"
    assert deltas[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"messages": []}, 400, "'messages' holds no messages"),
        ({}, 400, "'messages' is missing"),
        ({"messages": [{"role": "usr", "content": "x"}]}, 400, "unknown role 'usr'; did you mean 'user'?"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "part of type 'image_url'"),
        ({"messages": MESSAGES, "max_tokens": 4000}, 400, "the context has 512 tokens"),
        ({"messages": [{"role": "user", "content": "long " * 600}]}, 400, "shorten the conversation"),
        ({"messages": MESSAGES, "max_tokens": 0}, 400, "'max_tokens' must be"),
        ({"messages": MESSAGES, "max_tokns": 5}, 400, "Did you mean 'max_tokens'?"),
        ({"messages": MESSAGES, "n": 50}, 400, "at most 16"),
        ({"messages": MESSAGES, "logprobs": True}, 400, "does not support 'logprobs'"),
        (
            {"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            400,
            "cannot be honoured",
        ),
        (
            {"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}, "stream": True},
            400,
            "no answer has this form",
        ),
        ({"messages": MESSAGES, "max_tokens": 4, "max_completion_tokens": 5}, 400, "two names of one limit"),
        ({"messages": MESSAGES, "response_format": {"type": "xml"}}, 400, "'response_format.type' must be"),
        ({"messages": MESSAGES, "tools": [5]}, 400, "'tools' is no list of objects"),
        ({"messages": MESSAGES, "tool_choice": "required"}, 400, "there are no tools"),
        ({"messages": MESSAGES, "tool_choice": "perhaps"}, 400, "'tool_choice' must be"),
        ({"messages": MESSAGES, "model": "gpt"}, 404, "no model 'gpt' here"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_answered_is_refused(url: str, body: dict[str, Any], status: int, sentence: str) -> None:
    answer = http_post(f"{url}/v1/chat/completions", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]


def test_the_card_offers_questions_and_feedback_is_taken(url: str, client: openai.OpenAI) -> None:
    card = httpx.get(f"{url}/api/release").json()
    assert card["endpoint"] == "chat/completions"
    assert card["examples"][0]["messages"]
    answer = client.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=2)
    assert http_post(f"{url}/v1/feedback", json={"id": answer.id, "rating": "up"}).status_code == 200


CALL = '{"name": "depth", "arguments": {"at": "Lee"}}'
PARSED = [{"name": "depth", "arguments": {"at": "Lee"}}]


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (f"<tool_call>{CALL}</tool_call>", "", PARSED),
        (f"Let me see.\n<tool_call>\n{CALL}\n</tool_call>\n<tool_call>{CALL}</tool_call>", "Let me see.", PARSED * 2),
        (f"[{CALL}]", "", PARSED),
        (CALL.replace("arguments", "parameters"), "", PARSED),
        ("<tool_call>{oops}</tool_call>", "<tool_call>{oops}</tool_call>", []),
        ("[1, 2]", "[1, 2]", []),
        ("just words", "just words", []),
    ],
)
def test_calls_are_read_from_what_families_write(text: str, content: str, calls: list[Any]) -> None:
    assert parse_calls(text) == (content, calls)
    for size in (1, 3, len(text)):  # however it arrives
        reply = Reply(tools=True)
        shown = "".join(reply.push(text[start : start + size]) for start in range(0, len(text), size)) + reply.finish()
        assert (shown.rstrip(), reply.calls) == (content, calls)
    plain = Reply(tools=False)
    assert plain.push(text) == text
    assert (plain.finish(), plain.calls) == ("", [])
