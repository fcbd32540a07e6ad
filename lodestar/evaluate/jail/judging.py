"""Tests of untrusted functions, in two sandboxes: `judge` holds the tests in one, `answer` the functions in the other.

The functions see each call as it comes and answer with a plain value; they see no test, no expected value and no verdict, and have no
object in the judge's process. So the one way to pass a test is to return what it asks for: leaving early, an `__eq__` that is always
true, or a patched library do nothing.

Values that pass: None, booleans, numbers, strings, bytes, and lists, tuples, sets, dictionaries and iterators of them. The same file
is the program of both sides; it needs the standard library alone.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import IO, Any

ITEMS = 10_000
"""Of an iterator, so many items are handed over."""


def plain(value: Any) -> Any:
    """A value as JSON; containers and what JSON lacks as [kind, content].

    Raises:
        TypeError: it holds something else.
    """
    if value is None or isinstance(value, bool | str):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, int):
        return ["int", hex(value)]  # of any length: decimal digits are limited
    if isinstance(value, float):
        return ["float", float(value).hex()]
    if isinstance(value, complex):
        return ["complex", [plain(value.real), plain(value.imag)]]
    if isinstance(value, bytes | bytearray):
        return [type(value).__name__, value.hex()]
    if isinstance(value, Mapping):
        return ["dict", [[plain(key), plain(item)] for key, item in value.items()]]
    for kind, name in ((list, "list"), (tuple, "tuple"), (frozenset, "frozenset"), (AbstractSet, "set")):
        if isinstance(value, kind):
            return [name, [plain(item) for item in value]]
    if isinstance(value, range | Iterator):
        return ["range" if isinstance(value, range) else "iterator", [plain(item) for item in islice(value, ITEMS)]]
    raise TypeError(f"a {type(value).__name__} cannot be handed over")


def restore(value: Any) -> Any:
    """The inverse of `plain`."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return float.fromhex(content)
    if kind in {"bytes", "bytearray"}:
        return (bytes if kind == "bytes" else bytearray).fromhex(content)
    if kind == "dict":
        return {restore(key): restore(item) for key, item in content}
    items = [restore(item) for item in content]
    makers: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter, "range": list}
    return complex(*items) if kind == "complex" else makers[kind](items)


def answer(source: str) -> None:
    """The untrusted side: load the functions, then answer calls, one a line, until there are no more."""
    calls, replies = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)  # what the functions print is no answer
    names: dict[str, Any] = {"__name__": "solution"}
    failure: BaseException | None = None
    try:
        exec(compile(source, "solution.py", "exec"), names)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what each call of it ends with
        failure = error
    for line in calls:
        name, arguments, keywords = json.loads(line)
        try:
            if failure is not None:
                raise failure
            arguments, keywords = restore(arguments), restore(keywords)
            found = names[name]
            # The arguments go back, too: a function may have changed them in place.
            reply = [True, plain(found(*arguments, **keywords)), plain(arguments)]
        except BaseException as error:  # noqa: BLE001 - the judge gets it
            reply = [False, type(error).__name__, str(error)[:500]]
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


class Remote:
    """A function on the other side."""

    def __init__(self, name: str, calls: IO[str], replies: IO[str]) -> None:
        self._name, self._calls, self._replies = name, calls, replies

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self._calls.write(json.dumps([self._name, plain(arguments), plain(keywords)]) + "\n")
        self._calls.flush()
        line = self._replies.readline()
        if not line:
            raise ConnectionError("the functions are gone")
        done, value, changed = json.loads(line)
        if done is not True:
            kind = getattr(builtins, str(value), None)
            raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError)(changed)
        for mine, theirs in zip(arguments, restore(changed), strict=True):
            if isinstance(mine, list):
                mine[:] = theirs
            elif isinstance(mine, dict | set):
                mine.clear()
                mine.update(theirs)
        return restore(value)


def judge(calls: IO[str], replies: IO[str]) -> None:
    """The side of the tests: read them from standard input as a JSON list of sources, and print one line of JSON a test.

    A test passes where it runs without an exception. The names that it uses and does not define are the other side's functions.
    """
    for test in json.loads(sys.stdin.read()):
        try:
            names = {name: Remote(name, calls, replies) for name in missing_names(test)}
            exec(compile(test, "test.py", "exec"), {"__name__": "test", **names})
            verdict = None
        except BaseException as error:  # noqa: BLE001 - a test may fail in any way
            verdict = f"{type(error).__name__}: {error}"[:500]
        print(json.dumps(verdict), flush=True)  # noqa: T201 - this is how the verdict leaves the sandbox


def missing_names(source: str) -> set[str]:
    """The names that a program reads and neither binds nor finds among the builtins."""
    used: set[str] = set()
    bound = set(dir(builtins))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(name.asname or name.name).split(".")[0] for name in node.names}
    return used - bound


def main(arguments: Sequence[str]) -> None:
    if arguments[0] == "answer":
        del sys.argv[1:]
        answer(arguments[1])
    else:
        judge(os.fdopen(int(arguments[2]), "w"), os.fdopen(int(arguments[1]), "r"))


if __name__ == "__main__":
    main(sys.argv[1:])
