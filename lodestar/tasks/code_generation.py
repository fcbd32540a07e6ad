"""Code generation: a decoder that continues a program, or fills a gap in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from ..build.fill import FILL_TOKENS
from ..contracts.config import Config
from ..contracts.language import Words
from ..contracts.randomness import derive_seed
from ..contracts.task import Batch, Example, Problem, Task
from ..evaluate.code import completions_parse, first_block, held_out_line, lines_of
from ..evaluate.metrics import BITS_PER_BYTE, LINE_FILLED, PASS_AT_1, PASS_AT_10, PERPLEXITY, SYNTAX_VALID
from ..evaluate.rewards import CodeReward, check_tests

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig

LINE_TOKENS, SOLUTION_TOKENS = 48, 320
"""Tokens in which a line must be filled, and a problem solved; half of the context where that is less."""
COMPLETION_TOKENS = 96
"""Tokens in which a function must be completed to be judged; half of the context where that is less."""


class Module(Example):
    """One source file."""

    text: str
    """The source."""
    path: str | None = None
    """Where the file stood: the unit that splits are made by, where given."""
    prompt: str = ""
    """The beginning of the source that a program under test begins with, where it has `tests`."""
    tests: list[str] = []
    """Tests of the program, each such as `assert add(1, 2) == 3`."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Also HumanEval's form: `prompt`, `canonical_solution`, `test` (which defines `check`) and `entry_point`."""
        if not {"prompt", "canonical_solution", "test", "entry_point"} <= fields.keys():
            return fields
        test = f"{fields['test']}\n\ncheck({fields['entry_point']})\n"
        path = {"path": str(fields["task_id"])} if "task_id" in fields else {}
        return {"text": f"{fields['prompt']}{fields['canonical_solution']}", "prompt": fields["prompt"], "tests": [test], **path}

    @model_validator(mode="after")
    def _tests_can_be_run(self) -> Module:
        if self.tests and not (self.prompt and self.text.startswith(self.prompt)):
            raise ValueError("there are tests, and prompt is not the beginning of text; give it so, for programs that begin with it")
        check_tests(self.tests)
        return self


class Options(Config):
    """venture.yaml: `options`."""

    gaps: float = Field(0.5, ge=0, le=1)
    """The share of a file's windows that are learnt with a gap to be filled (Bavarian et al. 2022); with 0 the model fills none."""
    samples: int = Field(10, ge=1, le=1000)
    """Programs drawn for each problem that has tests: pass@k needs at least k."""
    temperature: float = Field(0.6, ge=0, le=2)
    """Of these draws."""


