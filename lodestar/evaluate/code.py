"""What of a program is completed, and whether it is any: cuts in functions, lines held out, blocks, and what Python's parser says."""

from __future__ import annotations

import ast
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from ..contracts.randomness import generator


@dataclass(frozen=True)
class Cut:
    """A module cut off at the start of a line within a function."""

    prompt: str
    """The module up to the cut."""
    begun: str
    """The function up to the cut, as it stands in the module."""
    indent: int
    """The columns before its `def`."""


def completions_parse(texts: Sequence[str], write: Callable[[Sequence[str]], Sequence[str]]) -> np.ndarray:
    """Whether the function that `write` completes parses, 1 or 0; -1 for a text without a function of two statements."""
    cuts = [cut_function(text) for text in texts]
    completions = iter(write([cut.prompt for cut in cuts if cut is not None]))
    return np.array([-1 if cut is None else int(parses(cut, next(completions))) for cut in cuts])


def cut_function(text: str) -> Cut | None:
    """Cut at the start of a random line after a function's first statement; the draw follows from the text alone."""
    tree = _parse(text)
    functions = [] if tree is None else [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines = lines_of(text)
    places = []
    for function in functions:
        first_end, end = function.body[0].end_lineno or 0, function.end_lineno or 0
        # Line numbers count from one: index `first_end` is the line after the first statement.
        places += [(function.lineno - 1, line) for line in range(first_end, end) if lines[line].strip()]
    if not places:
        return None
    start, line = places[int(generator(0, "cut", text).integers(len(places)))]
    indent = len(lines[start]) - len(lines[start].lstrip())
    return Cut("".join(lines[:line]), "".join(lines[start:line]), indent)


def parses(cut: Cut, completion: str) -> bool:
    """Whether the function with its completed block is Python.

    The block ends before the first line that is indented no deeper than the `def`; where the completion was cut off before such a line,
    with its last whole line. An empty block is no completion.
    """
    lines = lines_of(completion)
    inside = takewhile(lambda line: not line.strip() or len(line) - len(line.lstrip()) > cut.indent, lines)
    block = "".join(line for line in inside if line.endswith("\n"))
    header = "if True:\n" if cut.indent else ""
    return bool(block.strip()) and _parse(header + cut.begun + block) is not None


def held_out_line(text: str) -> tuple[str, str, str] | None:
    """A line of a file, and what stands before and after it; the draw follows from the text alone.

    Its indentation is part of it: a text that ends within spaces ends within a token, after which no model goes on well.
    """
    lines = lines_of(text)
    places = [number for number, line in enumerate(lines) if len(line.strip()) > 3]
    if len(places) < 3:
        return None
    chosen = places[int(generator(0, "line", text).integers(len(places)))]
    return "".join(lines[:chosen]), lines[chosen].rstrip("\n"), "\n" + "".join(lines[chosen + 1 :])


def first_block(text: str) -> str:
    """A completion up to the first line that begins something else: one without indentation. A model knows no other end of a function."""
    lines = lines_of(text)
    inside = takewhile(lambda numbered: not numbered[0] or not numbered[1].strip() or numbered[1][:1] in " \t", enumerate(lines))
    return "".join(line for _, line in inside)


def lines_of(text: str) -> list[str]:
    """Lines as Python counts them, which a form feed does not end, each with its end."""
    return list(io.StringIO(text, newline=None))


def _parse(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a string is no error
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what CPython's parser says to source that it cannot take
        return None
