"""Rewards give what is due, and cannot be had otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestar.evaluate.jail.judging import missing_names, plain, restore
from lodestar.evaluate.rewards import CodeReward, arithmetic_reward, code_of, final_number
from lodestar.evaluate.sandbox import Sandbox


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7 + 5 = 12", 12), ("so she pays $1,234.50.", Fraction("1234.5")), ("答案是-3。", -3), ("10-7", 7), ("about .5", Fraction(1, 2)),
        ("\\boxed{3/4}, as 7 > 3", Fraction(3, 4)), ("#### 42\nthat is 6 times 7", 42), ("<answer>8</answer> (not 9)", 8),
        ("first \\boxed{1}, then \\boxed{2}", 2), ("12,34", 34), ("1/0", None), ("none here", None), ("x2", None), ("", None),
    ],
)  # fmt: skip
def test_the_final_number(text: str, number: Fraction | int | None) -> None:
    assert final_number(text) == number


def test_arithmetic_is_exact() -> None:
    assert arithmetic_reward(["0.1", "0.30000000000000004", "1.0", "two", "= 5"], ["1/10", "0.3", "1", "2", "#### 5"]) == [1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("x = 1\n", "x = 1\n"),
        ("Here:\n```python\nx = 1\n```\nor\n```py\nx = 2\n```\nDone.", "x = 2\n"),
        ("```\ncut = 'off'\n", "cut = 'off'\n"),
    ],
)
def test_code_in_a_completion(completion: str, code: str) -> None:
    assert code_of(completion) == code


TESTS = ["assert add(2, 3) == 5", "assert add([1], [2]) == [1, 2]", "import math\nassert math.isclose(add(0.1, 0.2), 0.3)"]
GOOD = "def add(a, b):\n    return a + b\n"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
REWARD = CodeReward(Sandbox(cpu_seconds=1, wall_seconds=20))


@LINUX
def test_good_code_is_rewarded_and_bad_code_is_not() -> None:
    half = "def add(a, b):\n    return 5 if a == 2 else None\n"
    assert REWARD([GOOD, half, "def add(", "def plus(a, b):\n    return a + b\n", "import no_such_module\n" + GOOD], [TESTS] * 5) == [
        1,
        0,
        0,
        0,
        0,
    ]
    assert CodeReward(partial=True)([half, GOOD], [TESTS] * 2) == [1 / 3, 1]
    assert CodeReward()([GOOD], [[]]) == [0]  # code that nothing was asked of has earned nothing


@LINUX
@pytest.mark.parametrize(
    "hack",
    [
        "import os\nos._exit(0)",
        "raise SystemExit(0)",
        "import sys\ndef add(a, b):\n    sys.exit(0)",
        "class Yes:\n    def __eq__(self, other):\n        return True\ndef add(a, b):\n    return Yes()",
        "class Yes(int):\n    def __eq__(self, other):\n        return True\ndef add(a, b):\n    return Yes(9)",
        "import builtins, math\nmath.isclose = lambda *a, **k: True\nbuiltins.AssertionError = Warning\ndef add(a, b):\n    return 0",
        "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'null\\n' * 3)\n    except OSError:\n        pass",
        "import os\ndef add(a, b):\n    for fd in range(3, 9):\n        os.write(fd, b'[true, true, []]\\n')",
        "import gc\nfound = [x for x in gc.get_objects() if 'assert' in str(x)[:999]]\ndef add(a, b):\n    return found and 5",
        "def add(a, b):\n    while True:\n        pass",
        "def add(a, b):\n    raise KeyboardInterrupt",
    ],
)
def test_a_reward_cannot_be_had_without_the_answer(hack: str) -> None:
    assert REWARD([hack], [TESTS]) == [0]


@LINUX
def test_tests_may_be_written_as_people_write_them() -> None:
    code = """
from collections import Counter
def counts(words):
    return Counter(words)
def order(items, *, reverse=False):
    items.sort(reverse=reverse)
def below(n):
    for number in range(n):
        print("noise")
        yield number
def root(x):
    if x < 0:
        raise ValueError("no real root")
    return x ** 0.5
"""
    tests = [
        "assert counts(['a', 'b', 'a']) == {'a': 2, 'b': 1}",
        "items = [2, 3, 1]\norder(items, reverse=True)\nassert items == [3, 2, 1]",
        "assert list(below(3)) == [0, 1, 2]",
        "try:\n    root(-1)\nexcept ValueError as error:\n    assert 'real' in str(error)\nelse:\n    raise AssertionError",
        "def check(candidate):\n    assert candidate(9) == 3\ncheck(root)",
        "assert isinstance(root(2), float) and not isinstance(root, str)",
    ]
    assert CodeReward().verdicts(code, tests) == [None] * len(tests)


@LINUX
def test_a_verdict_says_what_is_wrong() -> None:
    looping = "def add(a, b):\n    while a == 2:\n        pass\n    return a + b\n"
    verdicts = REWARD.verdicts(looping, TESTS)
    assert "the functions are gone" in str(verdicts[0])
    assert REWARD.verdicts("def add(a, b):\n    return {1: object()}\n", TESTS[:1]) == ["TypeError: a object cannot be handed over"]
    assert REWARD.verdicts(GOOD, ["while True: pass", TESTS[0]]) == ["not reached: cpu time"] * 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES | st.frozensets(st.integers()) | st.sets(st.text()))
def test_a_value_comes_over_as_it_was(value: Any) -> None:
    came = restore(plain(value))
    assert came == value
    assert type(came) is type(value)


@pytest.mark.parametrize("value", [object(), print, type, [object()], {1: print}])
def test_what_is_not_plain_is_refused(value: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="cannot be handed over"):
        plain(value)


def test_missing_names() -> None:
    source = "import math as m\ndef f(x):\n    return g(x) + m.pi + len(y)\nfor i in h(): f(i)\ntry: pass\nexcept ValueError as e: print(e)"
    assert missing_names(source) == {"g", "y", "h"}
