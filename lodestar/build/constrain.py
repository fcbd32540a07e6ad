"""Answers that keep to a form: JSON that a schema allows, and calls of the functions that were offered.

Before each token those that would leave the form get no probability, so that an answer which ends by itself is always in it. Which tokens
these are is told by llguidance (https://github.com/guidance-ai/llguidance), an optional extra.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..contracts.errors import UserError, missing_extra, nearest
from ..contracts.tokenizer import Tokenizer
from .chat_template import ChatFormat

if TYPE_CHECKING:
    import llguidance

# One way to write each value, the one of Python's json: a model that may put spaces wherever JSON allows them can do so for ever.
WRITING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": False}

KEYWORDS = {
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$ref", "$schema", "$vocabulary", "additionalItems",
    "additionalProperties", "allOf", "anyOf", "const", "contains", "contentEncoding", "contentMediaType", "contentSchema", "default",
    "definitions", "dependencies", "dependentRequired", "dependentSchemas", "deprecated", "description", "else", "enum", "examples",
    "exclusiveMaximum", "exclusiveMinimum", "format", "if", "items", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum",
    "minContains", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties",
    "prefixItems", "properties", "propertyNames", "readOnly", "required", "then", "title", "type", "unevaluatedItems",
    "unevaluatedProperties", "uniqueItems", "writeOnly",
}  # fmt: skip
"""Of JSON Schema (draft 7 and 2020-12). Any other key is a slip of the pen: by the standard it, and what it asks, would be ignored."""
_SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMAS = (
    "additionalItems", "additionalProperties", "allOf", "anyOf", "contains", "else", "if", "items", "not", "oneOf", "prefixItems",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_NOT_HELD = ("contentEncoding", "contentMediaType", "contentSchema")
"""llguidance takes these for comments, as the standard allows; who writes them means them."""
_LEXER_FUEL = 100_000
"""A tenth of llguidance's own: a pattern such as (a{1000}){1000} ends its answer in 0.1 s, where it held the server for 5 (measured
2026-12)."""


class Grammar(NamedTuple):
    """A form that answers can be held to."""

    text: str
    """As llguidance reads it."""
    where: str
    """What of a request asks for it."""


class Constraint:
    """Follows one answer token by token, and tells which tokens can come next."""

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer, vocabulary_size: int, stop_ids: Sequence[int]) -> None:
        """
        Args:
            vocabulary_size: of the model's logits, which may have more rows than the tokenizer has tokens.
            stop_ids: the tokens that end an answer: allowed where the form is complete.

        Raises:
            UserError: no answer has this form.
        """
        guide = _library()
        vocabulary = _vocabulary(tokenizer, vocabulary_size, tuple(stop_ids))
        limits = guide.LLParserLimits(initial_lexer_fuel=_LEXER_FUEL, verbose_errors=False)
        self._matcher = guide.LLMatcher(vocabulary, grammar.text, log_level=0, limits=limits)
        self._where = grammar.where
        self._matcher.compute_logit_bias()  # a form that has no first token shows here, before any is asked for
        if self._matcher.is_error():
            raise _refusal(self._matcher.get_error().partition("<")[0], grammar.where)

    def again(self) -> Constraint:
        """The same for another answer, from its beginning; only of one that has accepted nothing yet."""
        other = copy(self)
        other._matcher = self._matcher.deep_copy()
        return other

    def mask(self, logits_V: Tensor) -> Tensor:
        """The logits (…, V), -inf for the tokens that cannot come next."""
        bias = self._matcher.compute_logit_bias()
        self._check()
        allowed_V = torch.frombuffer(bytearray(bias), dtype=torch.uint8)[: logits_V.shape[-1]].bool().to(logits_V.device)
        return logits_V.masked_fill(~allowed_V, -torch.inf)

    def accept(self, token: int) -> None:
        """The next token is this one; nothing where the answer has ended."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = _first_line(self._matcher.get_error().partition("<")[0])
            raise UserError(f"the answer's form became too large to follow ({reason})", where=self._where, fix="simplify the schema")


