"""Where chat templates run: Jinja's sandbox with the names that `transformers` gives them, and a budget of work.

A template comes with a checkpoint from outside, so it is a stranger's program. It sees JSON values and nothing else; it cannot reach
Python's internals (jinja2's ImmutableSandboxedEnvironment), and a loop without end or a text without bound is stopped by a count of what
it does: each turn of a loop and each call costs something, and so does each character of a value that it makes, before it is made.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from ..contracts import clock

WORK = 20_000_000
"""What one rendering may cost; a unit is about a character. # assumed: twenty times the longest conversation that fits a context"""
STEP = 100
"""The cost of one turn of a loop or one call, in units. # assumed"""
WIDEST = 1_000_000
"""No width, count or indentation that a template asks for is larger."""
LONGEST_INTEGER = 4_096
"""Bits: to multiply long integers takes longer than they are."""
_LONG_NUMBER = re.compile(r"\d{7,}")
_WIDTH_AMONG_VALUES = re.compile(r"%[^a-zA-Z%]*\*|:[^}]*\{")


class TooMuchWorkError(Exception):
    """The template has used up its budget."""


@dataclass
class Rendering:
    """One rendering under way: what it may still cost, and where its `generation` blocks stand."""

    left: int = WORK
    pieces: list[str] = field(default_factory=list)
    length: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)

    def charge(self, units: int) -> None:
        self.left -= units
        if self.left < 0:
            raise TooMuchWorkError

    def add(self, piece: str) -> None:
        self.charge(len(piece))
        self.pieces.append(piece)
        self.length += len(piece)


_current: ContextVar[Rendering] = ContextVar("lodestar_rendering")


def render(template: jinja2.Template, variables: Mapping[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """The text, and the (begin, end) of each `{% generation %}` block in it.

    Raises:
        TooMuchWorkError: it does not end, or makes too much text.
        jinja2.TemplateError, or whatever else its code comes to.
    """
    rendering = Rendering()
    token = _current.set(rendering)
    try:
        for piece in template.generate(**variables):
            rendering.add(piece)
    finally:
        _current.reset(token)
    return "".join(rendering.pieces), rendering.spans


@functools.lru_cache(maxsize=16)
def compiled(source: str) -> jinja2.Template:
    """A template, ready to render.

    Raises:
        jinja2.TemplateSyntaxError: it is not Jinja.
        jinja2.exceptions.SecurityError: it names Python's internals.
    """
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, _Counting, loopcontrols])
    tree = environment.parse(source)
    _refuse_internals(tree)
    counting = environment.extensions[_Counting.identifier]
    assert isinstance(counting, _Counting)
    counting.instrument(tree)
    return jinja2.Template.from_code(environment, environment.compile(tree), environment.make_globals(None))


def _refuse_internals(tree: nodes.Template) -> None:
    """The sandbox gives nothing for such a name; a template that asks for one is better not used at all."""
    names = [(node.attr, node.lineno) for node in tree.find_all(nodes.Getattr)]
    names += [(node.arg.value, node.lineno) for node in tree.find_all(nodes.Getitem) if isinstance(node.arg, nodes.Const)]
    for name, line in names:
        if isinstance(name, str) and name.startswith("__"):
            raise SecurityError(f"{name} in line {line}")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with the names that `transformers` gives (utils/chat_template_utils.py) and with counted work."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.filters = {name: _counted_filter(function) for name, function in {**self.filters, "tojson": _to_json}.items()}
        self.globals = {
            name: value for name, value in self.globals.items() if name in ("range", "cycler", "joiner")
        }  # fmt: skip
        self.globals |= {"raise_exception": _raise, "strftime_now": _strftime_now, "dict": _Dict(), "namespace": _Namespace}

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        _current.get().charge(_binop_cost(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as in jinja2: a keyword may be `self`
        _current.get().charge(STEP + _call_cost(__obj, args, kwargs))
        return super().call(__context, __obj, *args, **kwargs)


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: what the assistant says, as `transformers` marks it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Macro) -> str:
        text, rendering = str(caller()), _current.get()
        rendering.spans.append((rendering.length, rendering.length + len(text)))
        return text


class _Counting(Extension):
    """Puts a count into each turn of a loop and each macro, and before each `~`."""

    tags = set[str]()

    def instrument(self, tree: nodes.Template) -> None:
        for node in list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))):
            assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)
            step = nodes.ExprStmt(self.call_method("_step")).set_lineno(node.lineno)
            node.body.insert(0, step.set_environment(self.environment))
        _ConcatCounter(self).visit(tree)

    def _step(self) -> None:
        _current.get().charge(STEP)

    def _concat(self, *parts: Any) -> str:
        texts = [part if isinstance(part, str) else str(part) for part in parts]
        _current.get().charge(sum(map(len, texts)))
        return "".join(texts)


class _ConcatCounter(jinja2.visitor.NodeTransformer):
    def __init__(self, extension: _Counting) -> None:
        self.extension = extension

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the visitor's own naming
        self.generic_visit(node)
        call = self.extension.call_method("_concat", node.nodes)
        return call.set_lineno(node.lineno).set_environment(self.extension.environment)


