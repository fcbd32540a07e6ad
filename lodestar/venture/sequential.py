"""Comparisons that may be looked at as often as one likes: a test whose false alarms stay below their rate however long it is watched.

Two versions run side by side, and each unit (a user, or a request without one) was given the new one with a fixed probability, the
`share`. Where the two are alike, an event (a failure, a slow answer, a complaint) is of the new one with just that probability,
whatever the events depend on and however they come in bursts: only the assignment is random, and it was drawn without looking. So the
test bets on the labels of events, at odds that would be fair were the versions alike. What the bets are worth is then a nonnegative
martingale, which exceeds 1/α at any time with probability α at most (Ville 1939); that is the alarm. The bet is a mixture over how much
worse the new one may be, as Robbins 1970; for deployments, Lindon, Sanden and Shirikian 2022, "Rapid Regression Detection in Software
Deployments through Sequential Testing", https://arxiv.org/abs/2205.14762. That any nonnegative martingale is a bet, and all valid tests
are of this kind: Ramdas et al. 2023, "Game-Theoretic Statistics and Safe Anytime-Valid Inference", https://arxiv.org/abs/2210.01948.

Of users who meet several events the first one counts alone: the later ones bear the same label.

For comparisons on the same examples (wins against losses) the share is one half, and the bet goes both ways.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""How many times as often as the current version the new one may meet the event: what is bet on, in equal parts. A ratio between two of
these, or beyond them, is found nearly as soon as the nearest."""
LARGEST_PLAN = 20_000
"""Events that are looked ahead for at most."""


@dataclass(frozen=True)
class LabelTest:
    """The bets so far. Each `observe` gives the next state; the order within equal counts does not matter."""

    share: float
    """The probability that a unit was given the new version."""
    alpha: float = 0.05
    """The rate of false alarms, however often it is looked at."""
    two_sided: bool = False
    """Whether it is asked for better, too, and not only for worse."""
    new: int = 0
    """Events of the new version."""
    current: int = 0
    """Events of the current one."""
    peak: float = field(default=1.0)
    """The most that the bets were ever worth: an alarm stays one."""

    def __post_init__(self) -> None:
        assert 0 < self.share < 1
        assert 0 < self.alpha < 1

    def observe(self, *, of_new: bool) -> LabelTest:
        """The state after one more event."""
        counted = replace(self, new=self.new + of_new, current=self.current + (not of_new))
        return replace(counted, peak=max(self.peak, counted.e_value))

    @property
    def e_value(self) -> float:
        """What the bets are worth, having begun with 1: the evidence against the two being alike."""
        return math.exp(min(700.0, _log_e_value(self.new, self.current, self.share, two_sided=self.two_sided)))

    @property
    def p_value(self) -> float:
        """Valid at any time, as it may be looked at all the time."""
        return min(1.0, 1 / self.peak)

    @property
    def alarmed(self) -> bool:
        """Whether they are told apart."""
        return self.peak >= 1 / self.alpha

    def ratio_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """How many times as often the new one meets the event: an interval that is valid at any time, of all ratios that a two-sided bet
        against them has not refuted (Ramdas et al. 2023, section 4)."""
        threshold = math.log(1 / (1 - confidence))
        ratios = [math.exp(step / 100) for step in range(-700, 701)]
        kept = [ratio for ratio in ratios if _log_beta_bet(self.new, self.current, _label(self.share, ratio)) < threshold]
        if not kept:
            return math.nan, math.nan
        return (0.0 if kept[0] == ratios[0] else kept[0]), (math.inf if kept[-1] == ratios[-1] else kept[-1])


def power(share: float, ratio: float, events: int, *, alpha: float = 0.05, two_sided: bool = False) -> float:
    """The probability that the test alarms within so many events, where the new version meets them `ratio` times as often.

    Exact: the counts are a random walk, stopped where the bets are worth 1/α.
    """
    return float(_stopped(share, ratio, events, alpha, two_sided)[-1])


def events_needed(share: float, ratio: float, wanted: float = 0.8, *, alpha: float = 0.05, two_sided: bool = False) -> int | None:
    """The fewest events within which the test alarms with the power that is `wanted`; None where `LARGEST_PLAN` are too few."""
    import numpy as np

    horizon = 64
    while horizon <= LARGEST_PLAN:
        reached = _stopped(share, ratio, horizon, alpha, two_sided)
        if reached[-1] >= wanted:
            return int(np.argmax(reached >= wanted))
        horizon *= 4
    return None


@cache
def alarm_counts(share: float, events: int, alpha: float, two_sided: bool) -> tuple[tuple[int, int], ...]:
    """For each number of events from 0 to `events`, the counts (low, high) of the new version's such that the test alarms at or below
    `low`, or at or above `high`."""
    threshold = math.log(1 / alpha)
    low, high, found = -1, 1, []
    for count in range(events + 1):
        # With one more event, a boundary moves by one at most.
        while high <= count and _log_e_value(high, count - high, share, two_sided=two_sided) < threshold:
            high += 1
        if two_sided:
            while low + 1 <= count and _log_e_value(low + 1, count - low - 1, share, two_sided=True) >= threshold:
                low += 1
        found.append((low, high))
    return tuple(found)


def _stopped(share: float, ratio: float, events: int, alpha: float, two_sided: bool) -> np.ndarray:
    """The probability (events + 1,) that the test has alarmed within 0, 1, … events."""
    import numpy as np

    label = _label(share, ratio)
    alive, stopped = np.zeros(events + 2), np.zeros(events + 1)
    # alive[k]: the probability that no alarm was given and k of the events so far were of the new version.
    alive[0] = 1.0
    total = 0.0
    for count, (low, high) in enumerate(alarm_counts(share, events, alpha, two_sided)):
        if count:
            alive[1 : count + 1] = alive[1 : count + 1] * (1 - label) + alive[:count] * label
            alive[0] *= 1 - label
        total += alive[high : count + 1].sum() + alive[: low + 1].sum()
        alive[high : count + 1] = 0.0
        alive[: low + 1] = 0.0
        stopped[count] = total
    return stopped


def _label(share: float, ratio: float) -> float:
    """The probability that an event is of the new version, where this meets them `ratio` times as often."""
    return share * ratio / (share * ratio + 1 - share)


def _log_e_value(new: int, current: int, share: float, *, two_sided: bool) -> float:
    """The logarithm of the mixture of bets on each of `RATIOS`, and on their inverses where it is asked for better, too."""
    ratios = (*RATIOS, *(1 / ratio for ratio in RATIOS)) if two_sided else RATIOS
    bets = [new * math.log(_label(share, r) / share) + current * math.log((1 - _label(share, r)) / (1 - share)) for r in ratios]
    most = max(bets)
    return most + math.log(sum(math.exp(bet - most) for bet in bets) / len(bets))


def _log_beta_bet(new: int, current: int, label: float) -> float:
    """The logarithm of what a bet against the probability `label` is worth that learns as it goes: a mixture over all probabilities by
    Jeffreys' prior (Robbins 1970, Krichevsky and Trofimov 1981)."""
    mixture = math.lgamma(new + 0.5) + math.lgamma(current + 0.5) - math.lgamma(new + current + 1) - math.log(math.pi)
    return mixture - new * math.log(label) - current * math.log(1 - label)
