"""From interactions to histories: their order, what is left out, and that nothing is learnt from the future."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.contracts.randomness import generator
from lodestar.prepare.interactions import Histories, InteractionLog, Part, frequent, hold_out, moments, without_repeats

SHARES = {"validation": 0.1, "test": 0.1}
Row = tuple[str, str, float | None]


def histories_of(rows: list[Row]) -> Histories:
    log = InteractionLog()
    for user, item, time in rows:
        log.add(user, item, time, "here")
    return log.histories()


def as_rows(histories: Histories) -> list[Row]:
    times = [None] * len(histories.user_of) if histories.time_of is None else histories.time_of.tolist()
    users, items = (
        [names[n] for n in numbers] for names, numbers in ((histories.users, histories.user_of), (histories.items, histories.item_of))
    )
    return list(zip(users, items, times, strict=True))


def drawn(count: int = 600, users: int = 20, items: int = 50, moments: int = 300) -> list[Row]:
    draw = generator(0, "interactions")
    return [(f"u{draw.integers(users)}", f"i{draw.integers(items)}", float(draw.integers(moments))) for _ in range(count)]


def test_sorted_by_time_and_where_times_are_equal_as_in_the_file() -> None:
    rows: list[Row] = [("b", "x", 5.0), ("a", "y", 9.0), ("b", "z", 1.0), ("a", "w", 9.0), ("a", "x", 2.0)]
    assert as_rows(histories_of(rows)) == [("b", "z", 1.0), ("b", "x", 5.0), ("a", "x", 2.0), ("a", "y", 9.0), ("a", "w", 9.0)]
    without = histories_of([(user, item, None) for user, item, _ in rows])
    assert as_rows(without) == [("b", "x", None), ("b", "z", None), ("a", "y", None), ("a", "w", None), ("a", "x", None)]


def test_a_time_that_is_missing_in_one_row_is_refused_with_its_place() -> None:
    log = InteractionLog()
    log.add("a", "x", 1.0, "log.csv:2")
    with pytest.raises(UserError, match=r"log\.csv:3: the interaction has no time"):
        log.add("a", "y", None, "log.csv:3")


def test_repeats() -> None:
    rows: list[Row] = [("a", "x", 1.0), ("a", "x", 1.0), ("a", "y", 2.0), ("a", "x", 3.0), ("b", "x", 1.0)]
    once = without_repeats(histories_of(rows), first_alone=True)
    assert as_rows(once) == [("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 1.0)]
    assert once.dropped == {"the user had chosen the item before": 2}
    again = without_repeats(histories_of(rows), first_alone=False)
    assert as_rows(again) == [("a", "x", 1.0), ("a", "y", 2.0), ("a", "x", 3.0), ("b", "x", 1.0)]
    assert again.dropped == {"the same interaction twice": 1}


def test_the_rare_are_left_out_until_nobody_is_rare() -> None:
    # Without the user c, who is rare, y is rare; without y, b is.
    rows: list[Row] = [
        ("a", "x", 1.0),
        ("a", "z", 2.0),
        ("b", "x", 1.0),
        ("b", "y", 2.0),
        ("c", "y", 1.0),
        ("d", "x", 1.0),
        ("d", "z", 2.0),
    ]
    kept = frequent(histories_of(rows), user_at_least=2, item_at_least=2)
    assert as_rows(kept) == [("a", "x", 1.0), ("a", "z", 2.0), ("d", "x", 1.0), ("d", "z", 2.0)]
    assert sum(kept.dropped.values()) == 3
    assert as_rows(frequent(histories_of(rows), user_at_least=9, item_at_least=1)) == []


def test_leave_one_out_by_hand() -> None:
    rows: list[Row] = [("a", "w", 1.0), ("a", "x", 2.0), ("a", "y", 3.0), ("a", "z", 4.0), ("b", "x", 1.0), ("b", "y", 2.0)]
    assert list(hold_out(histories_of(rows), "leave_one_out", SHARES)) == [
        Part("a", ["w", "x"], [1.0, 2.0], None, "train"),
        Part("a", ["w", "x", "y"], [1.0, 2.0, 3.0], 1, "validation"),
        Part("a", ["w", "x", "y", "z"], [1.0, 2.0, 3.0, 4.0], 1, "test"),
        Part("b", ["x", "y"], [1.0, 2.0], None, "train"),  # too short to hold anything out
    ]
    alone = list(hold_out(histories_of(rows), "leave_one_out", {"validation": 0, "test": 0}))
    assert [part.split for part in alone] == ["train", "train"]
    assert alone[0].items == ["w", "x", "y", "z"]
    judged = list(hold_out(histories_of(rows), "leave_one_out", {"validation": 0, "test": 0.1}))
    assert [(part.items, part.split) for part in judged[:2]] == [(["w", "x", "y"], "train"), (["w", "x", "y", "z"], "test")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.integers(0, 12)), min_size=5, max_size=80),
    st.sampled_from([(0.1, 0.1), (0.0, 0.2), (0.3, 0.3), (0.2, 0.0)]),
)
def test_nothing_is_learnt_from_the_future(rows: list[tuple[str, str, int]], shares: tuple[float, float]) -> None:
    histories = histories_of([(user, item, float(time)) for user, item, time in rows])
    parts = list(hold_out(histories, "time", {"validation": shares[0], "test": shares[1]}))
    assert histories.time_of is not None
    validation, test = moments(histories.time_of, {"validation": shares[0], "test": shares[1]})
    learnt = [time for part in parts if part.split == "train" for time in part.times]
    assert max(learnt, default=-math.inf) < validation <= test
    for part in parts:
        assert part.times == sorted(part.times)
        if part.split != "train":
            *before, target = part.times
            begins, ends = (validation, test) if part.split == "validation" else (test, math.inf)
            assert begins <= target < ends
            assert before
            assert max(before) < begins  # all that is known at that moment, and nothing later
            # All that the user had chosen by then, not a part of it.
            known = Counter(item for user, item, time in rows if user == part.user and time < begins)
            assert Counter(part.items[:-1]) == known


def test_the_shares_are_those_of_the_interactions() -> None:
    histories = histories_of([(user, item, float(n)) for n, (user, item, _) in enumerate(drawn(1000))])
    assert histories.time_of is not None
    assert moments(histories.time_of, SHARES) == (800.0, 900.0)
    assert moments(histories.time_of, {"validation": 0, "test": 0.25}) == (750.0, 750.0)
    assert moments(histories.time_of, {"validation": 0, "test": 0}) == (math.inf, math.inf)


def test_leave_one_out_does_learn_from_the_future_which_is_why_there_is_another_way() -> None:
    histories = histories_of(drawn())
    parts = list(hold_out(histories, "leave_one_out", SHARES))
    learnt = max(time for part in parts if part.split == "train" for time in part.times)
    judged = min(part.times[-1] for part in parts if part.split == "test")
    assert learnt > judged


def test_a_time_split_without_times_is_refused() -> None:
    with pytest.raises(UserError, match="no times to split by"):
        list(hold_out(histories_of([("a", "x", None), ("a", "y", None)]), "time", SHARES))


def test_a_hundred_thousand_interactions_take_no_time_to_sort() -> None:
    rows = drawn(100_000, users=2_000, items=3_000, moments=50_000)
    histories = frequent(without_repeats(histories_of(rows), first_alone=True), user_at_least=5, item_at_least=5)
    assert (np.bincount(np.unique(histories.user_of, return_inverse=True)[1]) >= 5).all()
    assert (np.bincount(np.unique(histories.item_of, return_inverse=True)[1]) >= 5).all()
    pairs = set(zip(histories.user_of.tolist(), histories.item_of.tolist(), strict=True))
    assert len(pairs) == len(histories.user_of)
