"""Completed programs, judged on completions whose verdict is known."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

from lodestar.evaluate.code import Cut, completions_parse, cut_function, first_block, held_out_line, parses

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
CUT = Cut(FUNCTION.split("        if where", maxsplit=1)[0], '    def put(self, book, *, where=None):\n        """Put a book."""\n', 4)


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
    assert parses(CUT, completion) is valid


def test_cuts_fall_within_functions_behind_their_first_statement_and_follow_from_the_text() -> None:
    cuts = {cut_function(FUNCTION + f"# {number}\n") for number in range(30)}
    begun = {cut.begun for cut in cuts if cut is not None}
    assert len(begun) == 4  # before each of the four lines of `put` that hold anything
    for text in (FUNCTION, FUNCTION.replace("\n", "\r\n"), FUNCTION.replace("\n\n\n", "\n\x0c\n\n")):
        cut = cut_function(text)
        assert cut == cut_function(text)
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
            cut = cut_function(f"{text}\n# {variant}\n")
            assert cut is not None
            rest = text[len(cut.prompt) :]
            assert parses(cut, rest), (name, cut.begun[-200:], rest[:200])


def test_modules_without_a_function_to_cut_are_not_asked() -> None:
    texts = ["x = 1\n", "def f(:\n", FUNCTION, "def f():\n    return 1\n"]
    asked: list[str] = []

    def write(prompts: Sequence[str]) -> list[str]:
        asked.extend(prompts)
        return [FUNCTION[len(prompt) :] for prompt in prompts]

    assert completions_parse(texts, write).tolist() == [-1, -1, 1, -1]
    assert len(asked) == 1


def test_a_completion_counts_up_to_what_begins_anew() -> None:
    assert first_block("    a = 1\n\n    return a\n\ndef next():\n    pass\n") == "    a = 1\n\n    return a\n\n"
    assert first_block(" return 1\nprint(2)\n") == " return 1\n"


def test_a_whole_line_is_asked_for() -> None:
    for number in range(20):
        text = FUNCTION + f"# {number}\n"
        gap = held_out_line(text)
        assert gap is not None
        assert "".join(gap) == text
        assert gap[0] == "" or gap[0].endswith("\n")
        assert "\n" not in gap[1]
    assert held_out_line("a = 1\n") is None
