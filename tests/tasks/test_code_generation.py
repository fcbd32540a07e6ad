"""Code generation: problems with tests, and the sample."""

from __future__ import annotations

import ast
import gzip
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from lodestar.build.completion import CompletionRequest, prompt_tokens
from lodestar.evaluate.code import cut_function, first_block
from lodestar.evaluate.metrics import pass_at
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.code_generation import CodeGeneration, Module


def test_the_sample_is_python() -> None:
    texts = [example.text for example in CodeGeneration.sample()]
    for text in texts:
        ast.parse(text)
    columns = np.array([cut_function(text) is not None for text in texts])
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
    """The published solutions are right by definition: 21 of the 164, so that it takes seconds."""
    with gzip.open(shared_data / "code-generation" / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        problems = [Module.model_validate(Module.of_record(json.loads(line))) for line in file][::8]
    expected = [{"prompt": problem.prompt, "tests": problem.tests} for problem in problems]
    solutions = [problem.text.removeprefix(problem.prompt) for problem in problems]
    assert [first_block(solution) for solution in solutions] == solutions
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


@pytest.mark.parametrize("context", [16, 48, 52, 53, 200])
def test_lines_are_filled_in_any_context(context: int) -> None:
    """Also in one that has no room for 48 tokens beside what stands around the line."""
    task = CodeGeneration()
    tokenizer = train_tokenizer((text for example in task.sample() for text in task.texts(example)), 400, task.special_tokens)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocabulary_size, width=16, depth=1, heads=1, context=context)).eval()
    assert set(task._lines_filled(model, tokenizer, task.sample()).tolist()) <= {0, 1}


def test_what_is_explained_is_what_was_read_the_text_after_the_gap_too() -> None:
    task = CodeGeneration()
    tokenizer = train_tokenizer((text for example in task.sample() for text in task.texts(example)), 400, task.special_tokens)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocabulary_size, width=32, depth=1, heads=2, context=64)).eval()
    asked = CompletionRequest(prompt="def f(x):\n", suffix="return x\n", max_tokens=4)
    read = prompt_tokens(model, tokenizer, asked)
    assert list(task.reading(model, tokenizer, asked.model_dump()).tokens[: len(read)]) == read
