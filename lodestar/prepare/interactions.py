"""Interactions (a user, an item, a time) → one history a user, and which end of it is held out.

Two ways to hold out. `leave_one_out`: of each user the last interaction judges and the one before it validates; customary, but a model may
have learnt from what other users did later. `time`: what came after one moment judges, for all users the same moment, so that nothing is
learnt from the future (Ji et al. 2023, https://doi.org/10.1145/3569930).

An interaction takes 16 bytes, and each user's and item's name is held once: ten million of them fit the memory of a laptop.

Axes: N interactions.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from ..contracts.errors import UserError
from .sources import SplitName

Protocol = Literal["leave_one_out", "time"]
LEAST_TO_HOLD_OUT = 3
"""Interactions of a user that leave_one_out holds some out of: one to learn from at least, one to validate and one to judge."""


class Part(NamedTuple):
    """One user's history in one split."""

    user: str
    items: list[str]
    """In the order of time."""
    times: list[float]
    """As in the file; empty where it has none."""
    fresh: int | None
    """How many of the last items are held out: to be predicted, and not to be learnt; None in training, where each is."""
    split: SplitName


@dataclass
class Histories:
    """All interactions, sorted by user and, for one user, by time; of equal times in the order of the file."""

    users: list[str]
    items: list[str]
    user_of: np.ndarray
    """Of each interaction, the place in `users` (N,)."""
    item_of: np.ndarray
    """The place in `items` (N,)."""
    time_of: np.ndarray | None
    """Its time (N,); None where the file has none."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Why interactions were left out → how many."""

    def of_users(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each user with the places of their interactions."""
        ends = np.flatnonzero(np.diff(self.user_of, append=-1)) + 1
        start = 0
        for end in ends.tolist():
            yield self.users[self.user_of[start]], np.arange(start, end)
            start = end

    def kept(self, stay_N: np.ndarray, why: str) -> Histories:
        """Those that stay, the others counted."""
        left = len(stay_N) - int(stay_N.sum())
        dropped = {**self.dropped, **({why: left} if left else {})}
        time_N = None if self.time_of is None else self.time_of[stay_N]
        return Histories(self.users, self.items, self.user_of[stay_N], self.item_of[stay_N], time_N, dropped)


class InteractionLog:
    """Takes interactions in one by one."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._user, self._item, self._time = array("i"), array("i"), array("d")

    def __len__(self) -> int:
        return len(self._user)

    def add(self, user: str, item: str, time: float | None, where: str) -> None:
        """One interaction.

        Raises:
            UserError: it has a time and others have none, or the other way round.
        """
        if len(self) and (time is None) != math.isnan(self._time[0]):
            what = (
                "the interaction has no time, and others have one" if time is None else "the interaction has a time, and others have none"
            )
            raise UserError(what, where=where, fix="give every interaction a time, or none, where they stand in the right order")
        self._user.append(self._users.setdefault(user, len(self._users)))
        self._item.append(self._items.setdefault(item, len(self._items)))
        self._time.append(math.nan if time is None else time)

    def histories(self) -> Histories:
        """All of them, sorted."""
        user_N, item_N, time_N = (np.frombuffer(column, column.typecode) for column in (self._user, self._item, self._time))
        timed = len(self) > 0 and not math.isnan(time_N[0])
        order = np.lexsort((time_N, user_N)) if timed else np.argsort(user_N, kind="stable")
        return Histories(list(self._users), list(self._items), user_N[order], item_N[order], time_N[order] if timed else None)


def without_repeats(histories: Histories, *, first_alone: bool) -> Histories:
    """No interaction twice.

    Args:
        first_alone: of the times that a user chose an item, the first one counts alone; else all do that are not of the same moment.
    """
    keys = [histories.item_of, histories.user_of]
    if not first_alone:
        if histories.time_of is None:
            return histories
        keys.insert(0, histories.time_of)
    order = np.lexsort(keys)  # stable: of equal keys the earliest comes first
    same = np.zeros(len(order), bool)
    same[1:] = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
    stay_N = np.ones(len(order), bool)
    stay_N[order[same]] = False
    return histories.kept(stay_N, "the user had chosen the item before" if first_alone else "the same interaction twice")


def frequent(histories: Histories, *, user_at_least: int, item_at_least: int) -> Histories:
    """The largest part in which each user has so many interactions, and each item: leaving one out can make another too rare, so it is gone
    over until nothing changes.
    """
    stay_N = np.ones(len(histories.user_of), bool)
    while True:
        users, items = np.bincount(histories.user_of[stay_N]), np.bincount(histories.item_of[stay_N])
        rare_N = stay_N.copy()
        rare_N[stay_N] = (users[histories.user_of[stay_N]] < user_at_least) | (items[histories.item_of[stay_N]] < item_at_least)
        if not rare_N.any():
            return histories.kept(stay_N, "of a user or an item with too few")
        stay_N &= ~rare_N


def hold_out(histories: Histories, protocol: Protocol, shares: Mapping[str, float]) -> Iterator[Part]:
    """Every user's history in each split that it has a part in.

    Args:
        shares: of `validation` and of `test`. leave_one_out takes one interaction of each user where a share is not 0; time takes so much
            of all interactions.

    Raises:
        UserError: there are no times to split by, or so few that a split is empty.
    """
    return _last_ones(histories, shares) if protocol == "leave_one_out" else _after_a_moment(histories, shares)


def _last_ones(histories: Histories, shares: Mapping[str, float]) -> Iterator[Part]:
    validates, judges = bool(shares.get("validation")), bool(shares.get("test"))
    for user, places in histories.of_users():
        held = validates + judges if len(places) >= LEAST_TO_HOLD_OUT else 0
        yield _part(histories, user, places[: len(places) - held], None, "train")
        if held and validates:
            yield _part(histories, user, places[: len(places) - judges], 1, "validation")
        if held and judges:
            yield _part(histories, user, places, 1, "test")


def moments(time_N: np.ndarray, shares: Mapping[str, float]) -> tuple[float, float]:
    """When validation and when test begin: about such a share of the interactions is not before."""
    time_N = np.sort(time_N)

    def begin(share: float) -> float:
        first = math.ceil((1 - share) * len(time_N) - 1e-9)  # 0.9 · 10 is a little more than 9
        return float(time_N[min(first, len(time_N) - 1)]) if share else math.inf

    test = begin(shares.get("test", 0.0))
    validation = begin(shares.get("validation", 0.0) + shares.get("test", 0.0)) if shares.get("validation") else test
    return validation, test


def _after_a_moment(histories: Histories, shares: Mapping[str, float]) -> Iterator[Part]:
    """Of a user who comes back after the moment, the first interaction judges: what was known of them before it is what a model that was
    made at that moment goes by.
    """
    if histories.time_of is None:
        raise UserError(
            "there are no times to split by", where="data", fix="set data.columns: {time: COLUMN}, or options: {split: leave_one_out}"
        )
    validation, test = moments(histories.time_of, shares)
    for user, places in histories.of_users():
        times = histories.time_of[places]
        seen, known = int(np.searchsorted(times, validation)), int(np.searchsorted(times, test))
        if seen:
            yield _part(histories, user, places[:seen], None, "train")
        if 0 < seen < known:
            yield _part(histories, user, places[: seen + 1], 1, "validation")
        if 0 < known < len(places):
            yield _part(histories, user, places[: known + 1], 1, "test")


def _part(histories: Histories, user: str, places: Sequence[int] | np.ndarray, fresh: int | None, split: SplitName) -> Part:
    items = [histories.items[item] for item in histories.item_of[places].tolist()]
    times = [] if histories.time_of is None else histories.time_of[places].tolist()
    return Part(user, items, times, fresh, split)
