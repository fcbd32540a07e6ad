"""The syntax-valid rate, judged on completions whose verdict is known."""

from __future__ import annotations

import ast
import gzip
import json
import sysconfig
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from lodestar.evaluate.metrics import pass_at
from lodestar.tasks.code_generation import CodeGeneration, Module, _Cut, _cut, _first_block, _line, _parses, _syntax_valid

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


def test_humaneval_s_records_are_problems_with_tests() -> None:
    record = {
        "task_id": "Made/1", "prompt": "def twice(x):\n", "canonical_solution": "    return 2 * x\n", "entry_point": "twice",
        "test": "def check(candidate):\n    assert candidate(3) == 6\n",
    }  # fmt: skip
    module = Module.model_validate(Module.of_record(record))
    assert (module.text, module.prompt, module.path) == ("def twice(x):\n    return 2 * x\n", "def twice(x):\n", "Made/1")
    replies = ["    return 2 * x\n", "    return x + x + 0\n", "    return x\n", "    return (\n", ""]
    expected = [{"prompt": module.prompt, "tests": module.tests}] * len(replies)
    assert CodeGeneration().rewards(replies, expected) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_the_solutions_of_humaneval_pass_and_the_empty_ones_do_not(shared_data: Path) -> None:
    """The published solutions are right by definition: 40 of the 164, so that it takes seconds."""
    with gzip.open(shared_data / "code-generation" / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        problems = [Module.model_validate(Module.of_record(json.loads(line))) for line in file][::4]
    expected = [{"prompt": problem.prompt, "tests": problem.tests} for problem in problems]
    solutions = [problem.text.removeprefix(problem.prompt) for problem in problems]
    assert [_first_block(solution) for solution in solutions] == solutions
    rewards = CodeGeneration().rewards([*solutions, *["    pass\n"] * len(problems)], [*expected, *expected])
    assert rewards == [1.0] * len(problems) + [0.0] * len(problems)


def test_the_chance_to_pass_is_estimated_without_bias() -> None:
    """All ways to choose k of n programs, counted."""
    for drawn, passed, k in ((10, 3, 1), (12, 1, 10), (5, 0, 2), (6, 6, 3), (20, 11, 10)):
        programs = [True] * passed + [False] * (drawn - passed)
        chosen = [any(some) for some in combinations(programs, k)]
        columns = {"drawn": np.array([drawn, 0]), "passed": np.array([passed, 0])}
        assert pass_at(columns, k) == pytest.approx(sum(chosen) / len(chosen))
    assert np.isnan(pass_at({"drawn": np.array([5]), "passed": np.array([5])}, 10))


def test_a_completion_counts_up_to_what_begins_anew() -> None:
    assert _first_block("    a = 1\n\n    return a\n\ndef next():\n    pass\n") == "    a = 1\n\n    return a\n\n"
    assert _first_block(" return 1\nprint(2)\n") == " return 1\n"


def test_a_line_is_asked_for_with_its_indentation_given() -> None:
    for number in range(20):
        text = FUNCTION + f"# {number}\n"
        gap = _line(text)
        assert gap is not None
        assert "".join(gap) == text
        assert gap[1] == gap[1].strip()
    assert _line("a = 1\n") is None
