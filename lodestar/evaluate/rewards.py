"""Rewards that can be verified: the right number, and code that passes tests.

A reward is a function of completions and of what each is to be held against; it gives one number from 0 to 1 a completion.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from .jail.judging import missing_names
from .sandbox import Sandbox

JUDGING = Path(__file__).parent / "jail" / "judging.py"
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?|\.\d+)")
_MARKED = re.compile(r"\\boxed\{([^{}]*)\}|####\s*(\S[^\n]*)|<answer>(.*?)</answer>", re.DOTALL)
_FENCE = re.compile(r"^```[\w+-]*[ \t]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)


def final_number(text: str) -> Fraction | None:
    """The number that a text ends with, exactly: of `\\boxed{…}`, `#### …` or `<answer>…</answer>` where there is one (the last), else
    of the whole text. Thousands may be grouped by commas; `a/b` is a fraction. None where there is no number.
    """
    marked = _MARKED.findall(text)
    numbers = _NUMBER.findall("".join(marked[-1]) if marked else text)
    if not numbers:
        return None
    try:
        return Fraction(numbers[-1].replace(",", ""))
    except ZeroDivisionError:
        return None


def arithmetic_reward(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """1 where a completion's final number is the answer's, exactly; else 0."""
    return [
        float((number := final_number(completion)) is not None and number == final_number(answer))
        for completion, answer in zip(completions, answers, strict=True)
    ]


def check_tests(tests: Sequence[str]) -> None:
    """Raises: ValueError: one of them is no Python, or calls nothing that a program could define."""
    for number, test in enumerate(tests, 1):
        try:
            names = missing_names(test)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(f"test {number} is no Python ({error}); write such as: assert add(1, 2) == 3") from None
        if not names:
            raise ValueError(f"test {number} calls no function of the program; write such as: assert add(1, 2) == 3")


def code_of(completion: str) -> str:
    """The last fenced block of a completion, or all of it where there is none."""
    blocks = _FENCE.findall(completion)
    return str(blocks[-1]) if blocks else completion


@dataclass(frozen=True)
class CodeReward:
    """Code that passes its tests, each of which is source such as `assert add(1, 2) == 3`, in a sandbox (jail/judging.py)."""

    sandbox: Sandbox = field(default_factory=Sandbox)
    partial: bool = False
    """The share of the tests that pass, rather than 1 for all of them and 0 else."""

    def __call__(self, completions: Sequence[str], tests: Sequence[Sequence[str]]) -> list[float]:
        """One reward a completion, of which the last fenced block counts where there is one; several are judged at a time.

        Raises:
            UserError: there is no sandbox here that keeps what it must.
        """
        return self.judge([code_of(completion) for completion in completions], tests)

    def judge(self, programs: Sequence[str], tests: Sequence[Sequence[str]]) -> list[float]:
        """One reward a program; raises as a call does."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            verdicts = list(pool.map(self.verdicts, programs, tests))
        shares = [sum(verdict is None for verdict in one) / max(1, len(one)) for one in verdicts]
        return shares if self.partial else [float(share == 1) for share in shares]

    def verdicts(self, code: str, tests: Sequence[str]) -> list[str | None]:
        """What is wrong with each test; None for one that passed."""
        program = JUDGING.read_text("utf-8")
        outcome = self.sandbox.run(program, stdin=json.dumps(list(tests)), arguments=["judge"], peer=[program, "answer", code])
        lines = [line for line in outcome.stdout.splitlines(keepends=True) if line.endswith("\n")]
        found: list[str | None] = [json.loads(line) for line in lines[: len(tests)]]
        return found + [f"not reached: {outcome.ending}"] * (len(tests) - len(found))