class CodeGeneration(Task):
    words = Words(
        "Continue a program, or fill a gap in it: an assistant for your code base.",
        "续写程序，或补全其中的空缺：面向你的代码库的编程助手。",
    )
    example = Module
    metrics = (BITS_PER_BYTE, SYNTAX_VALID, PERPLEXITY, LINE_FILLED, PASS_AT_1, PASS_AT_10)
    batching = "packed"
    endpoint = "completions"
    checked_by = "prompt and tests"
    special_tokens = FILL_TOKENS
    template = {
        "task": "code-generation",
        "statement": Words(
            "Continues a function in the style of the standard library, on two CPU cores, offline.",
            "以标准库的风格续写函数，两个 CPU 核心即可，无需联网。",
        ),
        "audience": Words("Python programmers whose code may not leave their machine", "代码不得离开本机的 Python 程序员"),
        "north_star": "bits_per_byte",
        "data": {"sources": ["builtin:python-stdlib"], "deduplicate": "near", "test": 0.1, "vocabulary": 4096},
        "model": {"size": "tiny", "context": 256},
        "train": {"minutes": 6.0},
        "evaluate": {"examples": 100},
        "targets": [
            {
                "metric": "bits_per_byte",
                "at_most": 2.0,
                "unit": "bits/byte",
                "why": Words("above this, as measured, most completions did not parse", "实测表明，高于此值时多数续写无法解析"),
            },
            {
                "metric": "syntax_valid",
                "at_least": 0.2,
                "why": Words("a suggestion that does not parse wastes the programmer's time", "不能解析的建议只会浪费程序员的时间"),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 2000,
                "unit": "ms",
                "why": Words("a suggestion later than this interrupts", "再晚的建议就成了打扰"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs beside an editor on a laptop", "能在笔记本电脑上与编辑器同时运行"),
            },
        ],
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")
        self.samples = self.chosen.samples if self.chosen.temperature else 1
        """Programs for each problem; without a temperature all would be the same."""

    @classmethod
    def sample(cls) -> Sequence[Module]:
        return [_sample(text.strip() + "\n") for text in SAMPLE.split("# ---\n")]

    def texts(self, example: Module) -> Iterator[str]:
        yield example.text

    def encode(self, example: Module, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        from ..build.language import document_tokens

        return {"tokens": document_tokens(example.text, tokenizer)}

    def rows(self, example: Module, tokenizer: Tokenizer, context: int | None) -> Sequence[Mapping[str, Sequence[int] | int]]:
        from ..build.fill import FillMarks, rows_with_gaps

        marks = FillMarks.of(tokenizer)
        # A solution with its tests is short, and learnt as it will be asked for: from its beginning.
        if not self.chosen.gaps or marks is None or context is None or example.tests:
            return [self.encode(example, tokenizer)]
        return [{"tokens": row} for row in rows_with_gaps(example.text, tokenizer, marks, context, self.chosen.gaps)]

    def problem(self, example: Module, tokenizer: Tokenizer) -> Problem | None:
        if not example.tests:
            return None
        from ..build.completion import read_prompt

        prompt, solution = example.prompt, example.text.removeprefix(example.prompt)
        return Problem(read_prompt(tokenizer, prompt), {"prompt": prompt, "tests": example.tests}, solution)

    def rewards(self, replies: Sequence[str], expected: Sequence[Any], *, partial: bool = False) -> Sequence[float]:
        programs = [held["prompt"] + reply for held, reply in zip(expected, replies, strict=True)]
        return CodeReward(partial=partial).judge(programs, [held["tests"] for held in expected])

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder"}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..model.transformer import Transformer

        return Transformer(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.language import next_token_loss

        return next_token_loss(model, batch)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Module]) -> dict[str, np.ndarray]:
        from ..build.completion import complete_all
        from ..build.language import document_columns

        def write(prompts: Sequence[str]) -> list[str]:
            return complete_all(model, tokenizer, prompts, COMPLETION_TOKENS)

        columns = document_columns(model, tokenizer, [example.text for example in examples])
        columns |= {
            "syntax_valid": completions_parse([example.text for example in examples], write),
            "line_filled": self._lines_filled(model, tokenizer, examples),
        }
        return columns | self._solved(model, tokenizer, examples)

    def _lines_filled(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Module]) -> np.ndarray:
        """Whether the first line that is written into a gap of one is exactly that one, 1 or 0; -1 for a file without one, or a model that
        fills no gaps.
        """
        import numpy as np

        from ..build.completion import complete_rows
        from ..build.fill import FillMarks, near_gap

        found, marks = np.full(len(examples), -1), FillMarks.of(tokenizer)
        gaps = [(number, gap) for number, example in enumerate(examples) if (gap := held_out_line(example.text)) is not None]
        if marks is None or not self.chosen.gaps or not gaps:
            return found
        context: int = model.config.context  # type: ignore[assignment, union-attr] # a Transformer
        room = context - min(LINE_TOKENS, context // 2)
        rows = [near_gap(tokenizer, marks, before, after, room) for _, (before, _, after) in gaps]
        told = complete_rows(model, tokenizer, rows, LINE_TOKENS, [tokenizer.end_of_text])
        for (number, (_, line, _)), text in zip(gaps, told, strict=True):
            found[number] = text.split("\n")[0] == line
        return found

    def _solved(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Module]) -> dict[str, np.ndarray]:
        """Of the problems with tests, how many programs were `drawn` and how many `passed`; 0 of the others."""
        import numpy as np

        from ..build.completion import complete_rows, read_prompt
        from ..contracts.progress import track

        passed, drawn = np.zeros(len(examples), np.int64), np.zeros(len(examples), np.int64)
        for number in track([number for number, example in enumerate(examples) if example.tests], "problems", "problem"):
            example = examples[number]
            rows = [read_prompt(tokenizer, example.prompt)] * self.samples
            # What is drawn for a problem does not depend on the others beside it.
            seed = derive_seed(0, "problem", example.prompt)
            told = complete_rows(
                model, tokenizer, rows, SOLUTION_TOKENS, [tokenizer.end_of_text], temperature=self.chosen.temperature, seed=seed
            )
            programs = [example.prompt + first_block(text) for text in told]
            drawn[number], passed[number] = len(programs), sum(CodeReward().judge(programs, [example.tests] * len(programs)))
        return {"passed": passed, "drawn": drawn}

    def baseline(self, train: Sequence[Module], examples: Sequence[Module]) -> tuple[str, dict[str, np.ndarray]]:
        """Byte n-grams: as strong as lzma primed with 4 MB of the training modules (measured on the standard library). Of a gap they read
        what stands before it, and they are taken to solve no problem.
        """
        import numpy as np

        from ..evaluate.ngram import ByteNGram

        counted = ByteNGram([module.text for module in train])

        def write(prompts: Sequence[str]) -> list[str]:
            return [counted.most_likely(prompt.encode(), 3 * COMPLETION_TOKENS).decode(errors="replace") for prompt in prompts]

        columns = counted.document_columns([module.text for module in examples])
        lines = [held_out_line(module.text) for module in examples]
        written = iter(write([gap[0] for gap in lines if gap is not None]))
        filled = np.array([-1 if gap is None else int(next(written).split("\n")[0] == gap[1]) for gap in lines])
        asked = np.array([self.samples * bool(module.tests) for module in examples])
        return counted.name, columns | {
            "syntax_valid": completions_parse([example.text for example in examples], write), "line_filled": filled,
            "passed": 0 * asked, "drawn": asked,
        }  # fmt: skip

    def request(self, example: Module) -> dict[str, Any]:
        """The module's first lines, to be continued: few enough bytes that any context has room for them, however they become tokens."""
        lines = lines_of(example.text)
        half = "".join(lines[: (len(lines) + 1) // 2]).encode()[:160].decode(errors="ignore")
        whole_lines = half.rpartition("\n")
        return {"prompt": whole_lines[0] + whole_lines[1] or half, "max_tokens": 32}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        from ..build.completion import CompletionRequest, complete

        return complete(model, tokenizer, CompletionRequest.parse(request, where="request"))

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.completion import CompletionRequest, read_prompt
        from ..build.reading import read_written

        asked = CompletionRequest.parse(request, where="request")
        read = read_prompt(tokenizer, asked.prompt, asked.suffix, asked.room(model.config.context))  # type: ignore[arg-type, union-attr] # a Transformer
        return read_written(model, tokenizer, read, output, [tokenizer.end_of_text])


def _sample(text: str) -> Module:
    """A module of the sample; a function that has tests begins with its first line and its docstring."""
    tests = TESTS.get(text[len("def ") : text.index("(")], ()) if text.startswith("def ") else ()
    prompt = "".join(lines_of(text)[:2]) if tests else ""
    return Module(text=text, prompt=prompt, tests=list(tests))


TESTS: Mapping[str, Sequence[str]] = {
    "clamp": ["assert clamp(5, 0, 3) == 3", "assert clamp(-1, 0, 3) == 0", "assert clamp(2, 0, 3) == 2"],
    "greatest_common_divisor": ["assert greatest_common_divisor(12, 18) == 6", "assert greatest_common_divisor(0, -7) == 7"],
    "primes": ["assert primes(12) == [2, 3, 5, 7, 11]", "assert primes(2) == []"],
    "is_palindrome": ["assert is_palindrome('上海自来水来自海上')", "assert not is_palindrome('star')"],
}
"""Of functions of the sample, by their names."""

# Written for this project; in the public domain (CC0).
SAMPLE = '''
def clamp(value, low, high):
    """Return value, moved into the range from low to high."""
    if value < low:
        return low
    if value > high:
        return high
    return value
# ---
def mean(numbers):
    """Return the arithmetic mean of a list that is not empty."""
    total = 0.0
    for number in numbers:
        total += number
    return total / len(numbers)
# ---
class Stack:
    """A last in, first out container."""

    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)
        return self

    def pop(self):
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()
# ---
def count_words(text):
    """Return how often each word of a text occurs."""
    counts = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts
# ---
def greatest_common_divisor(a, b):
    """Euclid's algorithm."""
    while b:
        a, b = b, a % b
    return abs(a)
# ---
def flatten(nested):
    """Yield the leaves of nested lists, from left to right."""
    for item in nested:
        if isinstance(item, list):
            yield from flatten(item)
        else:
            yield item
# ---
def read_settings(path):
    """Read `key = value` lines; blank lines and lines that begin with # are skipped."""
    settings = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            key, _, value = line.partition("=")
            settings[key.strip()] = value.strip()
    return settings
# ---
def binary_search(items, wanted):
    """Return the index of wanted in a sorted list, or -1."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    if low < len(items) and items[low] == wanted:
        return low
    return -1
# ---
class Temperature:
    """A temperature that reads in either scale."""

    def __init__(self, celsius):
        self.celsius = celsius

    @property
    def fahrenheit(self):
        return self.celsius * 9 / 5 + 32

    def __repr__(self):
        return f"Temperature({self.celsius})"
# ---
def primes(limit):
    """Return all primes below limit, by the sieve of Eratosthenes."""
    marks = [True] * limit
    found = []
    for number in range(2, limit):
        if marks[number]:
            found.append(number)
            for multiple in range(number * number, limit, number):
                marks[multiple] = False
    return found
# ---
def is_palindrome(text):
    """判断一段文字正着读和倒着读是否相同。"""
    letters = [letter for letter in text if letter.isalnum()]
    return letters == letters[::-1]
# ---
def chunks(items, size):
    """把列表切成若干段，每段最多 size 个元素。"""
    if size < 1:
        raise ValueError("size must be at least 1")
    for start in range(0, len(items), size):
        yield items[start : start + size]
# ---
class Timer:
    """计时器：记录每一段用了多少秒。"""

    def __init__(self, clock):
        self.clock = clock
        self.laps = []
        self.begin = clock()

    def lap(self):
        now = self.clock()
        self.laps.append(now - self.begin)
        self.begin = now
        return self.laps[-1]
# ---
def merge(left, right):
    """合并两个有序列表，结果仍然有序。"""
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]
# ---
def retry(action, attempts):
    """Call action until it succeeds; the last failure is raised."""
    for attempt in range(attempts):
        try:
            return action()
        except OSError:
            if attempt == attempts - 1:
                raise
# ---
def transpose(matrix):
    """交换矩阵的行与列。"""
    rows, columns = len(matrix), len(matrix[0])
    result = []
    for column in range(columns):
        result.append([matrix[row][column] for row in range(rows)])
    return result
'''