def json_grammar(schema: Mapping[str, Any], where: str) -> Grammar:
    """The form of a JSON value that a schema allows.

    Raises:
        UserError: something in the schema cannot be honoured; nothing of it is ignored.
    """
    guide = _library()
    own = {name: value for name, value in schema.items() if name != "x-guidance"}  # the library's own switches are not the client's
    try:
        _check_keywords(schema, where)
        made = guide.LLMatcher.grammar_from_json_schema(json.dumps(own), overrides=WRITING)
    except (ValueError, RecursionError) as error:
        raise _refusal(str(error) or "it is nested too deeply", where) from None
    return _checked(Grammar(made, where))


@dataclass(frozen=True)
class CallStyle:
    """How a model's template writes a call of a tool: what stands before and after its JSON, and what the JSON names its fields."""

    before: str
    after: str
    arguments: str
    """`arguments`, or `parameters`."""

    @classmethod
    def of(cls, form: ChatFormat) -> CallStyle:
        """Read off a call that the template renders.

        Raises:
            UserError: the template writes calls in another way than as JSON.
        """
        probe = {"name": "probe_of_a_call", "arguments": {}}
        question = [{"role": "user", "content": "?"}]
        call = {"role": "assistant", "content": "", "tool_calls": [{"id": "call00000", "type": "function", "function": probe}]}
        tool = {
            "type": "function",
            "function": {"name": probe["name"], "description": "", "parameters": {"type": "object", "properties": {}}},
        }
        asked = form.text(question, tools=[tool], add_generation_prompt=True)
        told = form.text([*question, call], tools=[tool])
        found = None
        if told.startswith(asked):
            found = re.match(r'(?s)(.*?)\{"name": "probe_of_a_call", "(arguments|parameters)": \{\}\}(.*)', told[len(asked) :])
        if found is None:
            raise UserError(
                "this model's chat template writes calls in a form that answers cannot be held to", where="tools",
                fix="leave out tool_choice, strict and parallel_tool_calls",
            )  # fmt: skip
        before, arguments, after = found.groups()
        return cls(before.lstrip(), _closing(after), arguments)


def _closing(after: str) -> str:
    """What closes a call, without the marks that end the turn."""
    closing = re.match(r"\s*(?:</tool_call>|\])?", after)
    return closing.group() if closing else ""


def calls_grammar(
    form: ChatFormat, tokenizer: Tokenizer, tools: Sequence[Mapping[str, Any]], *, required: bool, several: bool = True
) -> Grammar:
    """The form of an answer that calls functions.

    Args:
        required: the answer is calls and nothing else; otherwise it may be text, and what calls it holds are held to the parameters of
            those functions that are `strict`.
        several: there may be more than one (in templates that mark where a call ends).

    Raises:
        UserError: a function's parameters, or the template's way to write calls, cannot be honoured.
    """
    style = CallStyle.of(form)
    begin = _terminals(style.before, tokenizer)
    rules, names = [], []
    for number, tool in enumerate(tools):
        function = tool["function"]
        # A function without `strict` may be called with any object, where the answer need not be a call.
        schema = function.get("parameters") if required or function.get("strict") else None
        schema = schema or {"type": "object"}
        where = f"the parameters of {function['name']!r}"
        json_grammar(schema, where)
        opening = json.dumps({"name": function["name"], style.arguments: {}}, ensure_ascii=False)[:-3]
        inner = json.dumps({**schema, "x-guidance": WRITING})
        rules.append(
            f"call_{number}: {json.dumps(opening)} arguments_{number} {json.dumps('}' + style.after)}\narguments_{number}: %json {inner}"
        )
        names.append(f"call_{number}")
    body = f"call: {' '.join(begin)} ({' | '.join(names)})\n" + "\n".join(rules)
    marked = bool(begin) and begin[0].startswith('"')
    if required:
        start = "start: call (BREAK call)*\nBREAK: /\\n?/" if several and marked and style.after else "start: call"
    elif marked:
        # Free text up to the mark, which then cannot be anything but a call.
        opening = f"opened[lazy]: TEXT {begin[0]}"
        body = body.replace(f"call: {begin[0]}", "call: opened", 1)
        start = f"start: {'call* TEXT' if several else 'call | TEXT'}\n{opening}\nTEXT: /(.|\\n)*/"
    else:
        # A bare call is told from a text by its first character; one after a special token by that token.
        start = "start: call | TEXT\nTEXT: " + ("/(.|\\n)*/" if begin else "/([ \\n\\t\\r]*[^{\\[ \\n\\t\\r](.|\\n)*)?/")
    return _checked(Grammar(_library().LLMatcher.grammar_from_lark(f"%llguidance {{}}\n{start}\n{body}\n"), "tools"))


