"""The syntax-valid rate, judged on completions whose verdict is known."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lodestar.tasks.code_generation import CodeGeneration, Module, _Cut, _cut, _parses, _syntax_valid

FUNCTION = '''\
import os


class Shelf:
    def put(self, book, *, where=None):
        """Put a book."""
        if where is None:
            where = len(self.books)

        self.books.insert(where, book)
        return where

    def size(self):
        return len(self.books)
'''
CUT = _Cut(FUNCTION.split("        if where", maxsplit=1)[0], '    def put(self, book, *, where=None):\n        """Put a book."""\n', 4)


@pytest.mark.parametrize(
    ("completion", "valid"),
    [
        ("        return 1\n", True),
        ("        return 1\n\n    def next(self):\n        a (b c\n", True),  # what follows the function is not judged
        ("        return 1\n  x = \n", True),  # dedented below the def: the block has ended
        ("        if book:\n            return 1\n        els", True),  # cut off in a line: judged to the last whole one
        ("        return (1,\n                2)\n", True),
        ("        return (1,\n", False),  # the bracket is never closed
        ("        if book\n            return 1\n", False),
        ("        return '''1\n", False),
        ("      return 1\n", False),  # an indentation that no block has
        ("", False),  # nothing was written
        ("\n\n    def size(self):\n", False),
        ("        return 1", False),  # not one whole line
        ("        return 1\x00\n", False),
    ],
)
def test_verdicts(completion: str, valid: bool) -> None:
    assert _parses(CUT, completion) is valid


def test_cuts_fall_within_functions_behind_their_first_statement_and_follow_from_the_text() -> None:
    cuts = {_cut(FUNCTION + f"# {number}\n") for number in range(30)}
    begun = {cut.begun for cut in cuts if cut is not None}
    assert len(begun) == 4  # before each of the four lines of `put` that hold anything
    for text in (FUNCTION, FUNCTION.replace("\n", "\r\n"), FUNCTION.replace("\n\n\n", "\n\x0c\n\n")):
        cut = _cut(text)
        assert cut == _cut(text)
        assert cut is not None
        assert cut.begun.startswith("    def put")
        assert cut.indent == 4
        assert cut.prompt.endswith(cut.begun)


def test_every_true_continuation_is_valid() -> None:
    """The standard library's own code, cut and continued as it is."""
    library = Path(sysconfig.get_path("stdlib"))
    for name in ("argparse.py", "textwrap.py", "json/decoder.py", "dataclasses.py", "heapq.py"):
        text = (library / name).read_text("utf-8")
        for variant in range(12):
            cut = _cut(f"{text}\n# {variant}\n")
            assert cut is not None
            rest = text[len(cut.prompt) :]
            assert _parses(cut, rest), (name, cut.begun[-200:], rest[:200])


def test_modules_without_a_function_to_cut_are_not_asked() -> None:
    examples = [Module(text="x = 1\n"), Module(text="def f(:\n"), Module(text=FUNCTION), Module(text="def f():\n    return 1\n")]
    asked: list[str] = []

    def write(prompts: Sequence[str]) -> list[str]:
        asked.extend(prompts)
        return [FUNCTION[len(prompt) :] for prompt in prompts]

    assert _syntax_valid(examples, write).tolist() == [-1, -1, 1, -1]
    assert len(asked) == 1


def test_the_sample_is_python() -> None:
    texts = [example.text for example in CodeGeneration.sample()]
    for text in texts:
        ast.parse(text)
    columns = np.array([_cut(text) is not None for text in texts])
    assert columns.sum() >= 8