def _size(value: Any) -> int:
    """About how many characters a value has; the elements of a list count as one each."""
    if isinstance(value, str | bytes | list | tuple | dict | set):
        return len(value)
    return 1


def _binop_cost(operator: str, left: Any, right: Any) -> int:
    """What a result will be long, told before it is made."""
    if operator == "+":
        return _size(left) + _size(right)
    if operator == "*":
        for sequence, times in ((left, right), (right, left)):
            if isinstance(sequence, str | list | tuple) and isinstance(times, int):
                return len(sequence) * max(times, 0)
    if operator in ("*", "**"):
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            return WORK + 1 if bits > LONGEST_INTEGER else 1
        return 1
    return _format_cost(left, (right,)) if isinstance(left, str) else 1


def _format_cost(pattern: str, values: Sequence[Any]) -> int:
    """`%` and `format`: the fields' widths stand in the pattern or, where it says so, among the values."""
    flat: list[Any] = []
    for value in values:
        flat.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value])
    given_width = _WIDTH_AMONG_VALUES.search(pattern) and any(isinstance(item, int) and abs(item) > WIDEST for item in flat)
    if _LONG_NUMBER.search(pattern) or given_width:
        raise TooMuchWorkError
    return len(pattern) + sum(map(_size, flat)) * max(1, pattern.count("%") + pattern.count("{"))


_WIDTHS = ("ljust", "rjust", "center", "zfill", "expandtabs")


def _call_cost(function: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> int:
    """The methods of strings that can make much of little."""
    # The sandbox wraps `format`.
    text, name = getattr(getattr(function, "__wrapped__", function), "__self__", None), getattr(function, "__name__", "")
    if not isinstance(text, str):
        return 1
    if name in ("format", "format_map"):
        return _format_cost(text, [*arguments, *named.values()])
    return len(text) + _growth(name, text, [*arguments, *named.values()])


def _growth(name: str, text: str, arguments: Sequence[Any]) -> int:
    """What a method or a filter of this name can add to a text, at most."""
    numbers = [argument for argument in arguments if isinstance(argument, int)]
    if name in _WIDTHS or name in ("indent", "wordwrap"):
        return max(numbers, default=0) * (1 + text.count("\n") + text.count("\t"))
    if name == "replace" and len(arguments) >= 2:
        old, new = str(arguments[0]), str(arguments[1])
        return (text.count(old) if old else len(text) + 1) * len(new)
    if name == "join" and arguments:
        items = arguments[0] if isinstance(arguments[0], list | tuple) else ()
        return sum(len(text) + _size(item) for item in items)
    if name == "translate":
        return len(text) * max((_size(value) for table in arguments if isinstance(table, dict) for value in table.values()), default=1)
    return 0


_FILTERS = {
    "do_center": "center", "do_indent": "indent", "do_replace": "replace", "do_wordwrap": "wordwrap", "do_format": "format",
    "sync_do_join": "join", "do_join": "join",
}  # fmt: skip
"""Jinja's functions of the filters that can make much of little → their names."""
_UNSEEN = (jinja2.Environment, nodes.EvalContext, jinja2.runtime.Context)
"""What Jinja passes to a filter beside the template's own values."""


def _counted_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose work is counted: what goes in and what it can add, before; what comes out, after."""
    name = _FILTERS.get(function.__name__, "")

    @functools.wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        rendering = _current.get()
        places = [place for place, argument in enumerate(arguments) if not isinstance(argument, _UNSEEN)]
        if name == "join" and places:
            arguments = (*arguments[: places[0]], list(arguments[places[0]]), *arguments[places[0] + 1 :])
        given = [*(arguments[place] for place in places), *named.values()]
        rendering.charge(STEP + sum(map(_size, given)) + _filter_cost(name, given))
        result = function(*arguments, **named)
        rendering.charge(_size(result))
        return result

    return counted


def _filter_cost(name: str, given: Sequence[Any]) -> int:
    """What a filter can make of its value, the first one given."""
    if not given:
        return 0
    value, *others = given
    if any(isinstance(other, int) and other > WIDEST for other in others):
        raise TooMuchWorkError
    if name == "join":
        separator = str(others[0]) if others else ""
        return _growth("join", separator, [value])
    if not isinstance(value, str):
        return 0
    return _format_cost(value, others) if name == "format" else _growth(name, value, others)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: tuple[str, str] | None = None, sort_keys: bool = False
) -> str:
    if isinstance(indent, int) and indent > 64:
        raise TooMuchWorkError
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    """The local time of day."""
    if len(pattern) > 200:
        raise TooMuchWorkError
    return clock.now().astimezone().strftime(pattern)


class _Dict:
    """`dict` in a template makes dictionaries and has none of the class's other attributes."""

    def __call__(self, *arguments: Any, **named: Any) -> dict[Any, Any]:
        return dict(*arguments, **named)


class _Namespace(Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*arguments: Any, **named: Any) -> None:
        self, *others = arguments
        values = dict(*others, **named)
        for name in values:
            _refuse_underscore(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)


def _refuse_underscore(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"the name {name} in a namespace")