def _terminals(text: str, tokenizer: Tokenizer) -> list[str]:
    """A text as a grammar's terminals: special tokens by their ids, the rest as it is written."""
    special = {token.content: number for number, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    if not special:
        return [json.dumps(text)] if text else []
    parts = re.split("(" + "|".join(map(re.escape, sorted(special, key=len, reverse=True))) + ")", text)
    return [f"<[{special[part]}]>" if part in special else json.dumps(part) for part in parts if part]


def _check_keywords(schema: Any, where: str) -> None:
    """Raises UserError for a key that JSON Schema does not have, at any depth."""
    if not isinstance(schema, Mapping):
        return
    for name, value in schema.items():
        if name not in KEYWORDS and not name.startswith("x-"):
            guess = nearest(name, KEYWORDS)
            fix = f"did you mean {guess!r}" if guess else "leave it out"
            raise UserError(f"JSON Schema has no keyword {name!r}", where=where, fix=fix)
        if name in _NOT_HELD:
            raise _refusal(f"an answer cannot be held to {name!r}", where)
        # Properties that a schema does not name may come twice, which a reader of JSON counts once.
        required = schema.get("required")
        if name == "minProperties" and isinstance(value, int) and value > max(1, len(required) if isinstance(required, list) else 0):
            raise _refusal("an answer cannot be held to 'minProperties' beyond the properties that are required", where)
        if name in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            for inner in value.values():
                _check_keywords(inner, where)
        elif name in _SCHEMAS:
            for inner in value if isinstance(value, list) else [value]:
                _check_keywords(inner, where)


def _checked(grammar: Grammar) -> Grammar:
    wrong, told = _library().LLMatcher.validate_grammar_with_warnings(grammar.text)
    if wrong or told:
        raise _refusal(told[0], grammar.where)
    return grammar


def _refusal(reason: str, where: str) -> UserError:
    # llguidance's name for a form that has no first token
    reason = "no answer has this form" if reason.startswith("NoExtensionBias") else _first_line(reason)
    return UserError(f"the schema cannot be honoured: {reason}", where=where, fix="leave that part out, or check it in the answer yourself")


def _first_line(message: str) -> str:
    return " ".join(message.split())[:200]


_VOCABULARIES: WeakKeyDictionary[Tokenizer, dict[tuple[int, tuple[int, ...]], Any]] = WeakKeyDictionary()
"""A vocabulary of 150,000 tokens takes half a second to read."""


def _vocabulary(tokenizer: Tokenizer, size: int, stop_ids: tuple[int, ...]) -> llguidance.LLTokenizer:
    known = _VOCABULARIES.setdefault(tokenizer, {})
    if (size, stop_ids) not in known:
        size_at_least = max(size, tokenizer.vocabulary_size)
        known[size, stop_ids] = _library().LLTokenizer(tokenizer.to_json(), n_vocab=size_at_least, eos_token=list(stop_ids))
    return known[size, stop_ids]


def _library() -> Any:
    try:
        import llguidance
    except ModuleNotFoundError:
        raise missing_extra("llguidance", "json", why="an answer in a given form") from None
    return llguidance
