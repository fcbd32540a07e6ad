"""Answers held to a form, by models with random weights, which would write anything: judged by the jsonschema library."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import torch

from lodestar import tasks
from lodestar.build.chat import ChatRequest, answer
from lodestar.build.chat import ask as read_question
from lodestar.build.chat_template import ChatFormat
from lodestar.build.constrain import CallStyle, Constraint, calls_grammar, json_grammar
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare.tokenizer import train_tokenizer

ASKED: list[dict[str, Any]] = [{"role": "user", "content": "Which way is north?"}]
PLACE = {"type": "object", "properties": {"harbour": {"enum": ["Lee", "港口"]}, "metres": {"type": "integer", "minimum": 1, "maximum": 99}},
         "required": ["harbour", "metres"], "additionalProperties": False}  # fmt: skip
TREE = {"type": "object", "properties": {"left": {"$ref": "#/$defs/leaf"}}, "required": ["left"], "additionalProperties": False,
        "$defs": {"leaf": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3}}}  # fmt: skip
SCHEMAS: list[dict[str, Any]] = [
    PLACE, TREE, {"enum": ["A", "B", "tie"]}, {"const": {"a": [1, None]}}, {"type": "string", "pattern": "^[ab]{2,5}$"},
    {"type": "string", "minLength": 2, "maxLength": 4}, {"anyOf": [{"type": "null"}, {"type": "number", "minimum": 0, "maximum": 1}]},
    {"type": "string", "format": "date"}, {"type": "array", "prefixItems": [{"const": 1}, {"const": "二"}], "items": False, "minItems": 2},
]  # fmt: skip


def tool(name: str, parameters: dict[str, Any], *, strict: bool = False) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters, "strict": strict}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    task = tasks.find("chat")()
    return train_tokenizer([text for example in task.sample() for text in task.texts(example)], 400, task.special_tokens)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    torch.manual_seed(0)
    # More rows of logits than tokens, as many open models have.
    return Transformer(ModelConfig(tokenizer.vocabulary_size + 7, width=32, depth=2, heads=2, context=1024, initial_std=0.5)).eval()


def ask(model: Transformer, tokenizer: Tokenizer, form: ChatFormat | None = None, **request: Any) -> dict[str, Any]:
    parsed = ChatRequest.parse({"messages": ASKED, "max_tokens": 200, "temperature": 1.0, **request}, where="request")
    return answer(tokenizer, read_question(model, tokenizer, form or ChatFormat(), parsed), parsed.seed)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: next(iter(schema)))
def test_every_answer_that_ends_is_what_the_schema_allows(model: Transformer, tokenizer: Tokenizer, schema: dict[str, Any]) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "form", "schema": schema, "strict": True}}
    ended = 0
    for seed in range(6):
        told = ask(model, tokenizer, response_format=asked, seed=seed, temperature=0.0 if seed == 0 else 1.5)
        if told["finish_reason"] == "stop":
            jsonschema.validate(json.loads(told["message"]["content"]), schema, format_checker=jsonschema.FormatChecker())
            ended += 1
    assert ended >= 5


def test_a_free_answer_of_this_model_is_no_json(model: Transformer, tokenizer: Tokenizer) -> None:
    """The tests above would mean nothing, were it otherwise."""
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(ask(model, tokenizer, seed=0)["message"]["content"])


def test_any_object_can_be_asked_for(model: Transformer, tokenizer: Tokenizer) -> None:
    told = [ask(model, tokenizer, response_format={"type": "json_object"}, seed=seed, max_tokens=400) for seed in range(8)]
    contents = [one["message"]["content"] for one in told if one["finish_reason"] == "stop"]
    assert contents
    assert all(isinstance(json.loads(content), dict) for content in contents)


def test_an_answer_that_is_cut_off_says_so(model: Transformer, tokenizer: Tokenizer) -> None:
    told = ask(model, tokenizer, response_format={"type": "json_schema", "json_schema": {"schema": {"const": "x" * 99}}}, max_tokens=3)
    assert told["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "array", "uniqueItems": True}, 'cannot be honoured: Unimplemented keys: ["uniqueItems"]'),
        ({"not": {"type": "string"}}, "cannot be honoured"),
        ({"type": "string", "format": "phone"}, "Unknown format: phone"),
        ({"type": "strange"}, "Invalid type: strange"),
        ({"type": "integer", "minimun": 3}, "JSON Schema has no keyword 'minimun'; did you mean 'minimum'"),
        ({"properties": {"a": {"anyOf": [{"typ": "string"}]}}}, "no keyword 'typ'"),
        ({"$ref": "https://example.org/schema"}, "cannot be honoured"),
        ({"type": "string", "minLength": 3, "maxLength": 1}, "Unsatisfiable"),
        ({"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}, "uniqueItems"),
        ({"type": "string", "contentEncoding": "base64"}, "cannot be held to 'contentEncoding'"),
        ({"type": "object", "minProperties": 2, "required": ["a"]}, "'minProperties' beyond the properties that are required"),
        ({"const": "\ud800"}, "cannot be honoured"),
        (nested(150), "cannot be honoured: recursion limit exceeded"),
        (nested(5000), "cannot be honoured"),
    ],
)
def test_a_schema_that_cannot_be_honoured_is_refused(schema: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match="response_format") as refused:
        json_grammar(schema, "response_format")
    assert sentence in str(refused.value)


def test_a_form_that_no_answer_has_is_refused_before_one_is_begun(model: Transformer, tokenizer: Tokenizer) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "form", "schema": {"$ref": "#"}}}
    request = ChatRequest.parse({"messages": ASKED, "response_format": form}, where="request")
    with pytest.raises(UserError, match="response_format: the schema cannot be honoured: no answer has this form"):
        read_question(model, tokenizer, ChatFormat(), request)


def test_a_form_without_bounds_ends_its_answer(model: Transformer, tokenizer: Tokenizer) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "^(a{1000}){1000}$"}}}
    with pytest.raises(UserError, match=r"response_format: the answer's form became too large to follow \(lexer error: too many"):
        ask(model, tokenizer, response_format=form)


def test_large_numbers_are_held_to(model: Transformer, tokenizer: Tokenizer) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "integer", "minimum": 5, "maximum": 10**40}}}
    assert int(ask(model, tokenizer, response_format=form)["message"]["content"]) >= 5


def test_a_property_may_have_the_name_of_no_keyword(model: Transformer, tokenizer: Tokenizer) -> None:
    schema = {"type": "object", "properties": {"minimun": {"const": 1}}, "required": ["minimun"], "additionalProperties": False}
    told = ask(model, tokenizer, response_format={"type": "json_schema", "json_schema": {"schema": schema}})
    assert json.loads(told["message"]["content"]) == {"minimun": 1}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "depth"}}], ids=["required", "named"])
def test_a_call_that_is_required_is_made_as_its_function_asks(model: Transformer, tokenizer: Tokenizer, choice: Any) -> None:
    tools = [tool("depth", PLACE), tool("tree", TREE)]
    names = set()
    for seed in range(6):
        told = ask(model, tokenizer, tools=tools, tool_choice=choice, seed=seed, max_tokens=300)
        if told["finish_reason"] == "length":
            continue
        assert told["finish_reason"] == "tool_calls"
        assert told["message"]["content"] is None
        for call in told["message"]["tool_calls"]:
            name = call["function"]["name"]
            jsonschema.validate(json.loads(call["function"]["arguments"]), PLACE if name == "depth" else TREE)
            names.add(name)
        if choice != "required":
            assert len(told["message"]["tool_calls"]) == 1
    assert names == ({"depth", "tree"} if choice == "required" else {"depth"})


def test_strict_functions_leave_the_text_free_and_hold_the_calls(model: Transformer, tokenizer: Tokenizer) -> None:
    told = ask(model, tokenizer, tools=[tool("depth", PLACE, strict=True)], seed=3, max_tokens=40)
    assert told["finish_reason"] in ("stop", "length")
    assert told["message"]["content"]


def test_no_more_than_one_call_is_made_where_one_is_asked_for(model: Transformer, tokenizer: Tokenizer) -> None:
    """Of eight answers some call more than once by themselves, and none where they may not."""
    tools = [tool("depth", PLACE), tool("tree", TREE)]

    def calls(**request: Any) -> list[int]:
        told = [ask(model, tokenizer, tools=tools, seed=seed, max_tokens=300, **request) for seed in range(8)]
        return [len(one["message"].get("tool_calls", [])) for one in told if one["finish_reason"] != "length"]

    assert max(calls(tool_choice="required")) > 1
    assert set(calls(tool_choice="required", parallel_tool_calls=False)) == {1}


def test_where_one_call_may_be_made_nothing_follows_it(tokenizer: Tokenizer) -> None:
    call = '<tool_call>{"name": "depth", "arguments": {}}</tool_call>'
    tools = [tool("depth", {"type": "object", "properties": {}, "additionalProperties": False}, strict=True)]
    stop = ChatFormat().stop_ids(tokenizer)

    def allowed(text: str, *, several: bool) -> list[int]:
        """The tokens that can come after a text."""
        grammar = calls_grammar(ChatFormat(), tokenizer, tools, required=False, several=several)
        constraint = Constraint(grammar, tokenizer, tokenizer.vocabulary_size, stop)
        for token in tokenizer.encode(text):
            constraint.accept(token)
        return torch.isfinite(constraint.mask(torch.zeros(tokenizer.vocabulary_size))).nonzero().flatten().tolist()

    assert set(allowed("Let me see. " + call, several=False)) <= set(stop)
    assert tokenizer.encode("<")[0] in allowed("Let me see. " + call, several=True)
    assert tokenizer.encode("x")[0] in allowed("Let me", several=False)


# How open families write calls, in the projects' own words.
STYLES = {
    "marked": ("<tool_call>\n{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}\n</tool_call>", "arguments"),
    "bare": ("{{ {'name': call.function.name, 'parameters': call.function.arguments} | tojson }}", "parameters"),
}


@pytest.mark.parametrize("style", STYLES)
def test_the_form_of_a_call_is_the_template_s_own(model: Transformer, tokenizer: Tokenizer, style: str) -> None:
    written, arguments = STYLES[style]
    form = ChatFormat(
        "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}{%- if message.tool_calls %}"
        "{%- for call in message.tool_calls %}{{- '' }}" + written + "{%- endfor %}{%- else %}{{- message.content }}{%- endif %}"
        "{{- '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )
    assert CallStyle.of(form).arguments == arguments
    told = ask(model, tokenizer, form, tools=[tool("depth", PLACE)], tool_choice="required", seed=1, max_tokens=300)
    assert [call["function"]["name"] for call in told["message"]["tool_calls"]] == ["depth"] * len(told["message"]["tool_calls"])
    assert told["finish_reason"] == "tool_calls"


def test_a_template_that_writes_calls_otherwise_is_refused(model: Transformer, tokenizer: Tokenizer) -> None:
    form = ChatFormat(
        "{% for message in messages %}{{ message.content }}{% for c in message.tool_calls or [] %}f(){% endfor %}{% endfor %}"
    )
    with pytest.raises(UserError, match="in a form that answers cannot be held to"):
        ask(model, tokenizer, form, tools=[tool("depth", PLACE)], tool_choice="required")


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tool_choice": {"function": {"name": "depth"}}}, "there are no tools"),
        ({"tool_choice": {"function": {"name": "dept"}}, "tools": [tool("depth", PLACE)]}, "unknown tool 'dept'; did you mean 'depth'"),
        ({"tools": [tool("depth", PLACE)], "response_format": {"type": "json_object"}}, "both be held to a form and call tools"),
        ({"response_format": {"type": "json_schema"}}, "'json_schema' belongs to the type"),
        ({"tools": [tool("depth", {"type": "object", "propertees": {}}, strict=True)]}, "the parameters of 'depth'"),
    ],
)
def test_what_cannot_be_held_to_is_refused(model: Transformer, tokenizer: Tokenizer, request_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        ask(model, tokenizer, **request_)
    assert sentence in str(refused.value)
